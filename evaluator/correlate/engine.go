// Package correlate puts matches of the steps of correlation rules together: sequences, thresholds, distinct counts,
// absences, first sightings and rates, per key.
//
// An [Engine] is the windows of one partition. It has no clock: [Engine.Add] and [Engine.Advance] say what time it is, by
// the times at which the stream stored signals, so two engines that are given the same do the same. A [Correlator] runs
// engines on the SIGNALS stream, shares the partitions with other correlators and hands them over without loss.
// Neither an Engine nor what it is given is safe for concurrent use.
package correlate

import (
	"container/heap"
	"container/list"
	"math"
	"slices"
	"strings"
	"time"
	"unsafe"

	"github.com/gyre-sec/gyre/evaluator/ruleset"
	"github.com/gyre-sec/gyre/schemas/alertv1"
)

// Limits bound the state of all engines that share a [Budget].
type Limits struct {
	// OutOfOrder is for how long signals of a key are held back to be taken in the order of their events' times.
	OutOfOrder time.Duration
	// KeysPerRule, Keys and Bytes bound what is remembered; beyond them the keys that were idle the longest are forgotten.
	KeysPerRule, Keys int
	Bytes             int64
	// EventsPerKey bounds the events that a key remembers beside those that a threshold counts.
	EventsPerKey int
}

// Stats count what became of signals. The maps are by rule.
type Stats struct {
	Signals, Alerts, Folded, Evicted, Overflow map[string]uint64
	// Late were taken although they came too late to be put in order, Dropped were too old for that.
	Late, Dropped, Duplicates, Unknown, Errors uint64
}

// Budget is the state that engines share: what they hold in all. The zero value is not usable; see [NewBudget].
type Budget struct {
	Limits
	Stats
	keys    int
	bytes   int64
	perRule map[string]int
	names   interner
}

// NewBudget returns a budget for engines of one goroutine.
func NewBudget(l Limits) *Budget {
	m := func() map[string]uint64 { return map[string]uint64{} }
	return &Budget{Limits: l, perRule: map[string]int{}, Stats: Stats{Signals: m(), Alerts: m(), Folded: m(), Evicted: m(), Overflow: m()}}
}

// Held is how many keys are remembered, and about how many bytes they take.
func (b *Budget) Held() (keys int, bytes int64) { return b.keys, b.bytes }

// Engine holds the windows of one partition.
type Engine struct {
	b      *Budget
	set    *ruleset.Set
	rules  map[string]*ruleset.Correlation
	since  map[string]int64 // clock when a rule came into force, by rule and digest
	states map[string]*state
	idle   map[string]*list.List // of *state by rule, the longest untouched first
	wakes  wakes
	clock  int64
	dirty  bool
}

// NewEngine returns an empty engine; call [Engine.SetRules] before the first signal.
func NewEngine(b *Budget) *Engine {
	return &Engine{b: b, states: map[string]*state{}, idle: map[string]*list.List{}, since: map[string]int64{}, rules: map[string]*ruleset.Correlation{}}
}

// SetRules puts the correlation rules of a set in force. The state of rules that are gone or mean something else now is dropped.
func (e *Engine) SetRules(set *ruleset.Set, clock int64) {
	e.set = set
	e.clock = max(e.clock, clock)
	e.rules = map[string]*ruleset.Correlation{}
	since := map[string]int64{}
	for _, c := range set.Correlations() {
		e.rules[c.Rule.ID] = c
		name := c.Rule.ID + " " + c.Digest
		if t, ok := e.since[name]; ok {
			since[name] = t
		} else {
			since[name] = e.clock
		}
	}
	e.since = since
	for _, s := range e.states {
		if c := e.rules[s.rule.Rule.ID]; c != nil && c.Digest == s.rule.Digest {
			s.rule = c
		} else {
			e.remove(s)
		}
	}
}

// Clock is the time that the engine was moved to, in nanoseconds since the Unix epoch.
func (e *Engine) Clock() int64 { return e.clock }

// Add takes a signal that the stream stored at clock. emit gets the alerts that are due.
func (e *Engine) Add(s *Signal, clock int64, emit func(*alertv1.Alert)) {
	e.Advance(clock, emit)
	e.dirty = true
	c := e.rules[s.Alert.RuleID]
	var step *ruleset.Step
	if c != nil {
		step = c.StepNamed(s.Step)
	}
	if step == nil {
		e.b.Unknown++
		return
	}
	e.b.Signals[c.Rule.ID]++
	st := e.state(c, s.Key)
	x := newEvent(s, step.Index, e.clock+int64(e.b.OutOfOrder))
	e.hold(st, x)
	if len(st.pending) > e.b.EventsPerKey { // the oldest goes ahead of its time, which can only cost order
		e.b.Overflow[c.Rule.ID]++
		w := window{e: e, s: st, clock: e.clock, emit: emit}
		w.release(1)
	}
	e.touch(st)
	e.shrink(st)
}

// Advance moves the clock. emit gets the alerts that are due.
func (e *Engine) Advance(clock int64, emit func(*alertv1.Alert)) {
	e.clock = max(e.clock, clock)
	for len(e.wakes) > 0 && e.wakes[0].wake <= e.clock {
		s := e.wakes[0]
		e.dirty = true
		e.run(s, min(e.clock, s.wake), emit)
	}
}

// Finish takes everything that is held back, as if time went on for ever: the end of a replay.
func (e *Engine) Finish(emit func(*alertv1.Alert)) {
	for len(e.wakes) > 0 {
		e.Advance(e.wakes[0].wake, emit)
	}
}

// Next is when the engine has something to do without another signal; ok is false if never.
func (e *Engine) Next() (clock int64, ok bool) {
	if len(e.wakes) == 0 {
		return 0, false
	}
	return e.wakes[0].wake, true
}

// Len is how many keys the engine remembers.
func (e *Engine) Len() int { return len(e.states) }

func joinKey(id string, parts []string) string { return id + "\x00" + strings.Join(parts, "\x00") }

func (e *Engine) state(c *ruleset.Correlation, parts []string) *state {
	key := joinKey(c.Rule.ID, parts)
	if s := e.states[key]; s != nil {
		return s
	}
	key = strings.Clone(key)
	s := &state{rule: c, key: key, heapIndex: -1, released: minTime, floor: minTime, quiet: minTime}
	s.parts = strings.Split(key, "\x00")[1:]
	if len(parts) == 0 {
		s.parts = nil
	}
	e.insert(s)
	return s
}

func (e *Engine) insert(s *state) {
	e.states[s.key] = s
	id := s.rule.Rule.ID
	l := e.idle[id]
	if l == nil {
		l = list.New()
		e.idle[id] = l
	}
	s.place = l.PushBack(s)
	e.b.keys++
	e.b.perRule[id]++
	e.account(s, int(unsafe.Sizeof(*s))+3*len(s.key)+200)
}

func (e *Engine) account(s *state, n int) {
	s.bytes += n
	e.b.bytes += int64(n)
}

func (e *Engine) remove(s *state) {
	id := s.rule.Rule.ID
	delete(e.states, s.key)
	e.idle[id].Remove(s.place)
	if s.heapIndex >= 0 {
		heap.Remove(&e.wakes, s.heapIndex)
	}
	e.b.keys--
	if e.b.perRule[id]--; e.b.perRule[id] == 0 {
		delete(e.b.perRule, id)
	}
	e.b.bytes -= int64(s.bytes)
}

// Close forgets everything, so that other engines of the budget have room.
func (e *Engine) Close() {
	for _, s := range e.states {
		e.remove(s)
	}
}

// touch makes s the key that was used last and says until when it is remembered.
func (e *Engine) touch(s *state) {
	s.expire = e.clock + int64(s.horizon()) + int64(e.b.OutOfOrder)
	e.idle[s.rule.Rule.ID].MoveToBack(s.place)
	e.schedule(s)
}

// shrink forgets keys while there are too many, but never keep.
func (e *Engine) shrink(keep *state) {
	id := keep.rule.Rule.ID
	for e.b.perRule[id] > e.b.KeysPerRule && e.evict(id, keep) {
	}
	for (e.b.keys > e.b.Keys || e.b.bytes > e.b.Bytes) && e.evict(e.largest(), keep) {
	}
}

// largest is the rule that has the most keys here.
func (e *Engine) largest() string {
	best, n := "", 0
	for id, l := range e.idle {
		if l.Len() > n || l.Len() == n && id < best {
			best, n = id, l.Len()
		}
	}
	return best
}

func (e *Engine) evict(id string, keep *state) bool {
	l := e.idle[id]
	if l == nil {
		return false
	}
	for x := l.Front(); x != nil; x = x.Next() {
		if s := x.Value.(*state); s != keep {
			e.b.Evicted[id]++
			e.remove(s)
			return true
		}
	}
	return false
}

// schedule puts s where it is due next.
func (e *Engine) schedule(s *state) {
	s.wake = s.expire
	if len(s.pending) > 0 || s.open != nil { // it is not forgotten before they are done
		s.wake = math.MaxInt64
	}
	for _, x := range s.pending {
		s.wake = min(s.wake, x.hold)
	}
	if s.open != nil {
		s.wake = min(s.wake, s.deadline)
	}
	if s.heapIndex < 0 {
		heap.Push(&e.wakes, s)
	} else {
		heap.Fix(&e.wakes, s.heapIndex)
	}
}

// run does what is due of s at clock.
func (e *Engine) run(s *state, clock int64, emit func(*alertv1.Alert)) {
	w := window{e: e, s: s, clock: clock, emit: emit}
	if s.open != nil && s.deadline <= clock {
		w.release(len(s.pending))
		if s.open != nil && s.deadline <= clock {
			w.missing()
		}
	}
	n := 0
	for i, x := range s.pending { // they are in order: what stands before one that is due is due
		if x.hold <= clock {
			n = i + 1
		}
	}
	w.release(n)
	if s.expire <= clock && len(s.pending) == 0 && s.open == nil {
		e.remove(s)
		return
	}
	e.schedule(s)
}

// hold puts an event among those that wait, unless it is known.
func (e *Engine) hold(s *state, x *event) {
	if x.time <= s.released {
		switch {
		case x.time < s.floor:
			e.b.Dropped++
			return
		case s.remembers(x.hash()):
			e.b.Duplicates++
			return
		}
		e.b.Late++
	}
	i, found := slices.BinarySearchFunc(s.pending, x, (*event).compare)
	if found {
		e.b.Duplicates++
		return
	}
	s.pending = slices.Insert(s.pending, i, x)
	e.account(s, x.size())
}

// wakes is a heap of states, the next one due first.
type wakes []*state

func (w wakes) Len() int           { return len(w) }
func (w wakes) Less(i, j int) bool { return w[i].wake < w[j].wake }
func (w wakes) Swap(i, j int) {
	w[i], w[j] = w[j], w[i]
	w[i].heapIndex, w[j].heapIndex = i, j
}

// Push implements [heap.Interface].
func (w *wakes) Push(x any) {
	s := x.(*state)
	s.heapIndex = len(*w)
	*w = append(*w, s)
}

// Pop implements [heap.Interface].
func (w *wakes) Pop() any {
	old := *w
	s := old[len(old)-1]
	*w = old[:len(old)-1]
	s.heapIndex = -1
	return s
}
