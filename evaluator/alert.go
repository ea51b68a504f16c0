package evaluator

import (
	"fmt"
	"strings"

	"github.com/gyre-sec/gyre/evaluator/ruleset"
	"github.com/gyre-sec/gyre/schemas/alertv1"
	"github.com/gyre-sec/gyre/schemas/eventv1"
	"github.com/gyre-sec/gyre/schemas/field"
)

// Bounds of an alert, which keep it far below the largest message that NATS takes.
const (
	maxLineage = 32
	maxText    = 4 << 10
	maxOutput  = 16 << 10
	maxItems   = 64
)

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
		Output: cut(string(r.Output.Append(out[:0], v)), maxOutput), Tags: r.Tags, MITRE: r.MITRE, Ruleset: digest,
		Fields: make([]alertv1.Field, len(r.Attach)), User: alertv1.User{UID: eventv1.NoUID, LoginUID: eventv1.NoUID},
	}
	for i, f := range r.Attach {
		a.Fields[i] = alertv1.Field{Name: f.Name, Value: bounded(f.Value(v))}
	}
	describeActor(&a, b, e.Proc)
	return a
}

// describeActor sets what an alert says about the process in row, its user, container and pod.
func describeActor(a *alertv1.Alert, b *eventv1.Batch, row int32) {
	p := b.Proc(row)
	if p == nil {
		return
	}
	a.Lineage = lineage(b, row)
	a.User = alertv1.User{UID: p.UID, Name: userName(b, p.User), LoginUID: p.LoginUID, LoginName: userName(b, p.LoginUser)}
	if c := b.Container(p.Container); c != nil {
		a.Container = alertv1.Container{ID: b.Text(c.ID), Name: b.Text(c.Name), Image: b.Text(c.Image)}
		a.K8s = alertv1.K8s{Namespace: b.Text(c.PodNamespace), Pod: b.Text(c.PodName)}
	}
}

func lineage(b *eventv1.Batch, row int32) []alertv1.Process {
	var list []alertv1.Process
	for p := b.Proc(row); p != nil && len(list) < maxLineage; p = b.Proc(row) {
		list = append(list, alertv1.Process{
			ExecID: b.ExecID(p), PID: p.PID, Name: b.Text(p.Comm), Exe: b.Text(p.Exe), Cmdline: cut(b.Cmdline(row), maxText),
			Cwd: b.Text(p.Cwd), UID: p.UID, User: userName(b, p.User), Start: b.BootTime + p.Start,
		})
		row = p.Parent
	}
	return list
}

func userName(b *eventv1.Batch, row int32) string {
	if u := b.User(row); u != nil {
		return b.Text(u.Name)
	}
	return ""
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

func bounded(v any) any {
	switch x := v.(type) {
	case string:
		return cut(x, maxText)
	case []string:
		if len(x) > maxItems {
			x = x[:maxItems]
		}
		out := make([]string, len(x))
		for i, s := range x {
			out[i] = cut(s, maxText/4)
		}
		return out
	default:
		return v
	}
}

func cut(s string, n int) string {
	if len(s) > n {
		return s[:n-3] + "..."
	}
	return s
}
