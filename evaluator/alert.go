package evaluator

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gyre-sec/gyre/evaluator/describe"
	"github.com/gyre-sec/gyre/evaluator/ruleset"
	"github.com/gyre-sec/gyre/schemas/alertv1"
	"github.com/gyre-sec/gyre/schemas/eventv1"
	"github.com/gyre-sec/gyre/schemas/field"
)

// maxOutput bounds the output of an alert, in bytes; package describe has the other bounds.
const maxOutput = 16 << 10

// RuleEventsLost is the id of the alert that the pipeline raises about itself when a node lost events.
const RuleEventsLost = "gyre.events_lost"

// FieldFolded is the field of an alert that says how many matches its rule's throttle has folded since the alert before.
const FieldFolded = "throttle.folded"

// newAlert describes the event that v reads as a match of r. Its strings may share memory with the batch.
func newAlert(r *ruleset.Rule, digest string, v *field.View, out []byte) alertv1.Alert {
	b, e := v.Current()
	a := alertv1.Alert{
		ID: alertv1.EventID(r.ID, b.Node, b.BootID, e.Seq), Time: e.Time,
		RuleID: r.ID, Rule: r.Name, Priority: r.Priority, Source: r.Source,
		Node: b.Node, BootID: b.BootID, Seq: e.Seq, Event: e.Kind.String(),
		Output: describe.Cut(string(r.Output.Append(out[:0], v)), maxOutput), Tags: r.Tags, MITRE: r.MITRE, Ruleset: digest,
		Fields: make([]alertv1.Field, len(r.Attach)), User: alertv1.User{UID: eventv1.NoUID, LoginUID: eventv1.NoUID},
	}
	for i, f := range r.Attach {
		a.Fields[i] = alertv1.Field{Name: f.Name, Value: describe.Bounded(f.Value(v))}
	}
	describe.Actor(&a, b, e.Proc)
	if a.Container.ID != "" {
		a.Fields = withChanges(a.Fields, v)
	}
	return a
}

// fieldChanges are what changed of late in what a pod runs by: every alert of the pod has them.
const fieldChanges = "k8s.changes"

func withChanges(fields []alertv1.Field, v *field.View) []alertv1.Field {
	f, ok := field.Lookup(fieldChanges)
	if !ok || slices.ContainsFunc(fields, func(x alertv1.Field) bool { return x.Name == fieldChanges }) {
		return fields
	}
	if x := f.Value(v); x != nil {
		fields = append(fields, alertv1.Field{Name: fieldChanges, Value: describe.Bounded(x)})
	}
	return fields
}

// lostAlert reports the events that a batch says were lost.
func lostAlert(b *eventv1.Batch, digest string) alertv1.Alert {
	var total uint64
	parts := make([]string, 0, len(b.Lost))
	a := alertv1.Alert{
		ID:   alertv1.KeyID(RuleEventsLost, b.Node+"/"+b.BootID, fmt.Sprint(b.FirstSeq)),
		Time: b.BaseTime, RuleID: RuleEventsLost, Rule: "Events were lost on a node", Priority: alertv1.Warning, Source: "internal",
		Node: b.Node, BootID: b.BootID, Seq: b.FirstSeq, Tags: []string{"gyre"}, Ruleset: digest,
		User: alertv1.User{UID: eventv1.NoUID, LoginUID: eventv1.NoUID},
	}
	for _, l := range b.Lost {
		total += l.Count
		parts = append(parts, fmt.Sprintf("%d %s", l.Count, l.Kind))
		a.Fields = append(a.Fields, alertv1.Field{Name: "lost." + l.Kind.String(), Value: int64(l.Count)})
	}
	a.Output = fmt.Sprintf("%d events were lost on %s before event %d: %s", total, b.Node, b.FirstSeq, strings.Join(parts, ", "))
	return a
}
