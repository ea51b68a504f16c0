package googlechat

import (
	"strings"
	"testing"

	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/notifytest"
)

func TestGoogleChat(t *testing.T) {
	notifytest.RunHTTP(t, notifytest.HTTP{
		Settings: func(_ testing.TB, url string) notify.Settings {
			return &Config{URL: daemon.NewSecret(url + "/v1/spaces/x/messages?key=k&token=" + notifytest.Secret)}
		},
		Answer: `{"name":"spaces/x/messages/y"}`, Limit: 16_000,
		Check: func(t *testing.T, r notifytest.Request) {
			text := r.JSON(t)["text"].(string)
			if !strings.HasPrefix(text, "*[critical] Read sensitive file*\n") || strings.Contains(text, "<b>") || r.Query != "key=k&token="+notifytest.Secret {
				t.Errorf("got %q", text)
			}
		},
	})
}
