package correlate

import (
	"strconv"
	"strings"

	"github.com/gyre-sec/gyre/evaluator/rule"
	"github.com/gyre-sec/gyre/evaluator/ruleset"
	"github.com/gyre-sec/gyre/schemas/eventv1"
	"github.com/gyre-sec/gyre/schemas/field"
)

// KeyOf is the key of the event that v reads for a step; ok is false if the event lacks a field of the key.
func KeyOf(s *ruleset.Step, v *field.View) (key []string, ok bool) {
	b, e := v.Current()
	key = make([]string, 1, 1+len(s.By))
	switch s.Of.Scope {
	case rule.ScopeNode:
		key[0] = b.Node
	case rule.ScopeContainer:
		key[0] = b.Node + " " + containerOf(b, e)
	case rule.ScopeLineage:
		key[0] = lineageOf(b, e)
		if key[0] == "" {
			return nil, false
		}
	}
	key[0] = strings.Clone(key[0])
	for _, f := range s.By {
		x := f.Value(v)
		if x == nil {
			return nil, false
		}
		key = append(key, strings.ReplaceAll(valueText(x), "\x00", "\x01")) // the parts are joined by zero bytes
	}
	return key, true
}

func containerOf(b *eventv1.Batch, e *eventv1.Event) string {
	if p := b.Proc(e.Proc); p != nil {
		if c := b.Container(p.Container); c != nil {
			return b.Text(c.ID)
		}
	}
	return "host"
}

// lineageOf names the tree of processes that the event belongs to: its root is the topmost ancestor that is neither
// pid 1, nor the kernel, nor a daemon that one of them started, such as the sshd that listens or the shim of a container.
func lineageOf(b *eventv1.Batch, e *eventv1.Event) string {
	p := b.Proc(e.Proc)
	if p == nil {
		return ""
	}
	for range len(b.Procs) {
		up := b.Proc(p.Parent)
		if up == nil || up.PID <= 2 || up.PPID <= 2 {
			break
		}
		p = up
	}
	return b.Node + " " + b.BootID + " " + strconv.FormatInt(p.Start, 10) + " " + strconv.FormatUint(uint64(p.PID), 10)
}
