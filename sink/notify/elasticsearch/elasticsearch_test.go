package elasticsearch

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/notifytest"
)

func settings(url string) *Config {
	c := Default()
	c.URL, c.APIKey = url, daemon.NewSecret(notifytest.Secret)
	return c
}

func TestElasticsearch(t *testing.T) {
	notifytest.RunHTTP(t, notifytest.HTTP{
		Settings: func(_ testing.TB, url string) notify.Settings { return settings(url) },
		Answer:   `{"took":1,"errors":false,"items":[]}`, Limit: 2 << 20,
		Check: func(t *testing.T, r notifytest.Request) {
			lines := strings.Split(string(r.Body), "\n")
			if len(lines) != 3 || lines[2] != "" || r.Path != "/_bulk" || r.Header.Get("Content-Type") != "application/x-ndjson" || r.Header.Get("Authorization") != "ApiKey "+notifytest.Secret {
				t.Fatalf("got %s %q", r.Path, lines)
			}
			var action map[string]map[string]string
			var doc map[string]any
			if err := errors.Join(json.Unmarshal([]byte(lines[0]), &action), json.Unmarshal([]byte(lines[1]), &doc)); err != nil {
				t.Fatal(err)
			}
			if action["create"]["_index"] != "gyre-alerts-2026.05.28" || action["create"]["_id"] != doc["id"] || doc["@timestamp"] != "2026-05-28T20:26:40.123456789Z" {
				t.Errorf("got %v %v", action, doc)
			}
		},
		Key: func(_ testing.TB, r notifytest.Request) string { return strings.Split(string(r.Body), "\n")[0] },
	})
}

// TestItems: each document has its own result.
func TestItems(t *testing.T) {
	srv := notifytest.NewRecorder(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"errors":true,"items":[{"create":{"status":201}},{"create":{"status":409,"error":{"type":"version_conflict_engine_exception"}}},
			{"create":{"status":400,"error":{"type":"mapper_parsing_exception","reason":"no"}}},{"create":{"status":429,"error":{"type":"es_rejected_execution_exception"}}}]}`)
	})
	n := notifytest.Open(t, settings(srv.URL), notifytest.Env(t.Output()))
	m := notifytest.Message()
	err := n.Notify(t.Context(), []notify.Message{m, m, m, m})
	p, ok := errors.AsType[*notify.Partial](err)
	if !ok || p.Errs[0] != nil || p.Errs[1] != nil || !bus.IsPermanent(p.Errs[2]) || p.Errs[3] == nil || bus.IsPermanent(p.Errs[3]) {
		t.Errorf("got %#v", err)
	}
	srv.Answer(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") })
	if err := n.Notify(t.Context(), []notify.Message{m}); err == nil || bus.IsPermanent(err) {
		t.Errorf("a proxy's page: %v", err)
	}
}
