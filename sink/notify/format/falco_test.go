package format_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gyre-sec/gyre/schemas/alertv1"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/format"
	"github.com/gyre-sec/gyre/sink/notify/notifytest"
	"github.com/gyre-sec/gyre/sink/notify/webhook"
)

const testID = "6a0a1f9e-9c2f-4e0b-8d77-0d6c3b0c1a52"

// falcoMessage is an alert of a rule of Falco's, with the extra field that event-generator wants.
func falcoMessage() notify.Message {
	a := &alertv1.Alert{
		ID: alertv1.EventID("falco.x", "node-1", "boot", 1), Time: 1_780_000_000_000_000_007, RuleID: "falco.read-sensitive-file-untrusted", Rule: "Read sensitive file untrusted", Priority: alertv1.Informational,
		Source: "syscall", Node: "node-1", Event: "openat", Output: "Sensitive file opened | file=/etc/shadow pcmdline=<NA> res=0", Tags: []string{"maturity_stable", "T1555", "filesystem", "T1555"}, MITRE: []string{"T1555"},
		Fields: []alertv1.Field{
			{Name: "fd.name", Value: "/etc/shadow"},
			{Name: "proc.pcmdline"},
			{Name: "evt.rawres", Value: int64(-2)},
			{Name: "proc.pid", Value: int64(1 << 53)},
			{Name: "container.privileged", Value: false},
			{Name: "proc.aname", Value: []string{"sh", "sshd"}},
			{Name: "proc.env", Value: []string{"HOME=/root", "FALCO_EVENT_GENERATOR_TEST_ID=" + testID}},
			{Name: "fd.nameraw", Value: "a\xffb"},
		},
	}
	return notify.Message{Alert: a, Severity: a.Priority.String()}
}

// TestFalcoFields goes through what Falco 0.44 documents of its JSON, key by key.
func TestFalcoFields(t *testing.T) {
	m := falcoMessage()
	b, err := format.Falco.Append(nil, &m)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]json.RawMessage
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(got["output_fields"], &fields); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		from      map[string]json.RawMessage
		key, want string
	}{
		{got, "hostname", `"node-1"`},
		{got, "priority", `"Informational"`}, // not Info
		{got, "rule", `"Read sensitive file untrusted"`},
		{got, "source", `"syscall"`},
		{got, "tags", `["T1555","filesystem","maturity_stable"]`}, // a sorted set
		{got, "time", `"2026-05-28T20:26:40.000000007Z"`},         // nine digits, always UTC
		{fields, "evt.time", `1780000000000000007`},               // an exact number of nanoseconds
		{fields, "fd.name", `"/etc/shadow"`},
		{fields, "proc.pcmdline", `null`}, // absent: <NA> in the text, null here
		{fields, "evt.rawres", `-2`},
		{fields, "proc.pid", `9007199254740992`},
		{fields, "container.privileged", `false`},
		{fields, "proc.aname", `"(sh,sshd)"`},
		{fields, "proc.env", `"HOME=/root FALCO_EVENT_GENERATOR_TEST_ID=` + testID + `"`},
		{fields, "fd.nameraw", `"a\ufffdb"`},
	} {
		if got := string(tt.from[tt.key]); got != tt.want {
			t.Errorf("%s is %s, want %s", tt.key, got, tt.want)
		}
	}
	var output string
	if err := json.Unmarshal(got["output"], &output); err != nil || output != "20:26:40.000000007: Informational Sensitive file opened | file=/etc/shadow pcmdline=<NA> res=0" {
		t.Errorf("output is %q, %v", output, err)
	}
	keys := slices.Sorted(func(yield func(string) bool) {
		for k := range got {
			if !yield(k) {
				return
			}
		}
	})
	if d := cmp.Diff([]string{"hostname", "output", "output_fields", "priority", "rule", "source", "tags", "time", "uuid"}, keys); d != "" {
		t.Errorf("keys (-want +got)\n%s", d)
	}
}

// TestFalcoPriorities: all eight, as Falco spells them.
func TestFalcoPriorities(t *testing.T) {
	want := []string{"Emergency", "Alert", "Critical", "Error", "Warning", "Notice", "Informational", "Debug"}
	for i, p := range alertv1.Priorities() {
		if got := format.FalcoPriority(p); got != want[i] {
			t.Errorf("%s is %s, want %s", p, got, want[i])
		}
	}
}

// generator takes alerts as event-generator's test does: a POST of one object each, whose rule without all but letters and
// digits is the action's name in any case. suite tests find their own alerts by a variable of the process's environment.
type generator struct {
	action string
	passed chan string
}

var notAlphanumeric = regexp.MustCompile(`[^a-zA-Z0-9]+`)

// ServeHTTP takes an alert.
func (g *generator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var a struct {
		Rule, Hostname, Source, Priority string
		Fields                           map[string]any `json:"output_fields"`
	}
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = json.Unmarshal(body, &a)
	}
	if err != nil || r.Method != http.MethodPost {
		http.Error(w, fmt.Sprint(err), http.StatusBadRequest)
		return
	}
	if strings.EqualFold(notAlphanumeric.ReplaceAllString(a.Rule, ""), g.action) {
		env := map[string]string{}
		for kv := range strings.FieldsSeq(fmt.Sprintf("%v", a.Fields["proc.env"])) {
			k, v, _ := strings.Cut(kv, "=")
			env[k] = v
		}
		g.passed <- strings.ToLower(a.Priority) + " " + a.Source + " " + a.Hostname + " " + env["FALCO_EVENT_GENERATOR_TEST_ID"]
	}
}

func TestEventGenerator(t *testing.T) {
	g := &generator{"ReadSensitiveFileUntrusted", make(chan string, 1)}
	srv := httptest.NewServer(g)
	defer srv.Close()
	c := webhook.Default()
	c.URL, c.Format = srv.URL+"/", format.Falco
	if err := notifytest.Open(t, c, notifytest.Env(t.Output())).Notify(t.Context(), []notify.Message{falcoMessage()}); err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-g.passed:
		if want := "informational syscall node-1 " + testID; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	case <-time.After(10 * time.Second):
		t.Error("the alert did not come as event-generator wants it")
	}
}
