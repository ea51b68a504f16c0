package alertv1_test

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gyre-sec/gyre/schemas/alertv1"
	"github.com/gyre-sec/gyre/schemas/wire"
)

var freeze = flag.String("freeze", "", "write a new wire fixture of this name; existing ones are never changed")

func sample() alertv1.Alert {
	return alertv1.Alert{
		ID: alertv1.EventID("r1", "node-1", "boot", 42), Time: 1_780_000_000_123_456_789, RuleID: "r1", Rule: "Rule one", Priority: alertv1.Critical,
		Source: "syscall", Node: "node-1", BootID: "boot", Seq: 42, Event: "openat", Output: "cat read \xff /etc/shadow", Tags: []string{"host"}, MITRE: []string{"T1003.008"}, Ruleset: "sha256:ab",
		Fields:    []alertv1.Field{{Name: "proc.name", Value: "cat"}, {Name: "proc.pid", Value: int64(7)}, {Name: "fd.ino"}, {Name: "x", Value: true}, {Name: "l", Value: []string{"a", "b"}}},
		Lineage:   []alertv1.Process{{ExecID: "n:b:1:7:1", PID: 7, Name: "cat", Exe: "/bin/cat", Cmdline: "cat /etc/shadow", Cwd: "/", UID: 0, User: "root", Start: 5}},
		User:      alertv1.User{UID: 0, Name: "root", LoginUID: 1<<32 - 1},
		Container: alertv1.Container{ID: "c", Name: "n", Image: "i"}, K8s: alertv1.K8s{Namespace: "ns", Pod: "p"},
		Events: []alertv1.Event{
			{Step: "one", Time: 1, Node: "a", BootID: "b", Seq: 2, Kind: "openat", ExecID: "e", PID: 3, Process: "p", Cmdline: "p q", Detail: "fd.name=/x"},
			{Step: "two", Time: 4, Node: "c"},
		},
	}
}

func TestRoundTrip(t *testing.T) {
	want := sample()
	data, err := want.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	got, err := alertv1.Unmarshal(data)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	for n := range data {
		if _, err := alertv1.Unmarshal(data[:n]); !errors.Is(err, wire.ErrMalformed) {
			t.Fatalf("an alert cut at byte %d: %v", n, err)
		}
	}
	data[3] = 9
	if _, err := alertv1.Unmarshal(data); !errors.Is(err, alertv1.ErrVersion) {
		t.Errorf("version 9: %v", err)
	}
	bad := alertv1.Alert{Fields: []alertv1.Field{{Name: "f", Value: 1.5}}}
	if _, err := bad.Marshal(); err == nil {
		t.Error("a float field was accepted")
	}
}

func TestID(t *testing.T) {
	a := alertv1.EventID("r", "n", "b", 1)
	if a != alertv1.EventID("r", "n", "b", 1) {
		t.Error("id is not deterministic")
	}
	seen := map[alertv1.ID]string{a: "r n b 1"}
	for _, x := range []struct{ r, n, b string }{{"rn", "", "b"}, {"r", "nb", ""}, {"r2", "n", "b"}, {"", "rn", "b"}} {
		id := alertv1.EventID(x.r, x.n, x.b, 1)
		if was, dup := seen[id]; dup {
			t.Errorf("%v has the id of %s", x, was)
		}
		seen[id] = x.r + " " + x.n + " " + x.b
	}
	back, err := alertv1.ParseID(a.String())
	if err != nil || back != a {
		t.Errorf("ParseID(%s) = %v, %v", a, back, err)
	}
	for _, s := range []string{"", "x", a.String()[:35], a.String()[:35] + "g", "0123456789012345678901234567890123456"} {
		if _, err := alertv1.ParseID(s); err == nil {
			t.Errorf("ParseID(%q) accepted", s)
		}
	}
}

func TestPriority(t *testing.T) {
	for _, p := range alertv1.Priorities() {
		got, err := alertv1.ParsePriority(p.String())
		if err != nil || got != p {
			t.Errorf("ParsePriority(%s) = %v, %v", p, got, err)
		}
	}
	if p, err := alertv1.ParsePriority("INFO"); err != nil || p != alertv1.Informational {
		t.Errorf("INFO = %v, %v", p, err)
	}
	if _, err := alertv1.ParsePriority("loud"); err == nil {
		t.Error("loud was accepted")
	}
}

func TestFixtures(t *testing.T) {
	dir := filepath.Join("..", "testdata", "v1")
	if *freeze != "" {
		a := sample()
		data, err := a.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		for ext, content := range map[string][]byte{"msgpack": data, "json": asJSON(t, a)} {
			f, err := os.OpenFile(filepath.Join(dir, *freeze+".alert."+ext), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.Write(content); err != nil {
				t.Fatal(err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.alert.msgpack"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no fixtures: %v", err)
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		a, err := alertv1.Unmarshal(data)
		if err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		want, err := os.ReadFile(f[:len(f)-len("msgpack")] + "json")
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(string(want), string(asJSON(t, a))); d != "" {
			t.Errorf("%s reads otherwise (-want +got)\n%s", f, d)
		}
	}
}

func asJSON(t *testing.T, a alertv1.Alert) []byte {
	t.Helper()
	out, err := json.MarshalIndent(a, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return append(out, '\n')
}

func FuzzUnmarshal(f *testing.F) {
	a := sample()
	data, err := a.Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := alertv1.Unmarshal(data)
		if err != nil {
			return
		}
		if _, err := a.Marshal(); err != nil {
			t.Fatalf("an alert that decodes does not encode: %v", err)
		}
	})
}
