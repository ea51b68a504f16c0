package bark

import (
	"testing"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/notifytest"
)

func TestBark(t *testing.T) {
	notifytest.RunHTTP(t, notifytest.HTTP{
		Settings: func(_ testing.TB, url string) notify.Settings {
			c := Default()
			c.URL, c.DeviceKey = url, daemon.NewSecret(notifytest.Secret)
			return c
		},
		Answer: `{"code":200,"message":"success","timestamp":1}`, Limit: 8000, // in JSON
		Check: func(t *testing.T, r notifytest.Request) {
			if v := r.JSON(t); r.Path != "/push" || v["device_key"] != notifytest.Secret || v["level"] != "timeSensitive" || v["title"] != "[critical] Read sensitive file" {
				t.Errorf("%s %v", r.Path, v)
			}
		},
		Key: func(t testing.TB, r notifytest.Request) string { return r.JSON(t)["id"].(string) },
	})
}

func TestAnswers(t *testing.T) {
	if err := check([]byte(`{"code":400,"message":"bad"}`), nil); !bus.IsPermanent(err) {
		t.Errorf("got %v", err)
	}
	if err := check([]byte(`{"code":500,"message":"push failed"}`), nil); err == nil || bus.IsPermanent(err) {
		t.Errorf("got %v", err)
	}
}
