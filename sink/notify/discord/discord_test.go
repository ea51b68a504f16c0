package discord

import (
	"net/http"
	"testing"
	"unicode/utf16"

	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/notifytest"
)

func TestDiscord(t *testing.T) {
	notifytest.RunHTTP(t, notifytest.HTTP{
		Settings: func(_ testing.TB, url string) notify.Settings {
			return &Config{URL: daemon.NewSecret(url + "/api/webhooks/1/" + notifytest.Secret), Username: "gyre"}
		},
		Status: http.StatusNoContent, Limit: 16_000,
		Check: func(t *testing.T, r notifytest.Request) {
			v := r.JSON(t)
			e := v["embeds"].([]any)[0].(map[string]any)
			if e["title"] != "[critical] Read sensitive file" || e["color"] != float64(0xb00020) || len(v["allowed_mentions"].(map[string]any)["parse"].([]any)) != 0 {
				t.Errorf("got %v", v)
			}
			if n := len(utf16.Encode([]rune(e["description"].(string)))); n > 4096 {
				t.Errorf("%d units", n)
			}
		},
	})
}
