package teams

import (
	"net/http"
	"strings"
	"testing"

	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/notifytest"
)

func TestTeams(t *testing.T) {
	notifytest.RunHTTP(t, notifytest.HTTP{
		Settings: func(_ testing.TB, url string) notify.Settings {
			return &Config{URL: daemon.NewSecret(url + "/workflows/x?sig=" + notifytest.Secret)}
		},
		Status: http.StatusAccepted, Limit: 28 << 10,
		Check: func(t *testing.T, r notifytest.Request) {
			v := r.JSON(t)
			a := v["attachments"].([]any)[0].(map[string]any)
			body := a["content"].(map[string]any)["body"].([]any)
			if v["type"] != "message" || a["contentType"] != "application/vnd.microsoft.card.adaptive" || len(body) != 3 {
				t.Fatalf("got %v", v)
			}
			if text := body[1].(map[string]any)["text"].(string); !strings.Contains(text, `\*read\*`) {
				t.Errorf("text %q", text)
			}
		},
	})
}
