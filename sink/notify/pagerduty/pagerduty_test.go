package pagerduty

import (
	"net/http"
	"strings"
	"testing"

	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/notifytest"
)

func TestPagerDuty(t *testing.T) {
	notifytest.RunHTTP(t, notifytest.HTTP{
		Settings: func(_ testing.TB, url string) notify.Settings {
			c := Default()
			c.URL, c.RoutingKey = url+"/v2/enqueue", daemon.NewSecret(notifytest.Secret)
			return c
		},
		Status: http.StatusAccepted, Answer: `{"status":"success","message":"Event processed"}`, Limit: 512_000,
		Check: func(t *testing.T, r notifytest.Request) {
			v := r.JSON(t)
			p := v["payload"].(map[string]any)
			if r.Path != "/v2/enqueue" || v["routing_key"] != notifytest.Secret || v["event_action"] != "trigger" || p["severity"] != "critical" || p["source"] != "node-1" || p["class"] != "Read sensitive file" ||
				!strings.HasPrefix(p["summary"].(string), "Read sensitive file: cat") || p["custom_details"].(map[string]any)["rule_id"] != "read-shadow" {
				t.Errorf("got %v", v)
			}
		},
		Key: func(t testing.TB, r notifytest.Request) string { return r.JSON(t)["dedup_key"].(string) },
	})
}
