package pushover

import (
	"net/url"
	"testing"

	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/notifytest"
)

func TestPushover(t *testing.T) {
	notifytest.RunHTTP(t, notifytest.HTTP{
		Settings: func(_ testing.TB, url string) notify.Settings {
			return &Config{URL: url, Token: daemon.NewSecret("app-token-1"), UserKey: daemon.NewSecret(notifytest.Secret)}
		},
		Answer: `{"status":1}`, Limit: 12_000,
		Check: func(t *testing.T, r notifytest.Request) {
			form, err := url.ParseQuery(string(r.Body))
			if err != nil || form.Get("user") != notifytest.Secret || form.Get("priority") != "1" || form.Get("title") != "[critical] Read sensitive file" {
				t.Errorf("%v %v", form, err)
			}
		},
	})
}
