package webex

import (
	"strings"
	"testing"

	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/notifytest"
)

func TestWebex(t *testing.T) {
	notifytest.RunHTTP(t, notifytest.HTTP{
		Settings: func(_ testing.TB, url string) notify.Settings {
			return &Config{URL: url + "/v1/messages", Token: daemon.NewSecret(notifytest.Secret), Room: "r1"}
		},
		Answer: `{"id":"x"}`, Limit: 45_000,
		Check: func(t *testing.T, r notifytest.Request) {
			if v := r.JSON(t); r.Header.Get("Authorization") != "Bearer "+notifytest.Secret || v["roomId"] != "r1" || !strings.HasPrefix(v["text"].(string), "[critical] Read sensitive file\n") {
				t.Errorf("got %v", v)
			}
		},
	})
}
