package slack

import (
	"strings"
	"testing"

	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/notifytest"
)

func TestSlack(t *testing.T) {
	for name, tt := range map[string]struct {
		make func() *Config
		want string
	}{
		"slack":    {Slack, "&lt;b&gt;*read*&lt;/b&gt; @everyone `x` /etc/shadow"},
		"markdown": {Markdown, "\\<b\\>\\*read\\*\\</b\\> @\u200beveryone \\`x\\` /etc/shadow"},
	} {
		t.Run(name, func(t *testing.T) {
			notifytest.RunHTTP(t, notifytest.HTTP{
				Settings: func(_ testing.TB, url string) notify.Settings {
					c := tt.make()
					c.URL, c.Channel = daemon.NewSecret(url+"/services/T0/B0/"+notifytest.Secret), "#soc"
					return c
				},
				Answer: "ok", Limit: 40_000,
				Check: func(t *testing.T, r notifytest.Request) {
					v := r.JSON(t)
					a := v["attachments"].([]any)[0].(map[string]any)
					if r.Path != "/services/T0/B0/"+notifytest.Secret || v["channel"] != "#soc" || a["color"] != "#b00020" || a["title"] != "[critical] Read sensitive file" {
						t.Errorf("got %v", v)
					}
					if !strings.Contains(a["text"].(string), tt.want) {
						t.Errorf("text %q, want %q in it", a["text"], tt.want)
					}
				},
			})
		})
	}
}
