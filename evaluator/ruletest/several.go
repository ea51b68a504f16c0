package ruletest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gyre-sec/gyre/evaluator/correlate"
	"github.com/gyre-sec/gyre/evaluator/ruleset"
	"github.com/gyre-sec/gyre/schemas/alertv1"
	"github.com/gyre-sec/gyre/schemas/eventv1"
	"github.com/gyre-sec/gyre/schemas/field"
)

// maxRepeat bounds the events of a case.
const maxRepeat = 100_000

// several runs a case of a correlation rule: each event is a batch of its own, evaluated at the time at which it happens.
func several(set *ruleset.Set, c Case) (Result, error) {
	r := Result{Case: c.Name, Rule: c.Rule, Want: c.Expect}
	list, err := timeline(c)
	if err != nil {
		return r, err
	}
	budget := correlate.NewBudget(correlate.Limits{OutOfOrder: time.Second, KeysPerRule: 1 << 20, Keys: 1 << 20, Bytes: 1 << 30, EventsPerKey: 10_000})
	windows := correlate.NewEngine(budget)
	windows.SetRules(set, caseTime)
	matches := correlate.NewMatches(correlate.NewEvery())
	engine, view, reader := set.Engine(), field.NewView(), eventv1.NewReader()
	engine.Steps(func(s *ruleset.Step) { matches.Add(s, view) })
	alerts := 0
	emit := func(a *alertv1.Alert) {
		if a.RuleID != c.Rule {
			r.Others = append(r.Others, a.RuleID)
			return
		}
		alerts++
		if r.Output == "" {
			r.Output = a.Output
		}
	}
	single := func(m *ruleset.Rule) {
		if !slices.Contains(r.Others, m.ID) {
			r.Others = append(r.Others, m.ID)
		}
	}
	for _, one := range list {
		data, err := Batch(one)
		if err != nil {
			return r, err
		}
		var b eventv1.Batch
		if err := eventv1.NewDecoder().Decode(data, &b); err != nil {
			return r, err
		}
		var e eventv1.Event
		matches.Reset()
		reader.Reset(&b)
		engine.Batch(view, &b)
		for reader.Next(&e) {
			view.Event(&e)
			engine.Eval(view, &e, single)
		}
		if err := reader.Err(); err != nil {
			return r, err
		}
		for _, m := range matches.List { // as it arrives
			data, err := m.Signal.Marshal()
			if err != nil {
				return r, err
			}
			s, err := correlate.UnmarshalSignal(data)
			if err != nil {
				return r, err
			}
			windows.Add(s, caseTime+int64(one.Event.At), emit)
		}
	}
	if c.For > 0 {
		windows.Advance(caseTime+int64(c.For), emit)
	} else {
		windows.Finish(emit)
	}
	r.Hit = alerts > 0
	want := 0
	if c.Expect == Hit {
		want = cmp.Or(c.Alerts, 1)
	}
	if r.OK = alerts == want; !r.OK && r.Hit {
		r.Output = strings.TrimSpace(fmt.Sprintf("%d alerts, want %d: %s", alerts, want, r.Output))
	}
	return r, nil
}

// timeline makes a case of each event, in the order of their times.
func timeline(c Case) ([]Case, error) {
	var out []Case
	for _, t := range c.Events {
		if t.Repeat < 0 || t.Repeat > maxRepeat || len(out) > maxRepeat {
			return nil, fmt.Errorf("more than %d events", maxRepeat)
		}
		for i := range max(1, t.Repeat) {
			e := t.Event
			e.At, e.Node = t.At+time.Duration(i)*t.Every, t.Node
			out = append(out, Case{Name: c.Name, Event: e, Process: t.Process})
		}
	}
	slices.SortStableFunc(out, func(a, b Case) int { return cmp.Compare(a.Event.At, b.Event.At) })
	for i := range out {
		out[i].Event.Seq = uint64(i + 1)
	}
	return out, nil
}
