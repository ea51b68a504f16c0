package signal

import (
	"net/http"
	"strings"
	"testing"

	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/notifytest"
)

func TestSignal(t *testing.T) {
	notifytest.RunHTTP(t, notifytest.HTTP{
		Settings: func(_ testing.TB, url string) notify.Settings {
			return &Config{URL: url, Number: "+491", Recipients: []string{"+492", "group.x"}, User: "u", Password: daemon.NewSecret(notifytest.Secret)}
		},
		Status: http.StatusCreated, Answer: `{"timestamp":"1780000000123"}`, Limit: 16_000,
		Check: func(t *testing.T, r notifytest.Request) {
			v := r.JSON(t)
			if r.Path != "/v2/send" || v["number"] != "+491" || len(v["recipients"].([]any)) != 2 || v["text_mode"] != "normal" || !strings.HasPrefix(v["message"].(string), "[critical] Read sensitive file\n") {
				t.Errorf("%s %v", r.Path, v)
			}
		},
	})
}
