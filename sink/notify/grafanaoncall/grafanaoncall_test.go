package grafanaoncall

import (
	"testing"

	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/notifytest"
)

func TestGrafanaOnCall(t *testing.T) {
	notifytest.RunHTTP(t, notifytest.HTTP{
		Settings: func(_ testing.TB, url string) notify.Settings {
			c := Default()
			c.URL = daemon.NewSecret(url + "/integrations/v1/formatted_webhook/" + notifytest.Secret + "/")
			return c
		},
		Answer: "Ok.", Limit: 40_000,
		Check: func(t *testing.T, r notifytest.Request) {
			if v := r.JSON(t); v["title"] != "[critical] Read sensitive file" || v["state"] != "alerting" || v["severity"] != "critical" {
				t.Errorf("got %v", v)
			}
		},
		Key: func(t testing.TB, r notifytest.Request) string { return r.JSON(t)["alert_uid"].(string) },
	})
}
