// Package describe turns rows of a batch into what alerts and signals say about them, bounded so that a message stays
// far below the largest one that NATS takes. What it returns may share memory with the batch.
package describe

import (
	"github.com/gyre-sec/gyre/schemas/alertv1"
	"github.com/gyre-sec/gyre/schemas/eventv1"
)

const (
	maxLineage = 32
	maxText    = 4 << 10
	maxItems   = 64
)

// Actor sets what an alert says about the process in row, its user, container and pod.
func Actor(a *alertv1.Alert, b *eventv1.Batch, row int32) {
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
			ExecID: b.ExecID(p), PID: p.PID, Name: b.Text(p.Comm), Exe: b.Text(p.Exe), Cmdline: Cut(b.Cmdline(row), maxText),
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

// Bounded cuts a value of a field to what an alert can hold.
func Bounded(v any) any {
	switch x := v.(type) {
	case string:
		return Cut(x, maxText)
	case []string:
		if len(x) > maxItems {
			x = x[:maxItems]
		}
		out := make([]string, len(x))
		for i, s := range x {
			out[i] = Cut(s, maxText/4)
		}
		return out
	default:
		return v
	}
}

// Cut shortens s to n bytes.
func Cut(s string, n int) string {
	if len(s) > n {
		return s[:n-3] + "..."
	}
	return s
}
