package backtest_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/evaluator/backtest"
	"github.com/gyre-sec/gyre/schemas/alertv1"
)

// replay runs one and returns its state with what depends on the clock left out.
func replay(t testing.TB, src backtest.Source, cfg backtest.Config) *backtest.State {
	t.Helper()
	s, err := backtest.Run(t.Context(), src, cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.Took = 0
	return s
}

func text(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestMillion: a million events of 64 virtual nodes give the same alerts, in the same order and to the last byte, on one worker, on eight, and in
// two parts; so they do with a second rule set beside.
func TestMillion(t *testing.T) {
	const nodes, batches = 64, 62 // of 256 events
	src := amplified{recorded(t, samples(t, "n", batches)), nodes}
	set := compile(t, rules)
	type result struct {
		State string
		Sum   string
		N     int
	}
	run := func(workers int, before bool) result {
		h, n := sha256.New(), 0
		cfg := backtest.Config{After: set, Workers: workers, Each: func(v backtest.Verdict, a *alertv1.Alert) error {
			data, err := a.Marshal()
			h.Write(data)
			n++
			if before && v != backtest.Same {
				return fmt.Errorf("alert %s is %s", a.ID, v)
			}
			return err
		}}
		if before {
			cfg.Before = compile(t, rules)
		}
		s := replay(t, src, cfg)
		if s.Events != nodes*batches*256 || s.Events < 1_000_000 {
			t.Fatalf("%d events", s.Events)
		}
		st := text(t, s)
		if before {
			st = ""
		}
		return result{st, fmt.Sprintf("%x", h.Sum(nil)), n}
	}
	one := run(1, false)
	if one.N < 50_000 {
		t.Fatalf("%d alerts prove little", one.N)
	}
	if d := cmp.Diff(one, run(8, false)); d != "" {
		t.Errorf("eight workers (-one +eight):\n%.2000s", d)
	}
	if two := run(3, true); two.Sum != one.Sum {
		t.Errorf("beside the same rules there are other alerts: %d, want %d", two.N, one.N)
	}
}

// TestResume: a replay that is interrupted anywhere and goes on from its kept state ends as one that was not.
func TestResume(t *testing.T) {
	l := samples(t, "n", 40)
	cfg := backtest.Config{After: compile(t, changed), Before: compile(t, rules), Workers: 2}
	want := text(t, replay(t, l, cfg))
	for _, at := range []int{0, 1, 17, 40} {
		part := replay(t, l[:at], cfg)
		kept := backtest.NewState()
		if err := json.Unmarshal([]byte(text(t, part)), kept); err != nil {
			t.Fatal(err)
		}
		again := cfg
		again.State = kept
		if d := cmp.Diff(want, text(t, replay(t, l[at:], again))); d != "" {
			t.Errorf("after %d batches (-want +got):\n%.2000s", at, d)
		}
	}
}

// TestInterrupted: after Ctrl-C the state says that it is that of a part, and holds exactly the batches up to its position.
func TestInterrupted(t *testing.T) {
	l := samples(t, "n", 200)
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	cfg := backtest.Config{After: compile(t, rules), Workers: 4, Each: func(backtest.Verdict, *alertv1.Alert) error {
		if n++; n == 100 {
			cancel()
		}
		return nil
	}}
	s, err := backtest.Run(ctx, l, cfg)
	if err != nil || !s.Partial || s.Why != "interrupted" || s.Seq == 0 || s.Batches == 200 {
		t.Fatalf("%v, partial %v %q, %d batches to %d", err, s.Partial, s.Why, s.Batches, s.Seq)
	}
	want := replay(t, l[:s.Seq], backtest.Config{After: compile(t, rules)})
	s.Partial, s.Why, s.Took = false, "", 0
	if d := cmp.Diff(text(t, want), text(t, s)); d != "" {
		t.Errorf("%.2000s", d)
	}
}

// counts are those of each rule: before, after, new, vanished.
func counts(r *backtest.Report) map[string][4]uint64 {
	m := map[string][4]uint64{}
	for _, x := range r.Rules {
		m[x.ID] = [4]uint64{x.Before, x.After, x.New, x.Vanished}
	}
	return m
}

func report(t testing.TB, l backtest.Source, cfg backtest.Config) *backtest.Report {
	t.Helper()
	var before *backtest.SetInfo
	if cfg.Before != nil {
		x := backtest.Info("old", cfg.Before)
		before = &x
	}
	r, err := replay(t, l, cfg).Report(before, backtest.Info("new", cfg.After), 0)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestDiff counts by hand what the sample mix holds: of 16 events one is of each kind but openat, and the five acting rows take turns.
func TestDiff(t *testing.T) {
	l := samples(t, "n", 7)
	r := report(t, l, backtest.Config{After: compile(t, changed), Before: compile(t, rules)})
	got := counts(r)
	want := map[string][4]uint64{}
	cc1, mk := uint64(0), uint64(0)
	names := []string{"bash", "make", "cc1", "cc1", "nginx"}
	for i := range 256 {
		switch {
		case i%16 == 3 && names[i%5] == "cc1":
			cc1 += 7
		case i%16 == 4 && names[i%5] == "make":
			mk += 7
		}
	}
	want["deleted"] = [4]uint64{7 * 16, cc1, 0, 7*16 - cc1}
	want["renamed"] = [4]uint64{mk, 0, 0, mk}
	want["started"] = [4]uint64{0, 7 * 16, 7 * 16, 0}
	want["gyre.events_lost"] = [4]uint64{1, 1, 0, 0}
	// One alert for each of the four names in two seconds, which are two batches.
	want["connected"] = [4]uint64{16, 16, 0, 0}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	if r.Events != 7*256 || r.Lost != 5 || len(r.Nodes) != 1 || r.NodeCount != 1 {
		t.Errorf("%d events, %d lost, %d nodes", r.Events, r.Lost, len(r.Nodes))
	}
	for _, x := range r.Rules {
		if x.ID == "started" && (len(x.NewExamples) != 3 || x.NewExamples[0].Seq != 2) {
			t.Errorf("examples of started: %+v", x.NewExamples)
		}
	}
	// 7 batches lie within six seconds, which count as a minute.
	if d := cmp.Diff(float64(r.Alerts.After)*24*60, r.Alerts.PerDay); d != "" {
		t.Error(d)
	}
	var sum uint64
	for _, b := range r.Timeline {
		sum += b.After
	}
	if sum != r.Alerts.After {
		t.Errorf("the timeline has %d alerts of %d", sum, r.Alerts.After)
	}
}

// TestException: the rule file that the report offers silences exactly the alerts that it says.
func TestException(t *testing.T) {
	l := samples(t, "n", 7)
	r := report(t, l, backtest.Config{After: compile(t, rules)})
	for _, x := range r.Rules {
		if x.ID != "deleted" {
			continue
		}
		k := x.Noisiest[0]
		if k.Count == 0 || k.Count == x.After || len(k.Values) < 3 {
			t.Fatalf("noisiest: %+v of %d", k, x.After)
		}
		quiet := report(t, l, backtest.Config{After: compile(t, rules, k.Exception), Before: compile(t, rules)})
		if got := counts(quiet)["deleted"]; got != [4]uint64{x.After, x.After - k.Count, 0, k.Count} {
			t.Errorf("with the exception %s: %v", k.Exception, got)
		}
		return
	}
	t.Fatal("no alert")
}

// TestExceptionQuotes: whatever a file is called, the exception is a rule file that means it.
func TestExceptionQuotes(t *testing.T) {
	for _, v := range []string{`a"b`, "a\nb", `\`, "\x00\x7f", "ü\u202e", `": {}`, "${x}", "'"} {
		e := backtest.Exception("deleted", []backtest.Value{{Field: "proc.exepath", Value: v}})
		compile(t, rules, e)
	}
	if e := backtest.Exception("deleted", nil); e != "" {
		t.Errorf("an exception that holds for all: %s", e)
	}
}

func TestSelection(t *testing.T) {
	l := append(samples(t, "web-1", 2), samples(t, "db", 3)...)
	for i := range l {
		l[i].Seq = uint64(i + 1)
	}
	where, err := backtest.Condition(`proc.name == "cc1"`)
	if err != nil {
		t.Fatal(err)
	}
	set := compile(t, rules)
	for _, c := range []struct {
		name             string
		cfg              backtest.Config
		events, selected uint64
	}{
		{"all", backtest.Config{}, 5 * 256, 5 * 256},
		{"node", backtest.Config{Nodes: []string{"web-*"}}, 2 * 256, 2 * 256},
		{"nodes", backtest.Config{Nodes: []string{"web-1", "db"}}, 5 * 256, 5 * 256},
		{"where", backtest.Config{Where: where}, 5 * 256, 5 * 102},
	} {
		c.cfg.After = set
		s := replay(t, l, c.cfg)
		if s.Events != c.events || s.Selected != c.selected {
			t.Errorf("%s: %d events, %d selected, want %d, %d", c.name, s.Events, s.Selected, c.events, c.selected)
		}
	}
	if _, err := backtest.Condition(`proc.nam == "x"`); err == nil || !strings.Contains(err.Error(), "where:1:1") {
		t.Errorf("a wrong condition: %v", err)
	}
	if _, err := backtest.Run(t.Context(), l, backtest.Config{After: set, Nodes: []string{"["}}); err == nil {
		t.Error("a wrong pattern is taken")
	}
}

// TestStoredTwice: a batch that was stored again counts once; what does not decode and what is gone is counted.
func TestStoredTwice(t *testing.T) {
	l := samples(t, "n", 5)
	want := replay(t, l, backtest.Config{After: compile(t, rules)})
	again := list{l[0], l[1], l[0], l[3], l[3], l[2], {Codec: bus.S2, Data: []byte("no batch")}, l[4]}
	for i := range again {
		again[i].Seq = uint64(10 * i)
	}
	got := replay(t, again, backtest.Config{After: compile(t, rules)})
	if got.Duplicates != 2 || got.Bad != 1 || got.Missing != 7*9 || got.Events != want.Events {
		t.Errorf("%d duplicates, %d bad, %d missing, %d events", got.Duplicates, got.Bad, got.Missing, got.Events)
	}
	if d := cmp.Diff(text(t, want.Rules["deleted"].Count), text(t, got.Rules["deleted"].Count)); d != "" {
		t.Error(d)
	}
}

func TestTooMany(t *testing.T) {
	s, err := backtest.Run(t.Context(), samples(t, "n", 50), backtest.Config{After: compile(t, rules), MaxAlerts: 100})
	if !errors.Is(err, backtest.ErrTooMany) || !s.Partial || s.Batches > 10 {
		t.Errorf("%v, %+v", err, s.Batches)
	}
}

// TestRate: the bound on events per second is kept.
func TestRate(t *testing.T) {
	start := time.Now()
	replay(t, samples(t, "n", 4), backtest.Config{After: compile(t, rules), Rate: 1024, Workers: 2})
	// 1024 events are a burst at most; with a burst's worth in hand none is waited for.
	if d := time.Since(start); d > 30*time.Second {
		t.Errorf("took %s", d)
	}
	start = time.Now()
	replay(t, samples(t, "n", 8), backtest.Config{After: compile(t, rules), Rate: 1024, Workers: 2})
	if d := time.Since(start); d < 900*time.Millisecond {
		t.Errorf("2048 events at 1024 a second took %s", d)
	}
}

// TestPage: the page escapes what events say, and names nothing outside of it.
func TestPage(t *testing.T) {
	r := report(t, samples(t, "<b>node", 7), backtest.Config{After: compile(t, changed), Before: compile(t, rules)})
	r.After.Name = `"><script>`
	r.Partial, r.Why = true, "<i>"
	page, err := r.HTML()
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"<script", "<b>node", "<i>", "http://", "https://", "src=", "@import", "url("} {
		if bytes.Contains(page, []byte(bad)) {
			t.Errorf("the page has %s", bad)
		}
	}
	for _, want := range []string{"&lt;script&gt;alert(1)", "<rect class=\"after\"", "overrides:", "Partial"} {
		if !bytes.Contains(page, []byte(want)) {
			t.Errorf("the page has no %s", want)
		}
	}
	var b bytes.Buffer
	if err := r.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"PARTIAL", "112 new", "silence the first of them with", "proc.pname"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the text has no %q:\n%s", want, b.String())
		}
	}
	if data, err := r.JSON(); err != nil || !json.Valid(data) {
		t.Errorf("%v", err)
	}
}
