package correlate

import (
	"slices"

	"github.com/gyre-sec/gyre/evaluator/ruleset"
)

// partial is a sequence that has begun: the events it took, the step that it is at and how many events that step has.
type partial struct {
	events []*event
	at     int
	have   int
}

// maxPartials bounds the sequences that a key has begun beyond their first step.
const maxPartials = 32

// maxFirst bounds the events of the first step that a key remembers, if the step takes fewer.
const maxFirst = 64

func (p *partial) last() *event { return p.events[len(p.events)-1] }

// speakers are the events that speak for the steps: the last one of each.
func (p *partial) speakers(steps int) []*event {
	of := make([]*event, steps)
	for _, x := range p.events {
		of[x.step] = x
	}
	return of
}

// sequence: the steps one after the other within the window. The event of a step goes on with the candidate that
// began last; what it completes is over, together with all that is about the same.
func (w *window) sequence(x *event) {
	s := w.s
	newest := max(x.time, s.released)
	w.prune(newest)
	s.partials = slices.DeleteFunc(s.partials, func(p *partial) bool { return p.events[0].time <= newest-int64(s.rule.Within) })
	if x.time <= newest-int64(s.rule.Within) {
		return
	}
	if x.step == 0 {
		w.first(x)
		return
	}
	p := w.candidate(x)
	if p == nil {
		return
	}
	y := x.settle(&w.e.b.names)
	p.events = append(p.events, y)
	if p.have++; p.have >= s.rule.Steps[p.at].Count {
		p.at, p.have = p.at+1, 0
	}
	if p.at < len(s.rule.Steps) {
		return
	}
	events := slices.Clone(p.events)
	w.end(p)
	if !w.silent(x.time) {
		w.alert(match{events: events, about: x, at: x.time, count: uint64(len(events))})
	}
}

func (w *window) first(x *event) {
	s := w.s
	w.keep(x)
	if limit := max(maxFirst, s.rule.Steps[0].Count); len(s.events) > limit {
		w.forget(0)
		w.e.b.Overflow[s.rule.Rule.ID]++
	}
}

// candidate finds what x goes on with, nil if nothing.
func (w *window) candidate(x *event) *partial {
	s := w.s
	for _, p := range slices.Backward(s.partials) {
		if p.at == x.step && p.last().compare(x) < 0 && !slices.ContainsFunc(p.events, x.same) && w.holds(x, p.speakers(len(s.rule.Steps))) {
			return p
		}
	}
	if x.step != 1 {
		return nil
	}
	need := s.rule.Steps[0].Count
	for i := len(s.events); i >= need; i-- {
		if last := s.events[i-1]; last.compare(x) >= 0 || last.same(x) || !w.holds(x, []*event{last}) {
			continue
		}
		p := &partial{events: slices.Clone(s.events[i-need : i]), at: 1}
		s.partials = append(s.partials, p)
		if len(s.partials) > maxPartials {
			s.partials = slices.Delete(s.partials, 0, 1)
			w.e.b.Overflow[s.rule.Rule.ID]++
		}
		return p
	}
	return nil
}

// end removes what p was about: without conditions across steps everything before its end, with them what has the same fields.
func (w *window) end(p *partial) {
	s := w.s
	last := p.last()
	if !slices.ContainsFunc(s.rule.Steps, (*ruleset.Step).Crosses) {
		for len(s.events) > 0 && s.events[0].compare(last) < 0 {
			w.forget(0)
		}
		s.partials = slices.DeleteFunc(s.partials, func(q *partial) bool { return q.events[0].compare(last) <= 0 })
		return
	}
	about := func(x *event) bool {
		return slices.ContainsFunc(p.events, func(y *event) bool { return y.step == x.step && (y.same(x) || sameFields(x, y)) }) && x.compare(last) <= 0
	}
	for i, v := range slices.Backward(s.events) {
		if about(v) {
			w.forget(i)
		}
	}
	s.partials = slices.DeleteFunc(s.partials, func(q *partial) bool { return slices.ContainsFunc(q.events, about) })
}

// weigh accounts for what the sequences that have begun take; an event in several of them counts in each.
func (w *window) weigh() {
	n := 0
	for _, p := range w.s.partials {
		for _, x := range p.events {
			n += x.size() + 16
		}
	}
	w.e.account(w.s, n-w.s.partialBytes)
	w.s.partialBytes = n
}

func sameFields(x, y *event) bool {
	if len(x.fields) == 0 || len(x.fields) != len(y.fields) {
		return false
	}
	for i := range x.fields {
		if x.fields[i].Name != y.fields[i].Name || (x.fields[i].Value == nil) != (y.fields[i].Value == nil) || valueText(x.fields[i].Value) != valueText(y.fields[i].Value) {
			return false
		}
	}
	return true
}
