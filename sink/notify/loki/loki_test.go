package loki

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/notifytest"
)

func TestLoki(t *testing.T) {
	notifytest.RunHTTP(t, notifytest.HTTP{
		Settings: func(_ testing.TB, url string) notify.Settings {
			c := Default()
			c.URL, c.Tenant, c.User, c.Password, c.Labels = url+"/", "t1", "u", daemon.NewSecret(notifytest.Secret), map[string]string{"env": "prod"}
			return c
		},
		Status: http.StatusNoContent, Limit: 1 << 20,
		Check: func(t *testing.T, r notifytest.Request) {
			s := r.JSON(t)["streams"].([]any)[0].(map[string]any)
			want := map[string]any{"job": "gyre", "priority": "critical", "source": "syscall", "node": "node-1", "env": "prod"}
			if d := cmp.Diff(want, s["stream"]); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
			v := s["values"].([]any)[0].([]any)
			if r.Path != "/loki/api/v1/push" || r.Header.Get("X-Scope-OrgID") != "t1" || v[0] != "1780000000123456789" || !strings.HasPrefix(v[1].(string), `{"time":`) || v[2].(map[string]any)["rule"] != "Read sensitive file" {
				t.Errorf("got %v", v)
			}
		},
		Key: func(_ testing.TB, r notifytest.Request) string { return string(r.Body) },
	})
}
