package otlp

import (
	"io"
	"net/http"
	"testing"

	logs "go.opentelemetry.io/proto/otlp/logs/v1"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/notifytest"
)

// TestOTLP reads the body with the protocol's own definition.
func TestOTLP(t *testing.T) {
	notifytest.RunHTTP(t, notifytest.HTTP{
		Settings: func(_ testing.TB, url string) notify.Settings {
			return &Config{URL: url + "/v1/logs", Authorization: daemon.NewSecret("Bearer " + notifytest.Secret)}
		},
		Answer: `{"partialSuccess":{}}`, Limit: 1 << 20,
		Check: func(t *testing.T, r notifytest.Request) {
			var req logs.LogsData
			if err := protojson.Unmarshal(r.Body, &req); err != nil {
				t.Fatal(err)
			}
			rl := req.GetResourceLogs()[0]
			rec := rl.GetScopeLogs()[0].GetLogRecords()[0]
			if rl.GetResource().GetAttributes()[0].GetValue().GetStringValue() != "node-1" || rec.GetTimeUnixNano() != 1_780_000_000_123_456_789 || rec.GetSeverityNumber() != 21 || rec.GetSeverityText() != "critical" {
				t.Errorf("got %v", rec)
			}
			attr := map[string]string{}
			for _, a := range rec.GetAttributes() {
				attr[a.GetKey()] = a.GetValue().String()
			}
			if attr["gyre.field.proc.pid"] != "int_value:7" || attr["k8s.pod.name"] != `string_value:"web-0"` {
				t.Errorf("attributes %v", attr)
			}
		},
		Key: func(_ testing.TB, r notifytest.Request) string { return string(r.Body) },
	})
}

func TestRejected(t *testing.T) {
	srv := notifytest.NewRecorder(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"partialSuccess":{"rejectedLogRecords":"1","errorMessage":"too old"}}`)
	})
	err := notifytest.Open(t, &Config{URL: srv.URL}, notifytest.Env(t.Output())).Notify(t.Context(), []notify.Message{notifytest.Message()})
	if err == nil || !bus.IsPermanent(err) {
		t.Errorf("got %v", err)
	}
}
