package backtest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/bus/bustest"
	"github.com/gyre-sec/gyre/evaluator"
	"github.com/gyre-sec/gyre/evaluator/backtest"
	"github.com/gyre-sec/gyre/evaluator/ruletest"
	"github.com/gyre-sec/gyre/schemas/alertv1"
	"github.com/gyre-sec/gyre/schemas/subject"
)

const correlations = `rules:
  - id: dropped
    name: Dropped
    kind: sequence
    within: 10m
    steps:
      - name: write
        condition: evt.type == "openat" && proc.name == "curl"
      - name: run
        condition: evt.type == "execve" && evt.arg.filename == write.fd.name
    output: "%write.proc.name wrote %write.fd.name"
    priority: critical
  - id: storm
    name: Storm
    kind: threshold
    by: [proc.name]
    within: 1m
    count: 3
    condition: evt.type == "execve" && proc.name == "tick"
    output: "%count times %proc.name"
    priority: notice
  - id: wide
    name: Wide
    kind: distinct
    scope: fleet
    within: 5m
    count: 4
    distinct: fd.name
    condition: evt.type == "openat" && proc.name == "scan"
    output: "%values"
    priority: warning
  - id: silent
    name: Silent
    kind: absence
    within: 3s
    steps:
      - name: stop
        condition: evt.type == "execve" && proc.name == "stop"
      - name: start
        condition: evt.type == "execve" && proc.name == "start"
    output: "%proc.name on %nodes"
    priority: error
  - id: flood
    name: Flood
    kind: rate
    within: 1m
    count: 5
    condition: evt.type == "openat" && proc.name == "scan"
    output: "%count"
    priority: notice
  - id: spread
    name: Spread
    kind: sequence
    scope: fleet
    within: 10m
    steps:
      - name: scan
        every: 1h
        condition: evt.type == "openat" && proc.name == "scan"
      - name: tick
        condition: evt.type == "execve" && proc.name == "tick"
    output: "%nodes"
    priority: notice
`

// incident is what happens on three nodes, in the order in which the stream gets it: those of the last node come late, one of them twice.
func incident(t testing.TB) list {
	t.Helper()
	var l list
	seq := map[string]uint64{}
	add := func(node string, at time.Duration, kind, proc, file string) {
		seq[node]++
		arg := "filename"
		if kind == "openat" {
			arg = "name"
		}
		data, err := ruletest.Batch(ruletest.Case{
			Event:   ruletest.Event{Kind: kind, Node: node, Seq: seq[node], At: at, Ret: 3, Args: map[string]any{arg: file}},
			Process: &ruletest.Process{Name: proc, Exe: "/opt/" + proc, Args: []string{proc}},
		})
		if err != nil {
			t.Fatal(err)
		}
		n := len(l) + 1
		l = append(l, bus.Packed{Subject: subject.Enriched("syscall", node), Codec: bus.None, Data: data, Seq: uint64(n), Time: time.Unix(1_780_000_100, int64(n))})
	}
	add("web-1", 0, "openat", "curl", "/tmp/x")
	add("web-2", 40*time.Second, "execve", "stop", "/opt/stop")
	add("web-1", 2*time.Second, "execve", "x", "/tmp/y") // not what was written
	for i := range 7 {
		add("web-2", time.Duration(41+i)*time.Second, "openat", "scan", fmt.Sprint("/etc/", i))
	}
	for i := range 4 {
		add("web-1", time.Duration(3+i)*time.Second, "execve", "tick", "/opt/tick")
	}
	add("web-1", 50*time.Second, "execve", "stop", "/opt/stop")
	add("web-1", 51*time.Second, "execve", "start", "/opt/start") // in time
	add("web-1", 60*time.Second, "execve", "x", "/tmp/x")
	for i := range 3 {
		add("db", time.Duration(42+i)*time.Second, "openat", "scan", fmt.Sprint("/srv/", i))
	}
	add("db", 55*time.Second, "execve", "tick", "/opt/tick")
	again := l[len(l)-1]
	again.Seq++
	l = append(l, again)
	for i := range 2 {
		add("db", time.Duration(56+i)*time.Second, "execve", "tick", "/opt/tick")
	}
	for i := range l {
		l[i].Seq = uint64(i + 1)
	}
	return l
}

// correlated are the alerts of a replay in their order, and what they are of.
func correlated(t testing.TB, src backtest.Source, cfg backtest.Config) (lines []string, byRule map[string]int, ids []string) {
	t.Helper()
	byRule = map[string]int{}
	cfg.Each = func(v backtest.Verdict, a *alertv1.Alert) error {
		data, err := json.Marshal(a)
		lines = append(lines, v.String()+" "+string(data))
		byRule[a.RuleID]++
		ids = append(ids, a.RuleID+" "+a.ID.String())
		return err
	}
	replay(t, src, cfg)
	slices.Sort(ids)
	return lines, byRule, ids
}

// TestCorrelated: the rules of all kinds fire, the same on any number of workers to the last byte.
func TestCorrelated(t *testing.T) {
	l := incident(t)
	set := compile(t, correlations)
	one, byRule, _ := correlated(t, l, backtest.Config{After: set, Workers: 1})
	if d := cmp.Diff(map[string]int{"dropped": 1, "storm": 2, "wide": 1, "silent": 1, "flood": 1, "spread": 1}, byRule); d != "" {
		t.Fatalf("(-want +got)\n%s\n%s", d, one)
	}
	for _, n := range []int{4, 8} {
		if many, _, _ := correlated(t, l, backtest.Config{After: set, Workers: n}); !cmp.Equal(one, many) {
			t.Errorf("%d workers: %s", n, cmp.Diff(one, many))
		}
	}
}

// TestCorrelatedLive: a replay gives the ids that the evaluator and its correlator give for the same batches.
func TestCorrelatedLive(t *testing.T) {
	l := incident(t)
	_, _, want := correlated(t, l, backtest.Config{After: compile(t, correlations)})
	b := bustest.New(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "r.yaml"), []byte(correlations), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := evaluator.DefaultConfig()
	cfg.Builtin, cfg.Dirs = false, []string{dir}
	cfg.Correlate.OutOfOrder = 5 * time.Second // all are stored by then
	e, err := evaluator.New(cfg, b, bustest.Log(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	pub := b.NewPublisher(bus.PublisherConfig{Stage: "test"})
	for _, p := range l {
		if err := pub.Publish(ctx, bus.Message{Subject: p.Subject, ID: fmt.Sprint(p.Seq), Data: p.Data}); err != nil {
			t.Fatal(err)
		}
	}
	wait, stop := context.WithTimeout(ctx, 90*time.Second)
	defer stop()
	got := map[string]bool{}
	err = b.Tail(wait, bus.TailConfig{Stream: bus.StreamAlerts, Seq: 1}, func(m bus.Stored) error {
		a, err := alertv1.Unmarshal(m.Data)
		got[a.RuleID+" "+a.ID.String()] = true
		if len(got) == len(want) {
			stop()
		}
		return err
	})
	if d := cmp.Diff(want, slices.Sorted(maps.Keys(got))); d != "" {
		t.Errorf("(-replayed +live) %v\n%s", err, d)
	}
}

// TestCorrelatedDiff: alerts of correlation rules are new, vanished or the same by their ids, and are counted in the report.
func TestCorrelatedDiff(t *testing.T) {
	const other = `rules:
  - id: storm
    name: Storm
    kind: threshold
    by: [proc.name]
    within: 1m
    count: 4
    condition: evt.type == "execve" && proc.name == "tick"
    output: "%count times %proc.name"
    priority: notice
`
	r := report(t, incident(t), backtest.Config{Before: compile(t, correlations), After: compile(t, correlations, other)})
	got := counts(r)
	want := map[string][4]uint64{
		"dropped": {1, 1, 0, 0}, "storm": {2, 1, 1, 2}, "wide": {1, 1, 0, 0}, "silent": {1, 1, 0, 0}, "flood": {1, 1, 0, 0}, "spread": {1, 1, 0, 0},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	var sum uint64
	for _, x := range r.Timeline {
		sum += x.After
	}
	if r.Alerts.After != 6 || sum != 6 {
		t.Errorf("%d alerts, %d in the timeline", r.Alerts.After, sum)
	}
	var page bytes.Buffer
	if err := r.WriteText(&page); err != nil {
		t.Fatal(err)
	}
	html, err := r.HTML()
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range r.Rules {
		if x.ID == "storm" && (len(x.NewExamples) != 1 || len(x.NewExamples[0].Events) != 4 || len(x.VanishedExamples) != 2) {
			t.Errorf("examples of storm: %+v", x)
		}
	}
	for _, text := range []string{page.String(), string(html)} {
		if !strings.Contains(text, "4 times tick") || !strings.Contains(text, "3 times tick") {
			t.Errorf("the report lacks the storm:\n%s", text)
		}
	}
}

// TestCorrelatedEnd: a window that is open when the range ends raises nothing, as what comes then is not known.
func TestCorrelatedEnd(t *testing.T) {
	l := incident(t)[:2]
	if lines, _, _ := correlated(t, l, backtest.Config{After: compile(t, correlations)}); len(lines) > 0 {
		t.Errorf("%s", lines)
	}
}
