package correlate

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gyre-sec/gyre/evaluator/rule"
	"github.com/gyre-sec/gyre/evaluator/ruleset"
	"github.com/gyre-sec/gyre/schemas/alertv1"
	"github.com/gyre-sec/gyre/schemas/eventv1"
)

// Fields that alerts of correlation rules have beside those of the rule.
const (
	FieldKind  = "correlation.kind"
	FieldKey   = "correlation.key"
	FieldCount = "correlation.count"
)

// Bounds of an alert.
const (
	maxEvents = 64
	maxOutput = 16 << 10
	maxDetail = 512
	maxValues = 32
)

// match is what became of a window.
type match struct {
	events []*event
	about  *event
	at     int64
	count  uint64
	// window names what was seen if its events do not.
	window string
}

// alert raises the alert of a match. Its id is made of the rule, the key and the events that contributed, or their window.
func (w *window) alert(m match) {
	c, s := w.s.rule, w.s
	r := c.Rule
	window := m.window
	if window == "" {
		var b strings.Builder
		for _, x := range m.events {
			if every := c.Steps[x.step].Every; every > 0 { // which event of its interval was looked at is chance
				fmt.Fprintf(&b, "every %d %d\n", x.time/int64(every), x.step)
				continue
			}
			fmt.Fprintf(&b, "%q %q %d %d\n", x.node, x.boot, x.seq, x.step)
		}
		window = b.String()
	}
	x := m.about
	of := make([]*event, len(c.Steps))
	for _, y := range m.events {
		of[y.step] = y
	}
	v := captured{x, x.step, of}
	a := &alertv1.Alert{
		ID: alertv1.KeyID(r.ID, s.key, window), Time: m.at, RuleID: r.ID, Rule: r.Name, Priority: r.Priority, Source: r.Source,
		Node: x.node, BootID: x.boot, Seq: x.seq, Event: x.kind, Tags: r.Tags, MITRE: r.MITRE, Ruleset: w.e.set.Digest(),
		Output: cut(string(c.Output.Append(nil, v, func(name string) string { return w.special(name, m) })), maxOutput),
		User:   alertv1.User{UID: eventv1.NoUID, LoginUID: eventv1.NoUID},
	}
	for _, ref := range c.Attach {
		a.Fields = append(a.Fields, alertv1.Field{Name: ref.Name, Value: v.Value(ref.Step.Index, ref.Field.Name)})
	}
	a.Fields = append(a.Fields, alertv1.Field{Name: FieldKind, Value: c.Kind}, alertv1.Field{Name: FieldKey, Value: w.keyText()}, alertv1.Field{Name: FieldCount, Value: int64(m.count)})
	if x.ctx != nil {
		a.Lineage, a.User, a.Container, a.K8s = x.ctx.lineage, x.ctx.user, x.ctx.container, x.ctx.k8s
	}
	a.Events = w.named(m.events)
	w.e.b.Alerts[r.ID]++
	w.emit(a)
}

// named lists events for an alert; of too many the first and the last ones.
func (w *window) named(events []*event) []alertv1.Event {
	if len(events) > maxEvents {
		events = slices.Concat(events[:maxEvents/2], events[len(events)-maxEvents/2:])
	}
	out := make([]alertv1.Event, len(events))
	for i, x := range events {
		name := rule.StepEvent
		if x.step >= 0 && x.step < len(w.s.rule.Steps) {
			name = w.s.rule.Steps[x.step].Name
		}
		out[i] = alertv1.Event{
			Step: name, Time: x.time, Node: x.node, BootID: x.boot, Seq: x.seq, Kind: x.kind, ExecID: x.exec, PID: x.pid, Process: x.name, Cmdline: x.cmd, Detail: x.detail(),
		}
	}
	return out
}

// detail is what the rule reads of the event.
func (x *event) detail() string {
	var parts []string
	for _, f := range x.fields {
		if f.Value != nil && f.Name != "proc.cmdline" && f.Name != "proc.name" {
			parts = append(parts, f.Name+"="+valueText(f.Value))
		}
	}
	return cut(strings.Join(parts, " "), maxDetail)
}

// special is the value of a name that an output can have beside fields.
func (w *window) special(name string, m match) string {
	var list []string
	add := func(s string) {
		if s != "" && !slices.Contains(list, s) && len(list) <= maxValues {
			list = append(list, s)
		}
	}
	switch name {
	case ruleset.TextCount:
		return fmt.Sprint(m.count)
	case ruleset.TextKey:
		return w.keyText()
	case ruleset.TextNodes:
		for _, x := range m.events {
			add(x.node)
		}
	case ruleset.TextValues:
		if d := w.s.rule.Distinct; d != nil {
			for _, x := range m.events {
				if v := x.value(d.Name); v != nil {
					add(valueText(v))
				}
			}
		}
	}
	if len(list) > maxValues {
		list[maxValues] = "..."
	}
	return strings.Join(list, ", ")
}

// keyText is the key as people read it: the scope, then the fields of the first step.
func (w *window) keyText() string {
	c, parts := w.s.rule, w.s.parts
	var out []string
	for i, p := range parts {
		switch {
		case i == 0 && c.Scope == rule.ScopeFleet:
		case i == 0:
			out = append(out, c.Scope+"="+p)
		case i-1 < len(c.Steps[0].By):
			out = append(out, c.Steps[0].By[i-1].Name+"="+p)
		}
	}
	return strings.Join(out, " ")
}

func cut(s string, n int) string {
	if len(s) > n {
		return s[:n-3] + "..."
	}
	return s
}
