package alertmanager

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/notifytest"
)

func TestAlertmanager(t *testing.T) {
	notifytest.RunHTTP(t, notifytest.HTTP{
		Settings: func(_ testing.TB, url string) notify.Settings {
			c := Default()
			c.URL, c.User, c.Password, c.Labels, c.Fields = url, "u", daemon.NewSecret(notifytest.Secret), map[string]string{"team": "soc"}, []string{"proc.name", "fd.ino"}
			return c
		},
		Limit: 64_000,
		Check: func(t *testing.T, r notifytest.Request) {
			var list []alert
			if err := json.Unmarshal(r.Body, &list); err != nil || len(list) != 1 || r.Path != "/api/v2/alerts" {
				t.Fatalf("%s %v\n%s", r.Path, err, r.Body)
			}
			want := map[string]string{
				"alertname": "Read sensitive file", "severity": "critical", "node": "node-1", "source": "syscall", "namespace": "prod", "pod": "web-0", "container": "web", "proc_name": "cat", "team": "soc",
			}
			if d := cmp.Diff(want, list[0].Labels); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
			if list[0].StartsAt != "2026-05-28T20:26:40.123456789Z" || list[0].EndsAt != "2026-05-28T21:26:40.123456789Z" {
				t.Errorf("times %s %s", list[0].StartsAt, list[0].EndsAt)
			}
		},
		Key: func(_ testing.TB, r notifytest.Request) string { return string(r.Body) },
	})
}
