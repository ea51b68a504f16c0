package field

import (
	"net/netip"

	"github.com/gyre-sec/gyre/schemas/eventv1"
)

// View is one event of one batch, as the accessors of [Field] read it. It keeps
// strings that were made from several columns until the next event or batch.
// A View is not safe for concurrent use; make one per worker.
type View struct {
	b *eventv1.Batch
	e *eventv1.Event
	p *eventv1.Proc

	fd      fdInfo
	fdReady bool

	indicators Indicators
	// lists hold the values of list fields, each until it is read again.
	lists [listCount][]string
	// made are texts of numbers, such as flags: few numbers are often the same.
	made  map[number]string
	addrs map[netip.Addr]string
}

// The list fields, by where a [View] holds their values.
const (
	listEnv = iota
	listName
	listExe
	listExePath
	listCmdline
	listArgs
	listPID
	listCount
)

// number is an integer with what it means.
type number struct {
	t eventv1.ArgType
	x int64
}

// addrText is the text of an address, made once for each.
func (v *View) addrText(a netip.Addr) string {
	s, ok := v.addrs[a]
	if !ok {
		if v.addrs == nil || len(v.addrs) >= maxMade {
			v.addrs = make(map[netip.Addr]string, 64)
		}
		s = a.String()
		v.addrs[a] = s
	}
	return s
}

// maxMade bounds the texts that are kept.
const maxMade = 1024

// textOf is formatted, made once for each number.
func (v *View) textOf(t eventv1.ArgType, x int64) string {
	k := number{t, x}
	s, ok := v.made[k]
	if !ok {
		if v.made == nil || len(v.made) >= maxMade {
			v.made = make(map[number]string, 64)
		}
		s = formatted(t, x)
		v.made[k] = s
	}
	return s
}

// NewView returns a View of nothing; call [View.Batch] and [View.Event].
func NewView() *View { return &View{} }

// Batch makes v read from b; the event must be set next.
func (v *View) Batch(b *eventv1.Batch) { v.b, v.e, v.p, v.fdReady = b, nil, nil, false }

// Event makes v read e, an event of the batch.
func (v *View) Event(e *eventv1.Event) { v.e, v.p, v.fdReady = e, v.b.Proc(e.Proc), false }

// Current returns what v reads.
func (v *View) Current() (*eventv1.Batch, *eventv1.Event) { return v.b, v.e }

func (v *View) text(id eventv1.StrID) (string, bool) {
	if id == 0 {
		return "", false
	}
	return v.b.Text(id), true
}

// parent returns the row n generations up from the process (0 is itself), -1 if it is not known.
func (v *View) parent(n int) int32 {
	row := v.e.Proc
	for ; n > 0 && row >= 0; n-- {
		p := v.b.Proc(row)
		if p == nil {
			return -1
		}
		row = p.Parent
	}
	if v.b.Proc(row) == nil {
		return -1
	}
	return row
}
