package backtest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/evaluator/backtest"
	"github.com/gyre-sec/gyre/schemas/alertv1"
	"github.com/gyre-sec/gyre/schemas/eventv1"
	"github.com/gyre-sec/gyre/schemas/subject"
)

// stopping is a source that ends ctx, as Ctrl-C does, behind n batches.
type stopping struct {
	list
	n    int
	stop context.CancelFunc
}

// Read implements backtest.Source.
func (s stopping) Read(ctx context.Context, fn func(bus.Packed) error) error {
	err := s.list[:s.n].Read(ctx, fn)
	s.stop()
	return err
}

// resumed is a replay that is interrupted behind n batches and goes on from its kept state, with all alerts of both.
func resumed(t testing.TB, l list, n int, cfg backtest.Config) (ids []string, end string) {
	t.Helper()
	cfg.Each = func(v backtest.Verdict, a *alertv1.Alert) error {
		ids = append(ids, v.String()+" "+a.RuleID+" "+a.ID.String())
		return nil
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	part, err := backtest.Run(ctx, stopping{l, n, cancel}, cfg)
	if err != nil || !part.Partial {
		t.Fatalf("behind %d batches: partial %v, %v", n, part.Partial, err)
	}
	cfg.State = backtest.NewState()
	if err := json.Unmarshal([]byte(text(t, part)), cfg.State); err != nil {
		t.Fatal(err)
	}
	end = text(t, replay(t, l[part.Batches:], cfg))
	return ids, end
}

// TestCorrelatedResume: a replay that is interrupted anywhere raises the same alerts of correlation rules in the end, each once.
func TestCorrelatedResume(t *testing.T) {
	l := incident(t)
	cfg := backtest.Config{After: compile(t, correlations), Workers: 2}
	whole, _, _ := correlated(t, l, cfg)
	for n := range len(l) {
		ids, _ := resumed(t, l, n, cfg)
		if len(ids) != len(whole) {
			t.Errorf("behind %d batches: %d alerts, want %d: %s", n, len(ids), len(whole), ids)
		}
	}
}

// TestCorrelatedDamaged: a kept state that makes no sense is an error.
func TestCorrelatedDamaged(t *testing.T) {
	l := incident(t)
	for _, tc := range []struct{ state, want string }{
		{`{"held":[{"side":2}]}`, "side 2"},
		{`{"held":[{"side":1,"data":"AA=="}]}`, "read what was kept"},
		{`{"kept":["","AAAA"]}`, "restore the windows"},
	} {
		cfg := backtest.Config{After: compile(t, correlations), State: backtest.NewState()}
		if err := json.Unmarshal([]byte(`{"correlated":`+tc.state+`}`), cfg.State); err != nil {
			t.Fatal(err)
		}
		if _, err := backtest.Run(t.Context(), l, cfg); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.state, err, tc.want)
		}
	}
	cfg := backtest.Config{After: compile(t, correlations), State: backtest.NewState()}
	cfg.State.Correlated = nil // of a program that knew nothing of it
	if _, byRule, _ := correlated(t, l, cfg); len(byRule) != 6 {
		t.Errorf("%v", byRule)
	}
}

// flood is n batches of 500 opens each of three nodes that take turns, a second apart.
func flood(n int) list {
	var l list
	b := eventv1.NewBuilder()
	for i := range n {
		node := fmt.Sprint("n", i%3)
		at := began.Add(time.Duration(i) * time.Second)
		b.Reset(eventv1.Header{Node: node, BootID: "boot", Source: "syscall"})
		row := b.AddProc(eventv1.Proc{PID: 7, Parent: -1, Container: -1, User: -1, LoginUser: -1, Comm: b.InternString("scan"), Start: 7})
		for j := range 500 {
			b.Add(&eventv1.Event{Kind: eventv1.Openat, Seq: uint64(1 + 500*i + j), Time: at.UnixNano() + int64(j)*1000, Proc: row, Ret: 3, Args: [16]int64{3, -100, int64(b.InternString(fmt.Sprint("/", j%7)))}})
		}
		l = append(l, bus.Packed{Subject: subject.Enriched("syscall", node), Codec: bus.None, Data: append([]byte(nil), b.Encode()...), Seq: uint64(i + 1), Time: at})
	}
	return l
}

const floods = `rules:
  - id: many
    name: Many
    kind: threshold
    within: 10s
    count: 700
    condition: evt.type == "openat" && proc.name == "scan"
    output: "%count"
    priority: notice
`

// TestCorrelatedMany: of more signals than are sorted at once the alerts are the same on one worker, on four, and in two parts.
func TestCorrelatedMany(t *testing.T) {
	l := flood(120)
	cfg := backtest.Config{After: compile(t, floods), Workers: 1}
	var one, four []string
	each := func(to *[]string) func(backtest.Verdict, *alertv1.Alert) error {
		return func(v backtest.Verdict, a *alertv1.Alert) error {
			*to = append(*to, v.String()+" "+a.RuleID+" "+a.ID.String())
			return nil
		}
	}
	cfg.Each = each(&one)
	want := text(t, replay(t, l, cfg))
	if len(one) < 15 { // 60,000 signals: each node has 500 in 3 s, so 700 within 4 s, then it is quiet for 10 s
		t.Fatalf("%d alerts", len(one))
	}
	cfg.Workers, cfg.Each = 4, each(&four)
	if d := cmp.Diff(want, text(t, replay(t, l, cfg))); d != "" {
		t.Errorf("four workers: %.2000s", d)
	}
	if d := cmp.Diff(one, four); d != "" {
		t.Error(d)
	}
	ids, end := resumed(t, l, 77, cfg)
	if d := cmp.Diff(one, ids); d != "" {
		t.Errorf("in two parts: %s", d)
	}
	if end != want {
		t.Errorf("in two parts the state is another: %.2000s", cmp.Diff(want, end))
	}
}
