package backtest_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/bus/bustest"
	"github.com/gyre-sec/gyre/evaluator"
	"github.com/gyre-sec/gyre/evaluator/backtest"
	"github.com/gyre-sec/gyre/evaluator/ruleset"
	"github.com/gyre-sec/gyre/schemas/alertv1"
)

func bundle(t testing.TB, files ...string) (*evaluator.Bundle, *ruleset.Set) {
	t.Helper()
	b := &evaluator.Bundle{MaxRules: 100}
	for i, text := range files {
		b.Files = append(b.Files, evaluator.BundleFile{Name: fmt.Sprintf("%d.yaml", i), Layer: i + 1, Data: []byte(text)})
	}
	set, err := b.Compile(ruleset.Options{SampleEvery: -1})
	if err != nil {
		t.Fatal(err)
	}
	return b, set
}

// stored puts batches into ENRICHED and returns a range of all of it.
func stored(t testing.TB, b *bus.Bus, l list) bus.ReadConfig {
	t.Helper()
	pub := b.NewPublisher(bus.PublisherConfig{Stage: "test"})
	for i, p := range l {
		if err := pub.Publish(t.Context(), bus.Message{Subject: p.Subject, ID: fmt.Sprint(i), Data: p.Data}); err != nil {
			t.Fatal(err)
		}
	}
	return bus.ReadConfig{Stream: bus.StreamEnriched, FromSeq: 1, ToSeq: uint64(len(l))}
}

// live reads a range in this process.
type live struct {
	b   *bus.Bus
	cfg bus.ReadConfig
}

// Read implements backtest.Source.
func (l live) Read(ctx context.Context, fn func(bus.Packed) error) error {
	return l.b.Read(ctx, l.cfg, fn)
}

// outcome is all that a replay gives: the alerts in their order, and the state.
func outcome(t testing.TB, cfg backtest.Config, run func(backtest.Config) (*backtest.State, error)) (lines []string, state string) {
	t.Helper()
	cfg.Each = func(v backtest.Verdict, a *alertv1.Alert) error {
		data, err := a.Marshal()
		lines = append(lines, fmt.Sprintf("%s %s %x", v, a.RuleID, data))
		return err
	}
	s, err := run(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.Took = 0
	return lines, text(t, s)
}

// TestOnCluster: the evaluators of a cluster give what one process gives, throttles, correlation, duplicates and a batch that does not decode
// included, also when one of them ends in the middle.
func TestOnCluster(t *testing.T) {
	b := bustest.New(t)
	l := slices.Concat(samples(t, "n", 900), incident(t))
	l[7].Data = []byte("no batch")
	l = append(l, l[3])
	cfg := stored(t, b, l)
	after, afterSet := bundle(t, correlations, rules)
	before, beforeSet := bundle(t, changed)
	conf := backtest.Config{After: afterSet, Before: beforeSet, Nodes: []string{"n", "web-*", "db"}}
	want, wantState := outcome(t, conf, func(c backtest.Config) (*backtest.State, error) { return backtest.Run(t.Context(), live{b, cfg}, c) })
	for _, rule := range []string{"renamed", "connected", "dropped", "storm", "gyre.events_lost"} {
		if !slices.ContainsFunc(want, func(s string) bool { return strings.Contains(s, " "+rule+" ") }) {
			t.Errorf("rule %s did not fire, which proves little", rule)
		}
	}
	first, end := context.WithCancel(t.Context())
	defer end()
	done := make(chan error, 2)
	for _, ctx := range []context.Context{first, t.Context()} {
		go func() { done <- backtest.NewServer(b, bustest.Log()).Run(ctx) }()
	}
	taken := 0
	got, gotState := outcome(t, conf, func(c backtest.Config) (*backtest.State, error) {
		c.Checkpoint = func(*backtest.State) error { taken++; return nil }
		each := c.Each
		n := 0
		c.Each = func(v backtest.Verdict, a *alertv1.Alert) error {
			if n++; n == 100 {
				end()
			}
			return each(v, a)
		}
		return backtest.RunOn(t.Context(), &backtest.Cluster{Bus: b, After: after, Before: before, Range: cfg, Parallel: 3}, c)
	})
	if err := <-done; err != nil {
		t.Error(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%d alerts, want %d (-one process +cluster)\n%.2000s", len(got), len(want), d)
	}
	if d := cmp.Diff(wantState, gotState); d != "" {
		t.Errorf("state (-one process +cluster)\n%.2000s", d)
	}
	if taken == 0 {
		t.Error("no state was handed out")
	}
}

// TestOnClusterExamples: without a wish for all alerts the counts and the examples are the same too.
func TestOnClusterExamples(t *testing.T) {
	b := bustest.New(t)
	cfg := stored(t, b, samples(t, "n", 300))
	after, set := bundle(t, rules)
	conf := backtest.Config{After: set}
	want := replay(t, live{b, cfg}, conf)
	go func() { _ = backtest.NewServer(b, bustest.Log()).Run(t.Context()) }()
	got, err := backtest.RunOn(t.Context(), &backtest.Cluster{Bus: b, After: after, Range: cfg, Parallel: 4}, conf)
	if err != nil {
		t.Fatal(err)
	}
	got.Took = 0
	if d := cmp.Diff(text(t, want), text(t, got)); d != "" {
		t.Errorf("(-one process +cluster)\n%.2000s", d)
	}
}

func TestOnClusterWithoutEvaluators(t *testing.T) {
	b := bustest.New(t)
	cfg := stored(t, b, samples(t, "n", 2))
	after, set := bundle(t, rules)
	s, err := backtest.RunOn(t.Context(), &backtest.Cluster{Bus: b, After: after, Range: cfg, Parallel: 1}, backtest.Config{After: set})
	if err == nil || !strings.Contains(err.Error(), "no evaluator answers") || s == nil || !s.Partial {
		t.Errorf("%v", err)
	}
}
