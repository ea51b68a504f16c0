package evaluator

import (
	"github.com/gyre-sec/gyre/evaluator/ruleset"
	"github.com/gyre-sec/gyre/schemas/eventv1"
	"github.com/gyre-sec/gyre/schemas/field"
)

// matcher evaluates the events of decoded batches against a set. With first, of the matching rules from Falco
// files only the first one in Falco's order counts. It is not safe for concurrent use.
type matcher struct {
	engine ruleset.Engine
	view   *field.View
	first  bool
	falco  *ruleset.Rule // the first one that matched the event
	hit    func(*ruleset.Rule)
	emit   func(*ruleset.Rule)
}

// newMatcher calls hit for each rule that matches; view then reads the event.
func newMatcher(set *ruleset.Set, first bool, hit func(*ruleset.Rule)) *matcher {
	m := &matcher{engine: set.Engine(), view: field.NewView(), first: first, hit: hit}
	m.emit = m.one
	return m
}

func (m *matcher) one(r *ruleset.Rule) {
	switch {
	case r.Falco == 0 || !m.first:
		m.hit(r)
	case m.falco == nil || r.Falco < m.falco.Falco:
		m.falco = r
	}
}

func (m *matcher) batch(b *eventv1.Batch) {
	m.falco = nil
	m.engine.Batch(m.view, b)
}

func (m *matcher) event(e *eventv1.Event) {
	m.view.Event(e)
	m.engine.Eval(m.view, e, m.emit)
	if m.falco != nil {
		m.hit(m.falco)
		m.falco = nil
	}
}
