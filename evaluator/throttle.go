package evaluator

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/gyre-sec/gyre/evaluator/ruleset"
	"github.com/gyre-sec/gyre/schemas/field"
)

// maxThrottled bounds the keys that are remembered. Beyond it the oldest are forgotten, which can only raise alerts.
const maxThrottled = 100_000

// throttle lets one match per rule, key and window become an alert and counts the others. Its
// clock is that of the events. It knows the event that opened a window: delivered again it is
// let through again, as the first delivery may not have been stored. It is safe for concurrent
// use; evaluators do not share it.
type throttle struct {
	mu      sync.Mutex
	windows map[string]*window
	limit   int
}

type window struct {
	Node, Boot string
	Seq        uint64
	Start, End int64  // nanoseconds since the Unix epoch
	Folded     uint64 // matches of this window that became no alert
	Before     uint64 // those of the window before
}

func newThrottle(limit int) *throttle { return &throttle{windows: map[string]*window{}, limit: limit} }

// allow tells whether a match of r becomes an alert, and how many were folded before it since the last one.
func (t *throttle) allow(r *ruleset.Rule, v *field.View) (folded uint64, ok bool) {
	b, e := v.Current()
	return t.allowEvent(throttleKey(r, v), int64(r.Throttle.Window), b.Node, b.BootID, e.Seq, e.Time)
}

// allowEvent is allow for an event by its name and time; length is that of the window in nanoseconds.
func (t *throttle) allowEvent(key string, length int64, node, boot string, seq uint64, time int64) (folded uint64, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	w := t.windows[key]
	switch {
	case w == nil:
		w = &window{}
		t.makeRoom(time)
		t.windows[key] = w
	case w.Seq == seq && w.Node == node && w.Boot == boot:
		return w.Before, true
	case time < w.End && time > w.Start-(w.End-w.Start): // events of several nodes come in any order
		w.Folded++
		return 0, false
	}
	folded = w.Folded
	*w = window{strings.Clone(node), strings.Clone(boot), seq, time, time + length, 0, folded}
	return folded, true
}

// makeRoom forgets windows that are over, and if there are none the eighth that began first.
func (t *throttle) makeRoom(now int64) {
	if len(t.windows) < t.limit {
		return
	}
	for k, w := range t.windows {
		if w.End <= now {
			delete(t.windows, k)
		}
	}
	if len(t.windows) < t.limit {
		return
	}
	keys := slices.SortedFunc(maps.Keys(t.windows), func(a, b string) int { // the same ones whatever the map's order
		return cmp.Or(cmp.Compare(t.windows[a].Start, t.windows[b].Start), cmp.Compare(a, b))
	})
	for _, k := range keys[:len(keys)-t.limit+1+t.limit/8] {
		delete(t.windows, k)
	}
}

// throttleKey names the rule and the values of its key; it shares no memory with the batch.
func throttleKey(r *ruleset.Rule, v *field.View) string {
	k := []byte(r.ID)
	for _, f := range r.ThrottleKey {
		k = fmt.Appendf(k, "\x00%q", f.Value(v))
	}
	return string(k)
}
