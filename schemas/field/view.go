package field

import "github.com/gyre-sec/gyre/schemas/eventv1"

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

// arg returns an integer argument if the event has it.
func (v *View) arg(i int) (int64, bool) {
	if i >= int(v.e.NArgs) {
		return 0, false
	}
	return v.e.Args[i], true
}

// argText returns a string argument if the event has it and it is not empty.
func (v *View) argText(i int) (string, bool) {
	if i >= int(v.e.NArgs) {
		return "", false
	}
	return v.text(v.e.Str(i))
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
