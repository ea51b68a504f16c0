package correlate

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/gyre-sec/gyre/evaluator/ruleset"
)

// exactValues is up to which count distinct values are counted exactly.
const exactValues = 1000

// threshold: count events within the window. After an alert the key is quiet for as long.
func (w *window) threshold(x *event) {
	s := w.s
	if x.time < s.quiet {
		w.silent(x.time)
		return
	}
	newest := x.time
	if n := len(s.events); n > 0 {
		newest = max(newest, s.events[n-1].time)
	}
	w.prune(newest)
	if x.time <= newest-int64(s.rule.Within) {
		return
	}
	w.keep(x)
	if len(s.events) < s.rule.Count {
		return
	}
	w.alert(match{events: s.events, about: x, at: newest, count: uint64(len(s.events))})
	s.quiet = newest + s.quietOr(s.rule.Within)
	w.clear()
}

// distinct: count values of a field within the window.
func (w *window) distinct(x *event) {
	s := w.s
	v := x.value(s.rule.Distinct.Name)
	if v == nil {
		return
	}
	if x.time < s.quiet {
		w.silent(x.time)
		return
	}
	text := valueText(v)
	if s.rule.Count > exactValues {
		w.estimate(x, text)
		return
	}
	newest := x.time
	if n := len(s.events); n > 0 {
		newest = max(newest, s.events[n-1].time)
	}
	w.prune(newest)
	if x.time <= newest-int64(s.rule.Within) {
		return
	}
	for i, old := range s.events {
		if valueText(old.value(s.rule.Distinct.Name)) == text { // the newest event of a value counts
			if old.compare(x) > 0 {
				return
			}
			w.forget(i)
			break
		}
	}
	w.keep(x)
	if len(s.events) < s.rule.Count {
		return
	}
	w.alert(match{events: s.events, about: x, at: newest, count: uint64(len(s.events))})
	s.quiet = newest + s.quietOr(s.rule.Within)
	w.clear()
}

// firstSeen: a key that was not there for as long as the window.
func (w *window) firstSeen(x *event) {
	s := w.s
	novel := !s.known || x.time-s.last > int64(s.rule.Within)
	if novel || x.time > s.last {
		s.last = max(x.time, s.last)
		if !s.known {
			s.last = x.time
		}
		s.known = true
	}
	c := s.rule
	if novel && w.clock >= w.e.since[c.Rule.ID+" "+c.Digest]+int64(c.Learn) && !w.silent(x.time) {
		w.alert(match{events: []*event{x}, about: x, at: x.time, count: 1})
	}
}

// absence: the first step's event without the second's within the window.
func (w *window) absence(x *event) {
	s := w.s
	if x.step == 1 {
		if s.open != nil && x.time >= s.open.time && !x.same(s.open) && x.time <= s.open.time+int64(s.rule.Within) && w.holds(x, []*event{s.open}) {
			w.close()
		}
		return
	}
	if s.open != nil {
		return // the oldest waits
	}
	y := x.settle(&w.e.b.names)
	y.ctx = x.ctx
	s.open = y
	w.e.account(s, y.size())
	arrived := x.hold - int64(w.e.b.OutOfOrder)
	s.deadline = arrived + int64(s.rule.Within) + int64(w.e.b.OutOfOrder)
	s.expire = max(s.expire, s.deadline)
}

func (w *window) close() {
	w.e.account(w.s, -w.s.open.size())
	w.s.open = nil
}

// missing: the time of the sequel is over.
func (w *window) missing() {
	s := w.s
	x := s.open
	w.close()
	at := x.time + int64(s.rule.Within)
	if w.silent(at) {
		return
	}
	m := match{events: []*event{x}, about: x, at: at, count: 1}
	if every := s.rule.Steps[0].Every; every > 0 { // which event of its interval was looked at is chance
		m.window = "every/" + strconv.FormatInt(x.time/int64(every), 10)
	}
	w.alert(m)
}

// captured gives a step's condition the fields of the events before it.
type captured struct {
	self *event
	step int
	// of[i] is the event that speaks for step i.
	of []*event
}

// Value implements [ruleset.Captured].
func (c captured) Value(step int, name string) any {
	if step == c.step {
		return c.self.value(name)
	}
	if step < len(c.of) && step >= 0 && c.of[step] != nil {
		return c.of[step].value(name)
	}
	return nil
}

// holds decides the part of a step's condition that reads events of earlier steps; of[i] is that of step i. An error is no match.
func (w *window) holds(x *event, of []*event) bool {
	step := w.s.rule.Steps[x.step]
	if !step.Crosses() {
		return true
	}
	ok, err := step.Holds(captured{x, x.step, of})
	if err != nil {
		w.e.b.Errors++
	}
	return ok && err == nil
}

var _ ruleset.Captured = captured{}

func valueText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case int64:
		return strconv.FormatInt(v, 10)
	case bool:
		return strconv.FormatBool(v)
	case []string:
		return strings.Join(v, "\x1f")
	default:
		return fmt.Sprint(v)
	}
}
