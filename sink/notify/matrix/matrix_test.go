package matrix

import (
	"net/http"
	"strings"
	"testing"

	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/notifytest"
)

func TestMatrix(t *testing.T) {
	notifytest.RunHTTP(t, notifytest.HTTP{
		Settings: func(_ testing.TB, url string) notify.Settings {
			return &Config{Homeserver: url, Token: daemon.NewSecret(notifytest.Secret), Room: "!r:example.org"}
		},
		Answer: `{"event_id":"$x"}`, Limit: 64 << 10,
		Check: func(t *testing.T, r notifytest.Request) {
			v := r.JSON(t)
			if r.Method != http.MethodPut || !strings.HasPrefix(r.Path, "/_matrix/client/v3/rooms/!r:example.org/send/m.room.message/") || r.Header.Get("Authorization") != "Bearer "+notifytest.Secret {
				t.Errorf("%s %s", r.Method, r.Path)
			}
			if v["msgtype"] != "m.text" || !strings.Contains(v["formatted_body"].(string), "&lt;b&gt;*read*") {
				t.Errorf("got %v", v)
			}
		},
		Key: func(_ testing.TB, r notifytest.Request) string { return r.Path },
	})
}
