package join

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/notifytest"
)

func settings(url string) *Config {
	c := Default()
	c.URL, c.APIKey, c.Devices = url+"/sendPush", daemon.NewSecret(notifytest.Secret), []string{"d1", "d2"}
	return c
}

func TestJoin(t *testing.T) {
	notifytest.RunHTTP(t, notifytest.HTTP{
		Settings: func(_ testing.TB, url string) notify.Settings { return settings(url) },
		Answer:   `{"success":true,"userAuthError":false,"kind":"messaging#resourcesItem"}`, Limit: 1,
		Check: func(t *testing.T, r notifytest.Request) {
			q, err := url.ParseQuery(r.Query)
			if err != nil || r.Path != "/sendPush" || q.Get("apikey") != notifytest.Secret || q.Get("deviceIds") != "d1,d2" || q.Get("title") != "[critical] Read sensitive file" || q.Get("priority") != "2" || !strings.Contains(q.Get("text"), "/etc/shadow") {
				t.Errorf("%s %v %v", r.Path, q, err)
			}
		},
	})
}

// TestCommand: what was seen is no command of the app, and the longest alert is a URL that servers take.
func TestCommand(t *testing.T) {
	srv := notifytest.NewRecorder(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"success":true}`)) })
	m := notifytest.Message()
	a := *m.Alert
	a.Output = "unlock=:=door=:=now " + strings.Repeat("\U0001F600", 5000)
	m.Alert = &a
	if err := notifytest.Open(t, settings(srv.URL), notifytest.Env(t.Output())).Notify(t.Context(), []notify.Message{m}); err != nil {
		t.Fatal(err)
	}
	query := srv.Requests()[0].Query
	q, err := url.ParseQuery(query)
	if text := q.Get("text"); err != nil || strings.Contains(text, "=:=") || !strings.Contains(text, "unlock") || len(query) > 8000 {
		t.Errorf("%d bytes, %q, %v", len(query), text, err)
	}
}

func TestAnswers(t *testing.T) {
	for _, answer := range []string{`{"success":false,"errorMessage":"No devices"}`, `{"errorMessage":"User not found"}`, "<html>"} {
		if err := check([]byte(answer), nil); err == nil || bus.IsPermanent(err) {
			t.Errorf("%s: %v", answer, err)
		}
	}
}

func TestRefused(t *testing.T) {
	for name, set := range map[string]func(*Config){
		"no devices": func(c *Config) { c.Devices = nil }, "two in one": func(c *Config) { c.Devices = []string{"a,b"} }, "no key": func(c *Config) { c.APIKey = daemon.Secret{} }, "URL": func(c *Config) { c.URL = "join" },
	} {
		c := settings("https://x")
		if set(c); c.Validate() == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}
