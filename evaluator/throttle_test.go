package evaluator

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gyre-sec/gyre/evaluator/rule"
	"github.com/gyre-sec/gyre/evaluator/ruleset"
	"github.com/gyre-sec/gyre/schemas/alertv1"
	"github.com/gyre-sec/gyre/schemas/eventv1"
)

const throttled = `rules:
  - id: r
    name: R
    condition: evt.type == "openat"
    output: "%fd.name"
    priority: error
    throttle: {key: [fd.name], window: 10s}
`

// match is an event of a second, about a file.
type match struct {
	second int64
	file   string
}

// outcomes runs one batch and gives for each alert its number and what it says was folded.
func outcomes(t *testing.T, w *work, list []match) []string {
	t.Helper()
	b := eventv1.NewBuilder()
	b.Reset(eventv1.Header{Node: "n", BootID: "b", Source: "syscall"})
	for i, m := range list {
		e := eventv1.Event{Kind: eventv1.Openat, Seq: uint64(i + 1), Time: m.second * int64(time.Second), Proc: -1}
		e.Args[eventv1.OpenName] = int64(b.InternString(m.file))
		b.Add(&e)
	}
	var got []string
	if err := w.run(b.Encode()); err != nil {
		t.Fatal(err)
	}
	for _, o := range w.out {
		a, err := alertv1.Unmarshal(o.msg.Data)
		if err != nil {
			t.Fatal(err)
		}
		s := fmt.Sprint(a.Seq)
		for _, f := range a.Fields {
			if f.Name == FieldFolded {
				s += fmt.Sprintf(" (%v folded)", f.Value)
			}
		}
		got = append(got, s)
	}
	return got
}

// TestThrottle: one alert per key and window; the next says what was folded; a redelivery raises the same alerts.
func TestThrottle(t *testing.T) {
	f, err := rule.Parse("f", []byte(throttled))
	if err != nil {
		t.Fatal(err)
	}
	set, err := ruleset.Compile([]rule.File{f}, ruleset.Options{})
	if err != nil {
		t.Fatal(err)
	}
	th := newThrottle(100)
	w := newGeneration(set, "test", th, false, nil).pool.Get().(*work)
	list := []match{{100, "/a"}, {101, "/a"}, {102, "/b"}, {103, "/a"}, {99, "/a"}, {110, "/a"}, {111, "/b"}, {112, "/b"}, {200, "/b"}}
	want := []string{"1", "3", "6 (3 folded)", "8 (1 folded)", "9"}
	if d := cmp.Diff(want, outcomes(t, w, list)); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	if w.folded["r"] != 4 {
		t.Errorf("%d folded, want 4", w.folded["r"])
	}
	last := list[len(list)-1:]
	if again := outcomes(t, newGeneration(set, "test", th, false, nil).pool.Get().(*work), append(make([]match, 8), last...)); len(again) == 0 || again[len(again)-1] != "9" {
		t.Errorf("delivered again, the event that opened the window raises %v", again)
	}
	for i := range 300 {
		outcomes(t, w, []match{{1000, fmt.Sprint(i)}})
	}
	if n := len(th.windows); n > 100 {
		t.Errorf("%d windows are remembered", n)
	}
}
