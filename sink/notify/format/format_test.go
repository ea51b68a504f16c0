package format_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gyre-sec/gyre/sink/notify/format"
	"github.com/gyre-sec/gyre/sink/notify/notifytest"
)

// TestFalco compares field by field with the payload that Falcosidekick documents.
func TestFalco(t *testing.T) {
	m := notifytest.Message()
	b, err := format.Falco.Append(nil, &m)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"uuid": m.Alert.ID.String(), "priority": "Critical", "rule": "Read sensitive file", "time": "2026-05-28T20:26:40.123456789Z", "source": "syscall", "hostname": "node-1",
		"output":        "20:26:40.123456789: Critical cat \ufffd\x1b[2J <b>*read*</b> @everyone `x` /etc/shadow",
		"output_fields": map[string]any{"proc.name": "cat", "proc.pid": 7.0, "fd.ino": nil, "evt.time": 1780000000123456789.0},
		"tags":          []any{"T1003", "host"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	if !strings.Contains(string(b), `"evt.time":1780000000123456789`) {
		t.Error("evt.time is not exact")
	}
}

func TestCloudEvent(t *testing.T) {
	m := notifytest.Message()
	b, err := format.CloudEvent.Append(nil, &m)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	for k, want := range map[string]string{"specversion": "1.0", "id": m.Alert.ID.String(), "type": "dev.gyre.alert.v1", "source": "/gyre/nodes/node-1", "time": "2026-05-28T20:26:40.123456789Z", "datacontenttype": "application/json"} {
		if got[k] != want {
			t.Errorf("%s is %v, want %s", k, got[k], want)
		}
	}
	if got["data"].(map[string]any)["rule_id"] != "read-shadow" {
		t.Errorf("data is %v", got["data"])
	}
}

func TestText(t *testing.T) {
	m := notifytest.Message()
	got := format.Text(m.Alert)
	if want := "2026-05-28T20:26:40.123Z critical Read sensitive file: cat \ufffd\\u001b[2J <b>*read*</b> @everyone `x` /etc/shadow [node-1]"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
