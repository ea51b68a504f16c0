package pushbullet

import (
	"testing"

	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/notifytest"
)

func TestPushbullet(t *testing.T) {
	notifytest.RunHTTP(t, notifytest.HTTP{
		Settings: func(_ testing.TB, url string) notify.Settings {
			c := Default()
			c.URL, c.Token, c.Channel = url, daemon.NewSecret(notifytest.Secret), "soc"
			return c
		},
		Answer: `{"iden":"x","active":true}`, Limit: 16_000,
		Check: func(t *testing.T, r notifytest.Request) {
			if v := r.JSON(t); r.Header.Get("Access-Token") != notifytest.Secret || v["type"] != "note" || v["title"] != "[critical] Read sensitive file" || v["channel_tag"] != "soc" {
				t.Errorf("got %v", v)
			}
		},
		Key: func(t testing.TB, r notifytest.Request) string { return r.JSON(t)["guid"].(string) },
	})
}
