package datadog

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/notifytest"
)

func TestLogs(t *testing.T) {
	notifytest.RunHTTP(t, notifytest.HTTP{
		Settings: func(_ testing.TB, url string) notify.Settings {
			c := Logs()
			c.URL, c.APIKey, c.DDTags = url+"/api/v2/logs", daemon.NewSecret(notifytest.Secret), []string{"env:prod", "team:soc"}
			return c
		},
		Status: http.StatusAccepted, Answer: "{}", Limit: 5 << 20,
		Check: func(t *testing.T, r notifytest.Request) {
			var list []map[string]any
			if err := json.Unmarshal(r.Body, &list); err != nil || len(list) != 1 {
				t.Fatalf("%v\n%s", err, r.Body)
			}
			if v := list[0]; v["ddsource"] != "gyre" || v["ddtags"] != "env:prod,team:soc" || v["status"] != "critical" || v["hostname"] != "node-1" || v["alert"].(map[string]any)["rule_id"] != "read-shadow" || r.Header.Get("DD-API-KEY") != notifytest.Secret {
				t.Errorf("got %v", v)
			}
		},
		Key: func(_ testing.TB, r notifytest.Request) string { return string(r.Body) },
	})
}

func TestEvents(t *testing.T) {
	notifytest.RunHTTP(t, notifytest.HTTP{
		Settings: func(_ testing.TB, url string) notify.Settings {
			c := Events()
			c.URL, c.APIKey = url, daemon.NewSecret(notifytest.Secret)
			return c
		},
		Status: http.StatusAccepted, Answer: `{"status":"ok"}`, Limit: 32_000,
		Check: func(t *testing.T, r notifytest.Request) {
			if v := r.JSON(t); v["title"] != "[critical] Read sensitive file" || v["alert_type"] != "error" || v["date_happened"] != 1780000000.0 {
				t.Errorf("got %v", v)
			}
		},
		Key: func(t testing.TB, r notifytest.Request) string { return r.JSON(t)["aggregation_key"].(string) },
	})
}

func TestSite(t *testing.T) {
	c := Logs()
	c.APIKey, c.Site = daemon.NewSecret("x"), "evil.com/?"
	if c.Validate() == nil {
		t.Error("the site was accepted")
	}
	if c.Site = "datadoghq.eu"; c.Validate() != nil || c.url("https://http-intake.logs."+c.Site) != "https://http-intake.logs.datadoghq.eu" {
		t.Error("the site was not accepted")
	}
}
