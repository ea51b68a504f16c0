package opsgenie

import (
	"net/http"
	"testing"

	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/notifytest"
)

func TestOpsgenie(t *testing.T) {
	notifytest.RunHTTP(t, notifytest.HTTP{
		Settings: func(_ testing.TB, url string) notify.Settings {
			c := Default()
			c.URL, c.APIKey, c.Teams = url+"/v2/alerts", daemon.NewSecret(notifytest.Secret), []string{"soc"}
			return c
		},
		Status: http.StatusAccepted, Answer: `{"result":"Request will be processed"}`, Limit: 64_000,
		Check: func(t *testing.T, r notifytest.Request) {
			v := r.JSON(t)
			if r.Header.Get("Authorization") != "GenieKey "+notifytest.Secret || v["priority"] != "P1" || v["message"] != "Read sensitive file on node-1" || v["entity"] != "node-1" ||
				v["responders"].([]any)[0].(map[string]any)["name"] != "soc" || v["details"].(map[string]any)["proc.name"] != "cat" {
				t.Errorf("got %v", v)
			}
		},
		Key: func(t testing.TB, r notifytest.Request) string { return r.JSON(t)["alias"].(string) },
	})
}
