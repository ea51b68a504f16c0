package correlate

import (
	"cmp"
	"hash/fnv"
	"strings"
	"unsafe"

	"github.com/gyre-sec/gyre/schemas/alertv1"
)

// event is a signal as the engine keeps it. It is immutable but for ctx, which is dropped when no alert can be about it any more.
type event struct {
	time             int64
	seq              uint64
	node, boot, kind string
	step             int
	weight           uint64
	fields           []alertv1.Field
	exec, name, cmd  string
	pid              uint32
	hold             int64 // clock at which it must be taken
	ctx              *actor
}

// actor is what an alert says about the process of its event.
type actor struct {
	lineage   []alertv1.Process
	user      alertv1.User
	container alertv1.Container
	k8s       alertv1.K8s
}

const maxCmdline = 256

func newEvent(s *Signal, step int, hold int64) *event {
	a := &s.Alert
	p := a.Process()
	x := &event{
		time: a.Time, seq: a.Seq, node: a.Node, boot: a.BootID, kind: a.Event, step: step, weight: max(1, s.Weight), fields: a.Fields,
		exec: p.ExecID, name: p.Name, cmd: p.Cmdline, pid: p.PID, hold: hold,
		ctx: &actor{a.Lineage, a.User, a.Container, a.K8s},
	}
	if len(x.cmd) > maxCmdline {
		x.cmd = x.cmd[:maxCmdline-3] + "..."
	}
	return x
}

// settle makes x fit to be kept: without context, and without the message that its strings were cut from.
func (x *event) settle(names *interner) *event {
	y := *x
	y.ctx = nil
	y.node, y.boot, y.kind = names.of(x.node), names.of(x.boot), names.of(x.kind)
	y.exec, y.name, y.cmd = strings.Clone(x.exec), names.of(x.name), strings.Clone(x.cmd)
	y.fields = make([]alertv1.Field, len(x.fields))
	for i, f := range x.fields {
		v := f.Value
		if s, ok := v.(string); ok {
			v = strings.Clone(s)
		}
		y.fields[i] = alertv1.Field{Name: names.of(f.Name), Value: v}
	}
	return &y
}

// value is the value of a captured field, nil if it was absent.
func (x *event) value(name string) any {
	for i := range x.fields {
		if x.fields[i].Name == name {
			return x.fields[i].Value
		}
	}
	return nil
}

// before orders the events of a key: by time, then by identity; of one event the later steps come first, so that it cannot follow itself.
func (x *event) compare(y *event) int {
	return cmp.Or(cmp.Compare(x.time, y.time), cmp.Compare(x.node, y.node), cmp.Compare(x.boot, y.boot), cmp.Compare(x.seq, y.seq), cmp.Compare(y.step, x.step))
}

// same tells whether both are one event of the fleet.
func (x *event) same(y *event) bool { return x.seq == y.seq && x.node == y.node && x.boot == y.boot }

// hash names the event and step.
func (x *event) hash() uint64 {
	h := fnv.New64a()
	var n [9]byte
	for i := range 8 {
		n[i] = byte(x.seq >> (8 * i))
	}
	n[8] = byte(x.step)
	h.Write(n[:])
	h.Write([]byte(x.node))
	h.Write([]byte{0})
	h.Write([]byte(x.boot))
	return h.Sum64()
}

// size is about how many bytes x takes.
func (x *event) size() int {
	n := int(unsafe.Sizeof(*x)) + len(x.exec) + len(x.cmd) + len(x.fields)*int(unsafe.Sizeof(alertv1.Field{}))
	for i := range x.fields {
		switch v := x.fields[i].Value.(type) {
		case string:
			n += len(v) + 16
		case []string:
			n += 24
			for _, s := range v {
				n += len(s) + 16
			}
		default:
			n += 8
		}
	}
	if x.ctx != nil {
		n += int(unsafe.Sizeof(*x.ctx))
		for i := range x.ctx.lineage {
			p := &x.ctx.lineage[i]
			n += int(unsafe.Sizeof(*p)) + len(p.Cmdline) + len(p.Exe) + len(p.Cwd) + len(p.ExecID)
		}
	}
	return n
}

// interner keeps one copy of strings that repeat, such as the names of nodes. It is emptied when it is full.
type interner struct{ m map[string]string }

const maxInterned = 20_000

func (n *interner) of(s string) string {
	if s == "" {
		return ""
	}
	if have, ok := n.m[s]; ok {
		return have
	}
	if n.m == nil || len(n.m) >= maxInterned {
		n.m = map[string]string{}
	}
	s = strings.Clone(s)
	n.m[s] = s
	return s
}
