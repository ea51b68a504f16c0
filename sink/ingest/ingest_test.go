package ingest

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/bus/bustest"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/schemas/alertv1"
	"github.com/gyre-sec/gyre/sink/notify/format"
)

// sample is an alert in the form that Falco documents.
const sample = `{"hostname":"node-7","output":"16:31:56.746609046: Warning Sensitive file opened | file=/etc/shadow","output_fields":{"container.id":"host","evt.time":1680000000746609046,
"evt.type":"openat","fd.name":"/etc/shadow","k8s.ns.name":null,"proc.name":"cat","proc.pid":42,"user.name":"root","x":1.5,"l":["a"]},"priority":"Warning","rule":"Read sensitive file untrusted",
"source":"syscall","tags":["T1555","filesystem","maturity_stable"],"time":"2023-03-28T10:40:00.746609046Z","uuid":"u","extra":1}`

func TestParse(t *testing.T) {
	a, err := Parse([]byte(sample))
	if err != nil {
		t.Fatal(err)
	}
	again, err := Parse([]byte(sample))
	if err != nil || a.ID != again.ID {
		t.Errorf("ids %s and %s, %v", a.ID, again.ID, err)
	}
	want := alertv1.Alert{
		ID: a.ID, Time: 1680000000746609046, RuleID: "falco.Read sensitive file untrusted", Rule: "Read sensitive file untrusted", Priority: alertv1.Warning, Source: "syscall", Node: "node-7", Event: "openat",
		Output: "Sensitive file opened | file=/etc/shadow", Tags: []string{"T1555", "filesystem", "maturity_stable"}, MITRE: []string{"T1555"},
		Fields: []alertv1.Field{
			{Name: "container.id", Value: "host"},
			{Name: "evt.time", Value: int64(1680000000746609046)},
			{Name: "evt.type", Value: "openat"},
			{Name: "fd.name", Value: "/etc/shadow"},
			{Name: "k8s.ns.name"},
			{Name: "l", Value: `["a"]`},
			{Name: "proc.name", Value: "cat"},
			{Name: "proc.pid", Value: int64(42)},
			{Name: "user.name", Value: "root"},
			{Name: "x", Value: "1.5"},
		},
		Lineage: []alertv1.Process{{Name: "cat", PID: 42, User: "root"}}, User: alertv1.User{Name: "root", LoginUID: 1<<32 - 1},
	}
	if d := cmp.Diff(want, a); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestRefused(t *testing.T) {
	for _, tt := range []struct{ from, to, want string }{
		{`"priority":"Warning"`, `"priority":"loud"`, "priority"},
		{`"priority":"Warning"`, `"priority":4`, "JSON"},
		{`"time":"2023`, `"time":"23`, "time"},
		{`"rule":"Read sensitive file untrusted"`, `"rule":""`, "rule"},
		{`{"hostname"`, `["hostname"`, "JSON"},
		{`"time":"2023`, `"time":"9023`, "year"},
	} {
		if _, err := Parse([]byte(strings.Replace(sample, tt.from, tt.to, 1))); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.to, err)
		}
	}
}

// FuzzParse: what is accepted can be stored, and sent on as Falco's JSON.
func FuzzParse(f *testing.F) {
	f.Add([]byte(sample))
	f.Add([]byte(`{"priority":"info","rule":"r","time":"2023-03-28T10:40:00Z","output_fields":{"a":{"b":null}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := Parse(data)
		if err != nil {
			return
		}
		wire, err := a.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := alertv1.Unmarshal(wire); err != nil {
			t.Fatal(err)
		}
		if _, err := json.Marshal(format.FalcoOf(&a)); err != nil {
			t.Fatal(err)
		}
	})
}

func TestServer(t *testing.T) {
	nats := bustest.Start(t)
	b := nats.Connect()
	s, err := New(Config{Token: daemon.NewSecret("hush")}, b, bustest.Log(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	send := func(method, url, auth, body string) int {
		r := httptest.NewRequest(method, url, strings.NewReader(body)).WithContext(t.Context())
		if auth != "" {
			r.Header.Set("Authorization", auth)
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		return w.Code
	}
	for _, tt := range []struct {
		name, method, url, auth, body string
		want                          int
	}{
		{"stored", "POST", "/", "Bearer hush", sample, http.StatusOK},
		{"again", "POST", "/?token=hush", "", sample, http.StatusOK},
		{"as password", "POST", "/", "Basic " + base64.StdEncoding.EncodeToString([]byte("falco:hush")), sample, http.StatusOK},
		{"wrong password", "POST", "/?token=hush", "Basic " + base64.StdEncoding.EncodeToString([]byte("falco:x")), sample, http.StatusUnauthorized},
		{"neither", "POST", "/", "hush", sample, http.StatusUnauthorized},
		{"no token", "POST", "/", "", sample, http.StatusUnauthorized},
		{"wrong token", "POST", "/?token=x", "", sample, http.StatusUnauthorized},
		{"GET", "GET", "/", "Bearer hush", "", http.StatusMethodNotAllowed},
		{"no JSON", "POST", "/", "Bearer hush", "x", http.StatusBadRequest},
		{"too large", "POST", "/", "Bearer hush", strings.Repeat(" ", maxBody+1), http.StatusRequestEntityTooLarge},
	} {
		if got := send(tt.method, tt.url, tt.auth, tt.body); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
	n := 0
	if err := b.Tail(t.Context(), bus.TailConfig{Stream: bus.StreamAlerts, ToEnd: true}, func(m bus.Stored) error {
		n++
		a, err := alertv1.Unmarshal(m.Data)
		if a.Node != "node-7" || m.ID != a.ID.String() {
			t.Errorf("got %+v", a)
		}
		return err
	}); err != nil || n != 1 {
		t.Errorf("%d alerts in the stream, %v", n, err)
	}
}

// TestEmptyToken: a token file that is empty must not open the endpoint to everybody.
func TestEmptyToken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte(" \n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := Config{Listen: ":2801", Token: daemon.SecretFile(path)}
	if _, err := New(cfg, bustest.New(t), bustest.Log(), prometheus.NewRegistry()); err == nil || !strings.Contains(err.Error(), "empty") {
		t.Errorf("got %v", err)
	}
}

func TestValidate(t *testing.T) {
	for _, c := range []Config{{Listen: "x"}, {Listen: "0.0.0.0:2801"}, {Listen: ":2801"}, {Listen: "127.0.0.1:1", CertFile: "a"}, {Listen: "127.0.0.1:1", ClientCA: "a"}} {
		if c.Validate() == nil {
			t.Errorf("%+v was accepted", c)
		}
	}
	for _, c := range []Config{{}, {Listen: "127.0.0.1:2801"}, {Listen: ":2801", Token: daemon.NewSecret("x")}} {
		if err := c.Validate(); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
