package webhook

import (
	"net/http"
	"strings"
	"testing"

	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/format"
	"github.com/gyre-sec/gyre/sink/notify/notifytest"
)

func TestWebhook(t *testing.T) {
	for _, tt := range []struct {
		name  string
		set   func(*Config)
		check func(t *testing.T, r notifytest.Request)
	}{
		{"gyre", func(*Config) {}, func(t *testing.T, r notifytest.Request) {
			if v := r.JSON(t); v["rule_id"] != "read-shadow" || v["priority"] != "critical" {
				t.Errorf("got %v", v)
			}
		}},
		{"falco", func(c *Config) { c.Format = format.Falco }, func(t *testing.T, r notifytest.Request) {
			if v := r.JSON(t); v["rule"] != "Read sensitive file" || v["priority"] != "Critical" || v["hostname"] != "node-1" {
				t.Errorf("got %v", v)
			}
		}},
		{"cloudevents", func(c *Config) { c.Format, c.Method = format.CloudEvent, http.MethodPut }, func(t *testing.T, r notifytest.Request) {
			if v := r.JSON(t); v["specversion"] != "1.0" || r.Header.Get("Content-Type") != "application/cloudevents+json" || r.Method != http.MethodPut {
				t.Errorf("got %v", v)
			}
		}},
		{"template", func(c *Config) { c.Body = `{"text":{{json .Output}},"id":{{json .ID}}}` }, func(t *testing.T, r notifytest.Request) {
			if v := r.JSON(t); !strings.Contains(v["text"].(string), "/etc/shadow") {
				t.Errorf("got %v", v)
			}
		}},
		{"array", func(c *Config) { c.Array = true }, func(t *testing.T, r notifytest.Request) {
			if r.Body[0] != '[' {
				t.Errorf("got %s", r.Body)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			notifytest.RunHTTP(t, notifytest.HTTP{
				Settings: func(_ testing.TB, url string) notify.Settings {
					c := Default()
					c.URLSecret, c.Authorization, c.HMAC = daemon.NewSecret(url+"/in/"+notifytest.Secret), daemon.NewSecret("Bearer "+notifytest.Secret), daemon.NewSecret("key")
					tt.set(c)
					return c
				},
				Check: func(t *testing.T, r notifytest.Request) {
					tt.check(t, r)
					if got, want := r.Header.Get("Gyre-Signature"), "sha256="+Sign([]byte("key"), r.Header.Get("Gyre-Timestamp"), r.Body); got != want {
						t.Errorf("signature %s, want %s", got, want)
					}
					if r.Header.Get("Authorization") != "Bearer "+notifytest.Secret {
						t.Error("no authorization")
					}
				},
				Key: func(_ testing.TB, r notifytest.Request) string { return r.Header.Get("Idempotency-Key") },
			})
		})
	}
}

func TestValidate(t *testing.T) {
	for _, tt := range []struct {
		name string
		set  func(*Config)
		want string
	}{
		{"nothing", func(*Config) {}, "url is not set"},
		{"no URL", func(c *Config) { c.URL = "host" }, "url is no URL"},
		{"both", func(c *Config) { c.URL, c.URLSecret = "http://h", daemon.NewSecret("x") }, "exclude"},
		{"method", func(c *Config) { c.URL, c.Method = "http://h", "GET" }, "method"},
		{"template", func(c *Config) { c.URL, c.Body = "http://h", "{{.Nope}}" }, "Nope"},
		{"certificate", func(c *Config) { c.URL, c.CertFile = "http://h", "x" }, "go together"},
		{"array", func(c *Config) { c.URL, c.Array, c.Format = "http://h", true, format.Line }, "array"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := Default()
			tt.set(c)
			if err := c.Validate(); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}
