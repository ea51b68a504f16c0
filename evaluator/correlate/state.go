package correlate

import (
	"container/list"
	"math"
	"slices"
	"time"

	"github.com/gyre-sec/gyre/evaluator/rule"
	"github.com/gyre-sec/gyre/evaluator/ruleset"
	"github.com/gyre-sec/gyre/schemas/alertv1"
)

const minTime = math.MinInt64

// state is what is remembered of one key. Times of events and the engine's clock are different things: wake,
// expire, deadline and hold are of the clock, the others of events.
type state struct {
	rule  *ruleset.Correlation
	key   string
	parts []string

	pending  []*event // held back, in order
	released int64    // of the newest event that was taken
	floor    int64    // events before it may have been taken and forgotten
	recent   []seen   // events that were taken, for telling duplicates
	quiet    int64    // until then what matches is folded
	folded   uint64

	events   []*event   // threshold, distinct: the window; sequence: what the first step took; in order
	partials []*partial // sequence: what has begun
	open     *event     // absence: what waits for its sequel
	deadline int64
	sketch   *sketch
	rate     rate
	last     int64 // first_seen
	known    bool  // first_seen: last is set

	wake, expire int64
	heapIndex    int
	place        *list.Element
	bytes        int
	partialBytes int // the part of bytes that partials take
}

// seen is an event that was taken.
type seen struct {
	hash uint64
	time int64
}

// maxRecent bounds what is remembered for telling duplicates; a threshold remembers what it can count.
const maxRecent = 128

// horizon is how long a key is remembered after its last signal.
func (s *state) horizon() time.Duration {
	h := s.rule.Within
	if t := s.rule.Rule.Throttle; t != nil {
		h = max(h, t.Window)
	}
	return max(h, s.rule.Baseline+s.rule.Within)
}

func (s *state) remembers(hash uint64) bool {
	return slices.ContainsFunc(s.recent, func(x seen) bool { return x.hash == hash })
}

// take notes that x was taken.
func (s *state) take(x *event) {
	limit := maxRecent
	if s.rule.Kind == rule.KindThreshold || s.rule.Kind == rule.KindDistinct && s.rule.Count <= exactValues {
		limit = max(limit, 2*s.rule.Count)
	}
	s.released = max(s.released, x.time)
	if old := s.released - int64(s.horizon()); old > s.floor {
		s.floor = old
	}
	for len(s.recent) > 0 && (s.recent[0].time < s.floor || len(s.recent) >= limit) {
		s.floor = max(s.floor, s.recent[0].time+1)
		s.recent = s.recent[1:]
	}
	i := len(s.recent)
	for i > 0 && s.recent[i-1].time > x.time {
		i--
	}
	s.recent = slices.Insert(s.recent, i, seen{x.hash(), x.time})
}

// window is a state at work.
type window struct {
	e     *Engine
	s     *state
	clock int64
	emit  func(*alertv1.Alert)
}

// release takes the first n events that are held back.
func (w *window) release(n int) {
	s := w.s
	if n == 0 {
		return
	}
	list := slices.Clone(s.pending[:n])
	s.pending = slices.Delete(s.pending, 0, n)
	if len(s.pending) == 0 {
		s.pending = nil
	}
	before := len(s.recent)
	for _, x := range list {
		w.e.account(s, -x.size())
		s.take(x)
		if x.step == ruleset.UntilIndex {
			w.until(x)
			continue
		}
		switch s.rule.Kind {
		case rule.KindThreshold:
			w.threshold(x)
		case rule.KindDistinct:
			w.distinct(x)
		case rule.KindRate:
			w.rate(x)
		case rule.KindFirstSeen:
			w.firstSeen(x)
		case rule.KindAbsence:
			w.absence(x)
		case rule.KindSequence:
			w.sequence(x)
		}
	}
	w.e.account(s, 16*(len(s.recent)-before))
	if s.rule.Kind == rule.KindSequence {
		w.weigh()
	}
}

// until ends what has begun before x.
func (w *window) until(x *event) {
	s := w.s
	for len(s.events) > 0 && s.events[0].time <= x.time {
		w.forget(0)
	}
	s.partials = slices.DeleteFunc(s.partials, func(p *partial) bool { return p.last().time <= x.time })
	if s.open != nil && s.open.time <= x.time {
		w.close()
	}
	w.dropSketch()
}

// keep puts an event among those of the window, in order.
func (w *window) keep(x *event) *event {
	s := w.s
	y := x.settle(&w.e.b.names)
	i, _ := slices.BinarySearchFunc(s.events, y, (*event).compare)
	s.events = slices.Insert(s.events, i, y)
	w.e.account(s, y.size())
	return y
}

// forget removes the i-th event of the window.
func (w *window) forget(i int) {
	s := w.s
	w.e.account(s, -s.events[i].size())
	s.events = slices.Delete(s.events, i, i+1)
	if len(s.events) == 0 {
		s.events = nil
	}
}

// prune removes the events that are not within the window that ends at t.
func (w *window) prune(t int64) {
	for len(w.s.events) > 0 && w.s.events[0].time <= t-int64(w.s.rule.Within) {
		w.forget(0)
	}
}

func (w *window) clear() {
	for len(w.s.events) > 0 {
		w.forget(len(w.s.events) - 1)
	}
}

// quietOr is for how long a key is quiet after an alert: as the rule's throttle says, else d.
func (s *state) quietOr(d time.Duration) int64 {
	if th := s.rule.Rule.Throttle; th != nil {
		d = th.Window
	}
	return int64(d)
}

// silent tells whether a match at t is folded; otherwise it begins a quiet time, if the rule has a throttle.
func (w *window) silent(t int64) bool {
	s := w.s
	if t < s.quiet {
		s.folded++
		w.e.b.Folded[s.rule.Rule.ID]++
		return true
	}
	if quiet := s.quietOr(0); quiet > 0 {
		s.quiet = t + quiet
	}
	return false
}
