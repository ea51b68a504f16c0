package splunk

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/notifytest"
)

func settings(url string) *Config {
	c := Default()
	c.URL, c.Token, c.Index = url, daemon.NewSecret(notifytest.Secret), "main"
	return c
}

func TestSplunk(t *testing.T) {
	notifytest.RunHTTP(t, notifytest.HTTP{
		Settings: func(_ testing.TB, url string) notify.Settings { return settings(url) },
		Answer:   `{"text":"Success","code":0}`, Limit: 1 << 20,
		Check: func(t *testing.T, r notifytest.Request) {
			v := r.JSON(t)
			if r.Path != "/services/collector/event" || r.Header.Get("Authorization") != "Splunk "+notifytest.Secret || !strings.Contains(string(r.Body), `"time":1780000000.123456789,`) ||
				v["index"] != "main" || v["host"] != "node-1" || v["event"].(map[string]any)["rule_id"] != "read-shadow" {
				t.Errorf("got %s", r.Body)
			}
		},
		Key: func(t testing.TB, r notifytest.Request) string {
			return r.JSON(t)["fields"].(map[string]any)["alert_id"].(string)
		},
	})
}

func TestCodes(t *testing.T) {
	for _, tt := range []struct {
		status    int
		body      string
		permanent bool
	}{{200, `{"text":"Server is busy","code":9}`, false}, {400, `{"text":"Incorrect index","code":7}`, false}, {400, `{"text":"Invalid data format","code":6}`, true}} {
		srv := notifytest.NewRecorder(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(tt.status)
			_, _ = io.WriteString(w, tt.body)
		})
		err := notifytest.Open(t, settings(srv.URL), notifytest.Env(t.Output())).Notify(t.Context(), []notify.Message{notifytest.Message()})
		if err == nil || bus.IsPermanent(err) != tt.permanent {
			t.Errorf("%d %s gives %v", tt.status, tt.body, err)
		}
	}
}
