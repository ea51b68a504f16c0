package ntfy

import (
	"testing"

	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/notifytest"
)

func TestNtfy(t *testing.T) {
	notifytest.RunHTTP(t, notifytest.HTTP{
		Settings: func(_ testing.TB, url string) notify.Settings {
			return &Config{URL: url, Topic: "soc", Token: daemon.NewSecret(notifytest.Secret)}
		},
		Answer: `{"id":"x"}`, Limit: 6 * 4096,
		Check: func(t *testing.T, r notifytest.Request) {
			if v := r.JSON(t); r.Header.Get("Authorization") != "Bearer "+notifytest.Secret || v["topic"] != "soc" || v["priority"] != 5.0 {
				t.Errorf("got %v", v)
			}
		},
	})
	if Default().Validate() == nil {
		t.Error("no topic was accepted")
	}
}
