package notifiarr

import (
	"testing"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/notifytest"
)

func settings(url string) *Config {
	c := Default()
	c.URL, c.APIKey, c.Channel = url+"/passthrough", daemon.NewSecret(notifytest.Secret), 735481457153277994
	return c
}

func TestNotifiarr(t *testing.T) {
	notifytest.RunHTTP(t, notifytest.HTTP{
		Settings: func(_ testing.TB, url string) notify.Settings { return settings(url) },
		Answer:   `{"result":"success"}`, Limit: 16_000,
		Check: func(t *testing.T, r notifytest.Request) {
			v := r.JSON(t)
			d, _ := v["discord"].(map[string]any)
			n, _ := v["notification"].(map[string]any)
			text, _ := d["text"].(map[string]any)
			if r.Path != "/passthrough/"+notifytest.Secret || n["name"] != "gyre" || n["update"] != false || text["title"] != "[critical] Read sensitive file" || len(d["color"].(string)) != 6 {
				t.Errorf("%s %v", r.Path, v)
			}
			if ids, _ := d["ids"].(map[string]any); ids["channel"] != float64(735481457153277994) {
				t.Errorf("%v", ids)
			}
		},
		Key: func(t testing.TB, r notifytest.Request) string {
			return r.JSON(t)["notification"].(map[string]any)["event"].(string)
		},
	})
}

func TestAnswers(t *testing.T) {
	if err := check([]byte(`{"result":"error","details":{"response":"Invalid API key"}}`), nil); err == nil || bus.IsPermanent(err) {
		t.Errorf("got %v", err)
	}
}

func TestRefused(t *testing.T) {
	for name, set := range map[string]func(*Config){
		"no channel": func(c *Config) { c.Channel = 0 }, "no key": func(c *Config) { c.APIKey = daemon.Secret{} }, "no name": func(c *Config) { c.AppName = "" }, "URL": func(c *Config) { c.URL = "x" },
	} {
		c := settings("https://x")
		if set(c); c.Validate() == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}
