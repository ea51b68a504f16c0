package ruleset

import (
	"sync/atomic"
	"time"

	"github.com/gyre-sec/gyre/schemas/eventv1"
	"github.com/gyre-sec/gyre/schemas/field"
)

// sampleEvery is how many events lie between two for which rules are timed on their own, if the options say nothing.
const sampleEvery = 1024

// stats are the counters of a set, shared by its engines.
type stats struct {
	events [eventv1.KindCount]atomic.Uint64
	rules  []ruleStats
}

type ruleStats struct {
	matched, errors  atomic.Uint64
	samples, sampled atomic.Uint64 // sampled in nanoseconds
	last             atomic.Pointer[string]
}

func newStats(rules int) *stats { return &stats{rules: make([]ruleStats, rules)} }

// RuleStats is what became of one rule since its set was made.
type RuleStats struct {
	ID string
	// Evaluated counts the events for which the rule was decided: those of its kinds.
	Evaluated, Matched, Errors uint64
	// Samples counts the events for which the rule was timed on its own, with nothing known of the event; Time is the sum.
	Samples uint64
	Time    time.Duration
	// LastError is the newest error, "" if there was none.
	LastError string
}

// Stats returns the counters of every rule, in the order of [Set.Rules]. It is safe for concurrent use.
func (s *Set) Stats() []RuleStats {
	out := make([]RuleStats, len(s.rules))
	for i, r := range s.rules {
		x := &s.stats.rules[i]
		out[i] = RuleStats{ID: r.ID, Matched: x.matched.Load(), Errors: x.errors.Load(), Samples: x.samples.Load(), Time: time.Duration(x.sampled.Load())}
		if p := x.last.Load(); p != nil {
			out[i].LastError = *p
		}
		for k := range s.byKind {
			if r.mask.has(eventv1.Kind(k)) {
				out[i].Evaluated += s.stats.events[k].Load()
			}
		}
	}
	return out
}

// Interpreted counts the rules that are evaluated by their cel-go programs.
func (s *Set) Interpreted() int {
	n := 0
	for _, r := range s.rules {
		if r.Interpreted != "" {
			n++
		}
	}
	return n
}

func (s *Set) failed(rule int, err error) {
	x := &s.stats.rules[rule]
	x.errors.Add(1)
	text := err.Error()
	x.last.Store(&text)
	if s.onError != nil {
		s.onError(s.rules[rule].ID, err)
	}
}

// Flush implements [Engine].
func (x *engine) Flush() {
	for k := range x.events {
		if n := x.events[k]; n > 0 {
			x.set.stats.events[k].Add(uint64(n))
			x.events[k] = 0
		}
	}
}

// sampleRules is how many rules are timed for one event, so that large sets cost no more.
const sampleRules = 16

// measure times some rules about the event's kind, the next ones each time.
func (x *engine) measure(v *field.View, e *eventv1.Event) {
	kind := e.Kind
	if !kind.Known() {
		kind = 0
	}
	rules := x.set.byKind[kind]
	for range min(len(rules), sampleRules) {
		x.cursor++
		i := x.set.positions[kind][x.cursor%len(rules)]
		r, st := x.set.rules[i], &x.set.stats.rules[i]
		start := time.Now()
		if r.program == nil {
			x.machine.Cost(i, e)
		} else {
			x.scope.next(v)
			_, _ = r.interpret(x.scope) // the verdict was counted before
		}
		st.sampled.Add(uint64(time.Since(start)))
		st.samples.Add(1)
	}
}
