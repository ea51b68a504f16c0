package gotify

import (
	"testing"

	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/notifytest"
)

func TestGotify(t *testing.T) {
	notifytest.RunHTTP(t, notifytest.HTTP{
		Settings: func(_ testing.TB, url string) notify.Settings {
			return &Config{URL: url, Token: daemon.NewSecret(notifytest.Secret)}
		},
		Answer: `{"id":1}`, Limit: 64_000,
		Check: func(t *testing.T, r notifytest.Request) {
			if v := r.JSON(t); r.Path != "/message" || r.Header.Get("X-Gotify-Key") != notifytest.Secret || v["priority"] != 8.0 || v["title"] != "[critical] Read sensitive file" {
				t.Errorf("got %s %v", r.Path, v)
			}
		},
	})
}
