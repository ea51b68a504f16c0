package falcosidekick

import (
	"testing"
	"time"

	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/notifytest"
)

// accepted says why Falcosidekick would answer 400, by its documented conditions.
func accepted(v map[string]any) string {
	if _, err := time.Parse(time.RFC3339Nano, v["time"].(string)); err != nil {
		return err.Error()
	}
	switch {
	case v["rule"] == "":
		return "no rule"
	case len(v["output_fields"].(map[string]any)) == 0:
		return "no output_fields"
	case v["priority"] != "Critical":
		return "priority"
	}
	return ""
}

func TestFalcosidekick(t *testing.T) {
	for name, tt := range map[string]struct {
		make  func() *Config
		event func(map[string]any) map[string]any
	}{
		"sidekick": {Sidekick, func(v map[string]any) map[string]any { return v }},
		"ui":       {UI, func(v map[string]any) map[string]any { return v["event"].(map[string]any) }},
	} {
		t.Run(name, func(t *testing.T) {
			notifytest.RunHTTP(t, notifytest.HTTP{
				Settings: func(_ testing.TB, url string) notify.Settings {
					c := tt.make()
					c.URL, c.User, c.Password = url, "admin", daemon.NewSecret(notifytest.Secret)
					return c
				},
				Check: func(t *testing.T, r notifytest.Request) {
					e := tt.event(r.JSON(t))
					if why := accepted(e); why != "" || r.Path != "/" || e["hostname"] != "node-1" {
						t.Errorf("%s: %v", why, e)
					}
				},
				Key: func(t testing.TB, r notifytest.Request) string { return tt.event(r.JSON(t))["uuid"].(string) },
			})
		})
	}
}
