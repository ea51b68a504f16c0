package backtest

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"github.com/gyre-sec/gyre/schemas/alertv1"
)

// compare counts the alerts of correlation rules that both sides have raised up to the same time, in the order of their times.
func (r *replay) compare(found [2][]*alertv1.Alert) error {
	ids := [2]map[alertv1.ID]bool{{}, {}}
	type one struct {
		side int
		a    *alertv1.Alert
	}
	var all []one
	for i, list := range found {
		for _, a := range list {
			if !ids[i][a.ID] {
				ids[i][a.ID] = true
				all = append(all, one{i, a})
			}
		}
	}
	slices.SortFunc(all, func(x, y one) int {
		return cmp.Or(cmp.Compare(x.a.Time, y.a.Time), cmp.Compare(x.a.RuleID, y.a.RuleID), bytes.Compare(x.a.ID[:], y.a.ID[:]), cmp.Compare(x.side, y.side))
	})
	for _, x := range all {
		a := x.a
		n := r.state.Nodes[a.Node]
		if n == nil {
			n = &nodeState{}
			r.state.Nodes[a.Node] = n
		}
		before := x.side == 0
		r.count(r.within(a.Time), n, before)
		v := New
		switch {
		case ids[1-x.side][a.ID] && before:
			continue // the other side's is counted
		case ids[1-x.side][a.ID]:
			v = Same
		case before:
			v = Vanished
		}
		rs := r.state.rule(a.RuleID, a.Rule, a.Priority)
		rs.add(v, a.Node, "")
		if err := r.show(rs, a.RuleID, v, a, before); err != nil {
			return err
		}
	}
	if limit := r.cfg.maxAlerts(); r.alerts[0] > limit || r.alerts[1] > limit {
		return fmt.Errorf("%w: over %d", ErrTooMany, limit)
	}
	return nil
}

// within is a time of an event as one at which the range was stored, which the timeline is made of.
func (r *replay) within(at int64) int64 {
	return min(max(at, r.state.From.UnixNano()), r.state.To.UnixNano())
}
