package evaluator

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/bus/bustest"
	"github.com/gyre-sec/gyre/evaluator/correlate"
	"github.com/gyre-sec/gyre/evaluator/ruletest"
	"github.com/gyre-sec/gyre/schemas/alertv1"
	"github.com/gyre-sec/gyre/schemas/subject"
)

const thresholdRule = `rules:
  - id: storm
    name: Storm
    kind: threshold
    by: [proc.name]
    within: 1m
    count: 3
    condition: evt.type == "execve" && proc.name == "tick"
    output: "%count times %proc.name on %nodes"
    priority: notice
`

// TestThreshold: matches of a correlation rule become signals, and three of them one alert that names them.
func TestThreshold(t *testing.T) {
	b := bustest.New(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "r.yaml"), []byte(thresholdRule), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := DefaultConfig()
	cfg.Builtin, cfg.Dirs = false, []string{dir}
	cfg.Correlate.OutOfOrder = 200 * time.Millisecond
	start(t, b, cfg)
	for i := range 3 {
		data, err := ruletest.Batch(ruletest.Case{
			Event:   ruletest.Event{Kind: "execve", Seq: uint64(i + 1), At: time.Duration(i) * time.Second, Args: map[string]any{"filename": "/opt/tick"}},
			Process: &ruletest.Process{Name: "tick", Exe: "/opt/tick", Args: []string{"tick"}, Ancestors: []ruletest.Process{{Name: "sh"}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		publish(t, b, string(rune('a'+i)), data)
		publish(t, b, string(rune('k'+i)), data) // evaluated twice, signalled once
	}
	until(t, b, bus.StreamSignals, 3)
	a, err := alertv1.Unmarshal(until(t, b, bus.StreamAlerts, 1)[0].Data)
	if err != nil {
		t.Fatal(err)
	}
	if a.RuleID != "storm" || len(a.Events) != 3 || a.Events[0].Seq != 1 || a.Events[2].Process != "tick" || a.Output != "3 times tick on test" || len(a.Lineage) != 2 || !strings.HasPrefix(a.Ruleset, "sha256:") {
		t.Errorf("%+v", a)
	}
}

// connected is an evaluator with a connection of its own, as one in another process has.
type connected struct {
	b    *bus.Bus
	e    *Evaluator
	stop func()
}

func startConnected(t *testing.T, srv *bustest.Server, cfg Config) *connected {
	t.Helper()
	c := &connected{b: srv.Connect()}
	e, err := New(cfg, c.b, bustest.Log(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	c.e = e
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { _ = e.Run(ctx); close(done) }()
	c.stop = func() { cancel(); <-done }
	t.Cleanup(c.stop)
	return c
}

// caseBatch is a batch with one event of a node.
func caseBatch(t *testing.T, node string, seq uint64, at time.Duration, e ruletest.Event, p ruletest.Process) []byte {
	t.Helper()
	e.Node, e.Seq, e.At = node, seq, at
	data, err := ruletest.Batch(ruletest.Case{Event: e, Process: &p})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestOwnerDies: a sequence over two hosts is found although the correlator that has its first step loses its connection, and
// with it everything that it has not stored, before the second step. It is one alert, whose events are on both hosts.
func TestOwnerDies(t *testing.T) {
	srv := bustest.Start(t)
	watch := srv.Connect()
	cfg := DefaultConfig()
	cfg.Correlate.Lease, cfg.Correlate.OutOfOrder, cfg.Correlate.Snapshot = 2*time.Second, 300*time.Millisecond, time.Hour
	two := []*connected{startConnected(t, srv, cfg), startConnected(t, srv, cfg)}
	socket := func(saddr, sport, daddr, dport string) map[string]any {
		return map[string]any{"family": "AF_INET", "socktype": "SOCK_STREAM", "proto": "tcp", "saddr": saddr, "sport": sport, "daddr": daddr, "dport": dport}
	}
	leave := caseBatch(t, "web-1", 1, 0, ruletest.Event{Kind: "connect", Args: socket("10.0.0.1", "50123", "10.0.0.2", "22")},
		ruletest.Process{Name: "ssh", Exe: "/usr/bin/ssh", Args: []string{"ssh", "db-1"}, Ancestors: []ruletest.Process{{Name: "bash"}}})
	arrive := caseBatch(t, "db-1", 1, time.Second, ruletest.Event{Kind: "accept4", Ret: 5, Args: socket("10.0.0.2", "22", "10.0.0.1", "50123")},
		ruletest.Process{Name: "sshd", Exe: "/usr/sbin/sshd"})
	owners := func() map[string]int {
		n := map[string]int{}
		for p := range subject.SignalPartitions {
			name, err := correlate.Owner(t.Context(), watch, p)
			if err != nil {
				t.Fatal(err)
			}
			n[name]++
		}
		return n
	}
	wait(t, "both own partitions", func() bool { n := owners(); return len(n) == 2 && n[""] == 0 })
	publish(t, watch, "leave", leave)
	var partition int
	for _, m := range until(t, watch, bus.StreamSignals, 1) {
		var err error
		if partition, _, err = subject.ParseSignal(m.Subject); err != nil {
			t.Fatal(err)
		}
	}
	owner, err := correlate.Owner(t.Context(), watch, partition)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range two {
		if c.e.correlator.Name() == owner {
			c.b.Close() // what it did not store is gone, and it cannot say so
			go c.stop()
		}
	}
	publish(t, watch, "arrive", arrive)
	a, err := alertv1.Unmarshal(untilRule(t, watch, "lateral-movement").Data)
	if err != nil {
		t.Fatal(err)
	}
	if len(a.Events) != 2 || a.Events[0].Node != "web-1" || a.Events[1].Node != "db-1" || !strings.Contains(a.Output, "ssh db-1 on web-1") {
		t.Errorf("%+v", a)
	}
	if now, err := correlate.Owner(t.Context(), watch, partition); err != nil || now == owner || now == "" {
		t.Errorf("partition %d belongs to %q, %v; before it was %q", partition, now, err, owner)
	}
}

// TestMoves: correlators that stop in the middle of a sequence, one after the other, lose nothing and double nothing.
func TestMoves(t *testing.T) {
	srv := bustest.Start(t)
	watch := srv.Connect()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "r.yaml"), []byte(strings.Replace(thresholdRule, "count: 3", "count: 6", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := DefaultConfig()
	cfg.Builtin, cfg.Dirs = false, []string{dir}
	cfg.Correlate.Lease, cfg.Correlate.OutOfOrder = 2*time.Second, 200*time.Millisecond
	for i := range 6 {
		c := startConnected(t, srv, cfg)
		wait(t, "ready", func() bool { return c.e.Ready() == nil })
		publish(t, watch, string(rune('a'+i)), caseBatch(t, "test", uint64(i+1), time.Duration(i)*time.Second, ruletest.Event{Kind: "execve", Args: map[string]any{"filename": "/opt/tick"}}, ruletest.Process{Name: "tick"}))
		until(t, watch, bus.StreamSignals, i+1)
		if i < 5 {
			c.stop()
		}
	}
	a, err := alertv1.Unmarshal(until(t, watch, bus.StreamAlerts, 1)[0].Data)
	if err != nil || len(a.Events) != 6 {
		t.Errorf("%+v, %v", a, err)
	}
}

// wait polls until ok.
func wait(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within a minute", what)
		}
		select {
		case <-t.Context().Done():
			t.Fatal(what)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// untilRule waits for the alert of a rule.
func untilRule(t *testing.T, b *bus.Bus, id string) bus.Stored {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	var got bus.Stored
	err := b.Tail(ctx, bus.TailConfig{Stream: bus.StreamAlerts, Filter: subject.AlertFilter("", id, ""), Seq: 1}, func(m bus.Stored) error {
		got = m
		cancel()
		return nil
	})
	if got.Subject == "" {
		t.Fatalf("no alert of %s: %v", id, err)
	}
	return got
}
