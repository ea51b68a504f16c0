package evaluator

import (
	"fmt"
	"strings"
	"sync"

	"github.com/gyre-sec/gyre/evaluator/ruleset"
	"github.com/gyre-sec/gyre/schemas/field"
)

// maxThrottled bounds the keys that are remembered. Beyond it some are forgotten, which can only raise alerts.
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
	node, boot string
	seq        uint64
	start, end int64  // nanoseconds since the Unix epoch
	folded     uint64 // matches of this window that became no alert
	before     uint64 // those of the window before
}

func newThrottle(limit int) *throttle { return &throttle{windows: map[string]*window{}, limit: limit} }

// allow tells whether a match of r becomes an alert, and how many were folded before it since the last one.
func (t *throttle) allow(r *ruleset.Rule, v *field.View) (folded uint64, ok bool) {
	b, e := v.Current()
	key := throttleKey(r, v)
	t.mu.Lock()
	defer t.mu.Unlock()
	w := t.windows[key]
	switch {
	case w == nil:
		w = &window{}
		t.makeRoom(e.Time)
		t.windows[key] = w
	case w.seq == e.Seq && w.node == b.Node && w.boot == b.BootID:
		return w.before, true
	case e.Time < w.end && e.Time > w.start-(w.end-w.start): // events of several nodes come in any order
		w.folded++
		return 0, false
	}
	folded = w.folded
	*w = window{strings.Clone(b.Node), strings.Clone(b.BootID), e.Seq, e.Time, e.Time + int64(r.Throttle.Window), 0, folded}
	return folded, true
}

// makeRoom forgets windows that are over, and if there are none any.
func (t *throttle) makeRoom(now int64) {
	if len(t.windows) < t.limit {
		return
	}
	for k, w := range t.windows {
		if w.end <= now {
			delete(t.windows, k)
		}
	}
	for k := range t.windows {
		if len(t.windows) < t.limit {
			return
		}
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
