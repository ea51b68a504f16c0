package route

import (
	"slices"
	"time"

	"github.com/gyre-sec/gyre/schemas/alertv1"
)

// Item is something to notify, with what the caller keeps beside the alert.
type Item[T any] struct {
	Alert *alertv1.Alert
	Value T
	// Repeats is how many of the same rule, node and group were folded before this one.
	Repeats int
}

// Grouper puts alerts together: those of a group, and those without one into batches. It has no lock.
type Grouper[T any] struct {
	max     int
	wait    time.Duration
	groups  map[string]*group[T]
	repeats map[string]*repeat
	held    int
}

type group[T any] struct {
	items []Item[T]
	due   time.Time
	// free is when the group may be notified again, and be forgotten.
	free time.Time
	// each is for a group whose alerts are notified at once up to this many, 0 for no limit.
	each int
}

type repeat struct {
	until  time.Time
	folded int
}

// maxRepeats bounds how many kinds of alert a Grouper remembers.
const maxRepeats = 50_000

// NewGrouper returns a Grouper whose batches are at most max alerts, the first of which waits for others.
func NewGrouper[T any](max int, wait time.Duration) *Grouper[T] {
	return &Grouper[T]{max: max, wait: wait, groups: map[string]*group[T]{}, repeats: map[string]*repeat{}}
}

// Held is how many alerts wait.
func (g *Grouper[T]) Held() int { return g.held }

// Add takes an alert, and tells whether it did: false means that it repeats one and was counted.
func (g *Grouper[T]) Add(a *alertv1.Alert, by *Group, v T, now time.Time) bool {
	it := Item[T]{Alert: a, Value: v}
	if by.Repeat > 0 {
		k := by.Key(a) + "\x00" + a.RuleID + "\x00" + a.Node
		if r := g.repeats[k]; r != nil && now.Before(r.until) {
			r.folded++
			return false
		} else if r != nil {
			it.Repeats = r.folded
		}
		g.forget(now)
		g.repeats[k] = &repeat{until: now.Add(by.Repeat)}
	}
	key, wait := "", g.wait
	if by.By != nil {
		key, wait = by.Key(a), by.Wait
	}
	gr := g.groups[key]
	if gr == nil {
		gr = &group[T]{each: g.max}
		g.groups[key] = gr
	}
	if len(gr.items) == 0 {
		gr.due = now.Add(wait)
		if gr.free.After(gr.due) {
			gr.due = gr.free
		}
	}
	if by.By != nil {
		gr.free = gr.due.Add(by.Interval)
	}
	gr.items = append(gr.items, it)
	g.held++
	return true
}

// forget drops what is over when there is too much.
func (g *Grouper[T]) forget(now time.Time) {
	if len(g.repeats) < maxRepeats {
		return
	}
	for k, r := range g.repeats {
		if !now.Before(r.until) {
			delete(g.repeats, k)
		}
	}
	if len(g.repeats) >= maxRepeats {
		clear(g.repeats)
	}
}

// Due returns the batches whose time has come, and when the next comes: zero if none waits. With
// all, everything is due: the caller holds as much as it may.
func (g *Grouper[T]) Due(now time.Time, all bool) (batches [][]Item[T], next time.Time) {
	for key, gr := range g.groups {
		full := key == "" && len(gr.items) >= g.max
		switch {
		case len(gr.items) == 0:
			if !gr.free.After(now) {
				delete(g.groups, key)
			}
		case all, full, !gr.due.After(now):
			for b := range slices.Chunk(gr.items, max(1, gr.each)) {
				batches = append(batches, b)
			}
			g.held -= len(gr.items)
			gr.items = nil
		case next.IsZero() || gr.due.Before(next):
			next = gr.due
		}
	}
	return batches, next
}

// Drain returns all that waits, for giving it back.
func (g *Grouper[T]) Drain() []Item[T] {
	var out []Item[T]
	for _, gr := range g.groups {
		out = append(out, gr.items...)
		gr.items = nil
	}
	g.held = 0
	return out
}
