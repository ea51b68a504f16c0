package evaluator

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/bus/bustest"
	"github.com/gyre-sec/gyre/evaluator/ruletest"
	"github.com/gyre-sec/gyre/schemas/alertv1"
	"github.com/gyre-sec/gyre/schemas/eventv1"
	"github.com/gyre-sec/gyre/schemas/subject"
)

const oneRule = "rules:\n  - id: mine\n    name: Mine\n    condition: evt.type == \"execve\" && proc.name == \"%s\"\n    output: \"%%proc.name\"\n    priority: notice\n"

func rulesFor(name string) string {
	return strings.ReplaceAll(strings.Replace(oneRule, "%s", name, 1), "%%", "%")
}

// TestBoundaries holds the module to its place: cel-go is here, other workers and drivers are not.
func TestBoundaries(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	const ours = "github.com/gyre-sec/gyre/"
	for dep := range strings.FieldsSeq(string(out)) {
		rest, own := strings.CutPrefix(dep, ours)
		module, _, _ := strings.Cut(rest, "/")
		if own && module != "evaluator" && module != "schemas" && module != "bus" && module != "daemon" {
			t.Errorf("evaluator depends on %s", dep)
		}
		if strings.Contains(dep, "ClickHouse") || strings.Contains(dep, "cilium/ebpf") || strings.HasPrefix(dep, "k8s.io/") {
			t.Errorf("evaluator depends on %s", dep)
		}
	}
}

// start runs an evaluator until the test ends.
func start(t *testing.T, b *bus.Bus, cfg Config) *Evaluator {
	t.Helper()
	e, err := New(cfg, b, bustest.Log(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	return e
}

func publish(t *testing.T, b *bus.Bus, id string, data []byte) {
	t.Helper()
	p := b.NewPublisher(bus.PublisherConfig{Stage: "test"})
	if err := p.Publish(t.Context(), bus.Message{Subject: subject.Enriched("syscall", "test"), ID: id, Data: data}); err != nil {
		t.Fatal(err)
	}
}

// until waits for the next message of a stream from the start whose position is n.
func until(t *testing.T, b *bus.Bus, stream string, n int) []bus.Stored {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var got []bus.Stored
	err := b.Tail(ctx, bus.TailConfig{Stream: stream, Seq: 1}, func(m bus.Stored) error {
		if got = append(got, m); len(got) == n {
			cancel()
		}
		return nil
	})
	if len(got) < n {
		t.Fatalf("%d messages on %s, want %d: %v", len(got), stream, n, err)
	}
	return got
}

func execBatch(t *testing.T, name string) []byte {
	t.Helper()
	data, err := ruletest.Batch(ruletest.Case{
		Event:   ruletest.Event{Kind: "execve", Args: map[string]any{"filename": "/opt/" + name}},
		Process: &ruletest.Process{Name: name, Exe: "/opt/" + name, Args: []string{name}, Ancestors: []ruletest.Process{{Name: "sh", Exe: "/usr/bin/dash"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestEndToEnd: one batch is one alert; delivered again it is the same alert; what does not decode goes to DEAD.
func TestEndToEnd(t *testing.T) {
	b := bustest.New(t)
	start(t, b, DefaultConfig())
	data, err := ruletest.Batch(ruletest.Case{
		Event:   ruletest.Event{Kind: "openat", Ret: 3, Args: map[string]any{"name": "/etc/shadow", "flags": "O_RDONLY"}},
		Process: &ruletest.Process{Name: "cat", Exe: "/usr/bin/cat", Args: []string{"cat", "/etc/shadow"}, Ancestors: []ruletest.Process{{Name: "bash", Exe: "/usr/bin/bash"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	publish(t, b, "1", data)
	publish(t, b, "2", data) // as after a redelivery: the stream drops the second alert by its id
	publish(t, b, "3", []byte("not a batch"))
	until(t, b, bus.StreamDead, 1)
	lost := eventv1.NewBuilder()
	lost.Reset(eventv1.Header{Node: "test", BootID: "b", Source: "syscall"})
	lost.SetStart(7, 1_780_000_000_000_000_000)
	lost.AddLost(eventv1.Openat, 5)
	publish(t, b, "4", lost.Encode())
	got := until(t, b, bus.StreamAlerts, 2)
	byRule := map[string]alertv1.Alert{}
	for _, m := range got {
		a, err := alertv1.Unmarshal(m.Data)
		if err != nil {
			t.Fatal(err)
		}
		if m.ID != a.ID.String() {
			t.Errorf("message id %s, alert id %s", m.ID, a.ID)
		}
		byRule[a.RuleID] = a
	}
	a := byRule["read-sensitive-file"]
	if a.ID != alertv1.EventID("read-sensitive-file", "test", "00000000-0000-4000-8000-000000000000", 1) || len(a.Lineage) != 2 || a.Lineage[1].Name != "bash" ||
		!strings.HasPrefix(a.Output, "cat read /etc/shadow (result SUCCESS") || a.Ruleset == "" || a.Node != "test" {
		t.Errorf("alert %+v", a)
	}
	if l := byRule[RuleEventsLost]; l.Source != "internal" || l.Output != "5 events were lost on test before event 7: 5 openat" {
		t.Errorf("lost alert %+v", l)
	}
}

// TestReload: a good change of a directory or the bucket takes force, a bad one is refused with its place.
func TestReload(t *testing.T) {
	b := bustest.New(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "mine.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(rulesFor("one"))
	cfg := DefaultConfig()
	cfg.Builtin, cfg.Dirs, cfg.Poll = false, []string{dir}, 100*time.Millisecond
	e := start(t, b, cfg)
	wait := func(what string, ok func(Info) bool) Info {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
			if i := e.Rules(); ok(i) {
				return i
			}
			time.Sleep(10 * time.Millisecond) // poll of a state that has no event to await
		}
		t.Fatalf("%s never happened: %+v", what, e.Rules())
		return Info{}
	}
	first := e.Rules()
	write(strings.Replace(rulesFor("two"), "proc.name ==", "proc.nmae ==", 1))
	bad := wait("refusal", func(i Info) bool { return i.Error != "" })
	if !strings.Contains(bad.Error, file+":4:") || bad.Digest != first.Digest || bad.Count != 1 {
		t.Errorf("after a bad file: %+v", bad)
	}
	publish(t, b, "a", execBatch(t, "one"))
	if a := until(t, b, bus.StreamAlerts, 1)[0]; a.Subject != subject.Alert("notice", "mine", "test") {
		t.Errorf("subject %s", a.Subject)
	}
	write(rulesFor("two"))
	second := wait("reload", func(i Info) bool { return i.Error == "" && i.Digest != first.Digest })
	kv, err := b.KV(t.Context(), "rules")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Put(t.Context(), "default", []byte(rulesFor("three"))); err != nil {
		t.Fatal(err)
	}
	wait("the bucket's rules", func(i Info) bool { return i.Digest != second.Digest && i.Count == 1 })
	if err := kv.Delete(t.Context(), "default"); err != nil {
		t.Fatal(err)
	}
	wait("the directory's rules again", func(i Info) bool { return i.Digest == second.Digest })
}

func TestConfig(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	c := DefaultConfig()
	c.Dirs = []string{filepath.Join(t.TempDir(), "none")}
	if err := c.Validate(); err == nil {
		t.Error("a directory that is not there was accepted")
	}
}
