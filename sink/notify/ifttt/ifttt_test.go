package ifttt

import (
	"testing"

	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/notifytest"
)

func TestIFTTT(t *testing.T) {
	notifytest.RunHTTP(t, notifytest.HTTP{
		Settings: func(_ testing.TB, url string) notify.Settings {
			c := Default()
			c.URL, c.ServiceKey = url, daemon.NewSecret(notifytest.Secret)
			return c
		},
		Answer: "Congratulations! You've fired the gyre_alert event", Limit: 32_000,
		Check: func(t *testing.T, r notifytest.Request) {
			if v := r.JSON(t); r.Path != "/trigger/gyre_alert/with/key/"+notifytest.Secret || v["value1"] != "[critical] Read sensitive file" {
				t.Errorf("%s %v", r.Path, v)
			}
		},
		Key: func(t testing.TB, r notifytest.Request) string { return r.JSON(t)["value3"].(string) },
	})
}

func TestRefused(t *testing.T) {
	c := Default()
	c.ServiceKey = daemon.NewSecret("k")
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	if c.EventName = "../x"; c.Validate() == nil {
		t.Error("the event was accepted")
	}
}
