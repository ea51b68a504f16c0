package correlate

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gyre-sec/gyre/evaluator/rule"
	"github.com/gyre-sec/gyre/evaluator/ruleset"
	"github.com/gyre-sec/gyre/schemas/alertv1"
)

const testRules = `rules:
  - {id: three, name: Three, kind: threshold, scope: fleet, by: [proc.name], within: 10s, count: 3, condition: evt.type == "openat", output: "%count", priority: notice}
  - {id: values, name: Values, kind: distinct, scope: fleet, by: [proc.name], within: 10s, count: 3, distinct: fd.name, condition: evt.type == "openat", output: "%values", priority: notice}
  - {id: many, name: Many, kind: distinct, scope: fleet, by: [proc.name], within: 80s, count: 2000, distinct: fd.name, condition: evt.type == "openat", output: "%count", priority: notice}
  - {id: fast, name: Fast, kind: rate, scope: fleet, by: [proc.name], within: 10s, count: 4, condition: evt.type == "openat", output: "%count", priority: notice}
  - {id: faster, name: Faster, kind: rate, scope: fleet, by: [proc.name], within: 10s, count: 4, baseline: 30s, factor: 3, condition: evt.type == "openat", output: "%count", priority: notice}
  - {id: new, name: New, kind: first_seen, scope: fleet, by: [proc.name], within: 1h, condition: evt.type == "openat", output: "%key", priority: notice}
  - id: pair
    name: Pair
    kind: sequence
    scope: fleet
    by: [proc.name]
    within: 10s
    steps:
      - {name: a, condition: evt.type == "openat"}
      - {name: b, condition: evt.type == "connect" && fd.name == a.fd.name}
    output: "%a.fd.name %fd.name"
    priority: notice
  - id: chain
    name: Chain
    kind: sequence
    scope: fleet
    by: [proc.name]
    within: 10s
    steps:
      - {name: a, condition: evt.type == "openat", count: 2}
      - {name: b, condition: evt.type == "connect"}
      - {name: c, condition: evt.type == "execve"}
    until: evt.type == "procexit"
    output: "%proc.name"
    priority: notice
  - id: lonely
    name: Lonely
    kind: absence
    scope: fleet
    by: [proc.name]
    within: 10s
    steps:
      - {name: a, condition: evt.type == "openat"}
      - {name: b, condition: evt.type == "connect"}
    output: "%proc.name"
    priority: notice
`

func testSet(t testing.TB, text string) *ruleset.Set {
	t.Helper()
	f, err := rule.Parse("t", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	set, err := ruleset.Compile([]rule.File{f}, ruleset.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func testLimits() Limits {
	return Limits{OutOfOrder: 2 * time.Second, KeysPerRule: 1000, Keys: 10_000, Bytes: 64 << 20, EventsPerKey: 1000}
}

const epoch = int64(1_780_000_000) * int64(time.Second)

// sig is a signal of a rule's step: at seconds since the epoch, seq names the event.
func sig(rule, step, key string, at float64, seq uint64, value string) *Signal {
	return &Signal{Step: step, Weight: 1, Key: []string{"", key}, Alert: alertv1.Alert{
		RuleID: rule, Time: epoch + int64(at*1e9), Node: "n" + fmt.Sprint(seq%3), BootID: "b", Seq: seq, Event: "openat",
		Fields: []alertv1.Field{{Name: "fd.name", Value: value}, {Name: "proc.name", Value: key}}, Lineage: []alertv1.Process{{PID: 7, Name: key, ExecID: "x"}},
	}}
}

// play gives an engine signals that are stored when their events happen, and returns the events of each alert as numbers.
func play(t *testing.T, list ...*Signal) []string {
	t.Helper()
	b := NewBudget(testLimits())
	e := NewEngine(b)
	e.SetRules(testSet(t, testRules), epoch)
	var out []string
	emit := func(a *alertv1.Alert) { out = append(out, contents(a)) }
	for _, s := range list {
		e.Add(s, s.Alert.Time, emit)
	}
	e.Finish(emit)
	if keys, bytes := b.Held(); keys != 0 || bytes != 0 {
		t.Errorf("%d keys and %d bytes are left at the end", keys, bytes)
	}
	return out
}

func contents(a *alertv1.Alert) string {
	var n []string
	for _, x := range a.Events {
		n = append(n, fmt.Sprint(x.Step[:1], x.Seq))
	}
	return a.RuleID + ":" + strings.Join(n, " ") + ":" + a.Output
}

func TestKinds(t *testing.T) {
	run := func(name string, want []string, list ...*Signal) {
		t.Helper()
		if d := cmp.Diff(want, play(t, list...)); d != "" {
			t.Errorf("%s (-want +got)\n%s", name, d)
		}
	}
	th := func(at float64, seq uint64) *Signal { return sig("three", "event", "k", at, seq, "v") }
	run("threshold", []string{"three:e1 e2 e3:3"}, th(0, 1), th(5, 2), th(9.9, 3), th(10, 4))
	run("threshold, window over", nil, th(0, 1), th(5, 2), th(10, 3))
	run("threshold, out of order and twice", []string{"three:e1 e2 e3:3"}, th(2, 2), th(1, 1), th(2, 2), th(3, 3))
	run("threshold, again after the quiet time", []string{"three:e1 e2 e3:3", "three:e5 e6 e7:3"}, th(0, 1), th(1, 2), th(2, 3), th(3, 4), th(12, 5), th(13, 6), th(14, 7))
	run("threshold, another key", nil, th(0, 1), th(1, 2), sig("three", "event", "other", 2, 3, "v"))
	val := func(at float64, seq uint64, v string) *Signal { return sig("values", "event", "k", at, seq, v) }
	run("distinct", []string{"values:e2 e3 e4:a, b, c"}, val(0, 1, "a"), val(1, 2, "a"), val(2, 3, "b"), val(3, 4, "c"))
	run("distinct, one value again", nil, val(0, 1, "a"), val(1, 2, "b"), val(2, 3, "b"), val(3, 4, "a"))
	fast := func(at float64, seq uint64, weight uint64) *Signal {
		s := sig("fast", "event", "k", at, seq, "v")
		s.Weight = weight
		return s
	}
	run("rate", []string{"fast:e1 e2:5"}, fast(0, 1, 3), fast(9, 2, 2), fast(9.5, 3, 9))
	run("rate over two windows", nil, fast(8, 1, 3), fast(12, 2, 3))
	faster := func(at float64, seq uint64) *Signal { return sig("faster", "event", "k", at, seq, "v") }
	var usual []*Signal
	for i := range uint64(9) {
		usual = append(usual, faster(float64(i)*10/3, i+1))
	}
	for i := range uint64(9) {
		usual = append(usual, faster(30+float64(i)/10, i+10))
	}
	run("rate above the usual", []string{"faster:e10 e11 e12 e13 e14 e15 e16 e18:9"}, usual...)
	run("rate without a whole baseline", nil, usual[6:]...)
	n := func(at float64, seq uint64, key string) *Signal { return sig("new", "event", key, at, seq, "v") }
	run("first seen", []string{"new:e1:proc.name=x", "new:e3:proc.name=y", "new:e4:proc.name=x"}, n(0, 1, "x"), n(1, 2, "x"), n(2, 3, "y"), n(3700, 4, "x"))
	a := func(at float64, seq uint64, v string) *Signal { return sig("pair", "a", "k", at, seq, v) }
	b := func(at float64, seq uint64, v string) *Signal { return sig("pair", "b", "k", at, seq, v) }
	run("sequence", []string{"pair:a1 b3:f f"}, a(0, 1, "f"), a(1, 2, "g"), b(2, 3, "f"))
	run("sequence, the nearest", []string{"pair:a2 b3:f f"}, a(0, 1, "f"), a(1, 2, "f"), b(2, 3, "f"), b(3, 4, "f"))
	run("sequence, wrong order", nil, b(0, 1, "f"), a(1, 2, "f"))
	run("sequence, too late", nil, a(0, 1, "f"), b(10, 2, "f"))
	run("sequence, not the same event", nil, a(1, 1, "f"), b(1, 1, "f"))
	ch := func(step string, at float64, seq uint64) *Signal { return sig("chain", step, "k", at, seq, "v") }
	run("three steps", []string{"chain:a1 a2 b3 c4:k"}, ch("a", 0, 1), ch("a", 1, 2), ch("b", 2, 3), ch("c", 3, 4))
	run("three steps, one a", nil, ch("a", 0, 1), ch("b", 2, 3), ch("c", 3, 4))
	run("until", nil, ch("a", 0, 1), ch("a", 1, 2), ch("b", 2, 3), ch("until", 2.5, 9), ch("c", 3, 4))
	l := func(step string, at float64, seq uint64) *Signal { return sig("lonely", step, "k", at, seq, "v") }
	run("absence", []string{"lonely:a1:k"}, l("a", 0, 1))
	run("absence, it came", nil, l("a", 0, 1), l("b", 10, 2))
	run("absence, it came too late", []string{"lonely:a1:k"}, l("a", 0, 1), l("b", 10.1, 2))
}

// TestEstimate: more than a thousand values are counted within 3 %.
func TestEstimate(t *testing.T) {
	var list []*Signal
	for i := range uint64(2200) {
		list = append(list, sig("many", "event", "k", float64(i)/100, i+1, fmt.Sprint("/f", i%2190)))
	}
	got := play(t, list...)
	if len(got) != 1 {
		t.Fatalf("%v", got)
	}
	last := got[0][strings.LastIndex(got[0], "e")+1:]
	var seq, count int
	if _, err := fmt.Sscanf(last, "%d:%d", &seq, &count); err != nil || seq < 1940 || seq > 2060 || count < 2000 {
		t.Errorf("%s", got[0])
	}
}

// naive is what the rules three and pair mean, for the events of one key in order, each once.
func naive(kind string, list []*Signal) []string {
	const within = 10 * int64(time.Second)
	var out []string
	var window []*Signal
	var quiet int64
	for _, x := range list {
		t := x.Alert.Time
		window = slices.DeleteFunc(window, func(y *Signal) bool { return y.Alert.Time <= t-within })
		switch {
		case kind == "three" && t < quiet:
		case kind == "three":
			if window = append(window, x); len(window) == 3 {
				out = append(out, fmt.Sprintf("three:e%d e%d e%d:3", window[0].Alert.Seq, window[1].Alert.Seq, window[2].Alert.Seq))
				window, quiet = nil, t+within
			}
		case x.Step == "a":
			window = append(window, x)
		default:
			v := x.Alert.Fields[0].Value
			for _, y := range slices.Backward(window) {
				if y.Alert.Fields[0].Value == v {
					out = append(out, fmt.Sprintf("pair:a%d b%d:%s %s", y.Alert.Seq, x.Alert.Seq, v, v))
					window = slices.DeleteFunc(window, func(z *Signal) bool { return z.Alert.Fields[0].Value == v })
					break
				}
			}
		}
	}
	return out
}

// TestAgainstNaive: on random events that arrive shuffled within the tolerance, some of them twice, the engine says what the
// rules mean; also if it is stored and restored in between.
func TestAgainstNaive(t *testing.T) {
	set := testSet(t, testRules)
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 1))
		kind := []string{"three", "pair"}[seed%2]
		keys := 1 + r.IntN(4)
		type arrival struct {
			s  *Signal
			at int64
		}
		var arrivals []arrival
		byKey := make([][]*Signal, keys)
		for i := range uint64(20 + r.IntN(200)) {
			k := r.IntN(keys)
			step := "event"
			if kind == "pair" {
				step = []string{"a", "b"}[r.IntN(2)]
			}
			s := sig(kind, step, fmt.Sprint("k", k), float64(r.IntN(int(100*float64(keys))))+float64(r.IntN(4))/4, i+1, fmt.Sprint("v", r.IntN(3)))
			byKey[k] = append(byKey[k], s)
			first := s.Alert.Time + r.Int64N(int64(1900*time.Millisecond))
			arrivals = append(arrivals, arrival{s, first})
			if r.IntN(2) == 0 { // again, also long after it was taken
				arrivals = append(arrivals, arrival{s, first + r.Int64N(int64(8*time.Second))})
			}
		}
		slices.SortFunc(arrivals, func(a, b arrival) int { return int(a.at - b.at) })
		var want, got []string
		for _, list := range byKey {
			slices.SortFunc(list, func(a, b *Signal) int { return newEvent(a, stepIndex(a), 0).compare(newEvent(b, stepIndex(b), 0)) })
			want = append(want, naive(kind, list)...)
		}
		emit := func(a *alertv1.Alert) { got = append(got, contents(a)) }
		b := NewBudget(testLimits())
		e := NewEngine(b)
		e.SetRules(set, epoch)
		for _, x := range arrivals {
			e.Add(x.s, x.at, emit)
			if r.IntN(20) == 0 {
				e = moved(t, e, set)
			}
		}
		e.Finish(emit)
		slices.Sort(want)
		slices.Sort(got)
		if d := cmp.Diff(want, got); d != "" {
			t.Fatalf("seed %d, %s (-naive +engine)\n%s", seed, kind, d)
		}
	}
}

func stepIndex(s *Signal) int {
	if s.Step == "b" {
		return 1
	}
	return 0
}

// moved is the engine after it went to another owner.
func moved(t *testing.T, e *Engine, set *ruleset.Set) *Engine {
	t.Helper()
	data, err := e.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	keys, _ := e.b.Held()
	e.Close()
	if n, bytes := e.b.Held(); n != 0 || bytes != 0 {
		t.Fatalf("%d keys, %d bytes after Close", n, bytes)
	}
	x := NewEngine(e.b)
	x.SetRules(set, 0)
	if err := x.Restore(data); err != nil {
		t.Fatal(err)
	}
	if n, _ := x.b.Held(); n != keys {
		t.Fatalf("%d keys restored of %d", n, keys)
	}
	again, err := x.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	if string(again) != string(data) {
		t.Fatalf("a restored state is stored otherwise")
	}
	return x
}
