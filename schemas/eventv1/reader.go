package eventv1

import "github.com/gyre-sec/gyre/schemas/wire"

// Reader iterates over the events of a batch without allocating:
//
//	r.Reset(&batch)
//	for r.Next(&ev) {
//		...
//	}
//	if err := r.Err(); err != nil { ... }
//
// It is not safe for concurrent use.
type Reader struct {
	d     *wire.Decoder
	seq   uint64
	time  int64
	left  int
	strs  int
	procs int
}

// NewReader returns a Reader.
func NewReader() *Reader { return &Reader{d: wire.NewDecoder()} }

// Reset makes r read the events of b from the first one.
func (r *Reader) Reset(b *Batch) {
	r.d.Reset(b.Events)
	r.seq, r.time, r.left = b.FirstSeq, b.BaseTime, b.Count
	r.strs, r.procs = len(b.Strings), len(b.Procs)
}

// Next reads the next event into e. It returns false at the end, or when the bytes are malformed: see [Reader.Err].
// Events of kinds that this release does not know are returned too; their arguments are not checked.
func (r *Reader) Next(e *Event) bool {
	if r.left == 0 {
		return false
	}
	r.left--
	d := r.d
	n := d.Array("event", maxList)
	if d.Err() == nil && n < eventLen {
		d.Fail("event of %d elements, want at least %d", n, eventLen)
	}
	e.Kind = Kind(min(d.Uint(), 1<<16-1))
	r.seq += d.Uint()
	r.time += d.Int()
	e.Seq, e.Time = r.seq, r.time
	e.Proc = d.Index("process", r.procs)
	e.TID = d.Uint32()
	e.Ret = d.Int()
	e.CPU = uint16(d.Uint())
	e.Flags = EventFlag(d.Uint())
	have := min(n-eventLen, MaxArgs)
	if d.Err() != nil {
		return false
	}
	for i := range have {
		e.Args[i] = d.Int()
	}
	e.NArgs = uint8(have)
	clear(e.Args[have:])
	d.Skip(n - eventLen - have)
	r.check(e)
	return d.Err() == nil
}

// check makes sure that arguments which are indexes are inside their tables.
func (r *Reader) check(e *Event) {
	if !e.Kind.Known() {
		return
	}
	for i := range kinds[e.Kind].Args {
		if kinds[e.Kind].Args[i].Type.IsString() && uint64(e.Args[i]) >= uint64(r.strs) {
			r.d.Fail("argument %d of %s: string index %d is outside of a table of %d", i, e.Kind, e.Args[i], r.strs)
			return
		}
	}
	if e.Kind.IsClone() && (e.Args[CloneChildProc] < -1 || e.Args[CloneChildProc] >= int64(r.procs)) {
		r.d.Fail("child row %d is outside of a table of %d", e.Args[CloneChildProc], r.procs)
	}
}

// Err returns why Next stopped, nil at the end of the batch. Errors wrap [wire.ErrMalformed].
func (r *Reader) Err() error { return r.d.Err() }
