package eventv1

import (
	"fmt"

	"github.com/gyre-sec/gyre/schemas/wire"
)

// Selector makes smaller batches: some events of a batch with the rows that they need, all ancestors of their processes
// included. It is not safe for concurrent use.
type Selector struct {
	read   *Reader
	events *wire.Encoder
	enc    *Encoder
	out    Batch
	event  Event

	strings []bool
	// procs, containers and users are the new indexes of rows, -1 for those that are left out.
	procs, containers, users []int32
}

// NewSelector returns a Selector.
func NewSelector() *Selector {
	return &Selector{read: NewReader(), events: wire.NewEncoder(), enc: NewEncoder()}
}

// Select returns the wire form of a batch with the events of b for whose position in the batch keep is true; it is valid until the
// next call. Numbers and times of events stay what they are. Strings keep their indexes; those that nothing needs are empty.
// Lost events are not repeated. Errors wrap [wire.ErrMalformed], and tell that keep is of another length than the batch.
func (s *Selector) Select(b *Batch, keep []bool) ([]byte, error) {
	if len(keep) != b.Count {
		return nil, fmt.Errorf("select %d events of a batch of %d", len(keep), b.Count)
	}
	s.reset(b)
	s.read.Reset(b)
	for i := 0; s.read.Next(&s.event); i++ {
		if keep[i] {
			s.mark(b, &s.event)
		}
	}
	if err := s.read.Err(); err != nil {
		return nil, err
	}
	s.rows(b)
	var seq uint64
	var at int64
	s.read.Reset(b)
	for i := 0; s.read.Next(&s.event); i++ {
		if !keep[i] {
			continue
		}
		e := &s.event
		if s.out.Count == 0 {
			s.out.FirstSeq, s.out.BaseTime = e.Seq, e.Time
			seq, at = e.Seq, e.Time
		}
		e.Proc = moved(s.procs, e.Proc)
		if e.Kind.IsClone() && e.NArgs > CloneChildProc {
			e.Args[CloneChildProc] = int64(moved(s.procs, int32(e.Args[CloneChildProc])))
		}
		e.encode(s.events, int(e.NArgs), seq, at)
		seq, at = e.Seq, e.Time
		s.out.Count++
	}
	s.out.Events = s.events.Data()
	return s.enc.Encode(&s.out), nil
}

func (s *Selector) reset(b *Batch) {
	old := &s.out
	s.out = Batch{
		Node: b.Node, BootID: b.BootID, Source: b.Source, BootTime: b.BootTime, FirstSeq: b.FirstSeq, BaseTime: b.BaseTime, Labels: b.Labels,
		Strings: old.Strings[:0], Procs: old.Procs[:0], Containers: old.Containers[:0], Users: old.Users[:0], Addresses: old.Addresses[:0], Pods: old.Pods[:0],
	}
	s.events.Reset()
	s.strings = resize(s.strings, len(b.Strings))
	clear(s.strings)
	for _, l := range []struct {
		at *[]int32
		n  int
	}{{&s.procs, len(b.Procs)}, {&s.containers, len(b.Containers)}, {&s.users, len(b.Users)}} {
		*l.at = resize(*l.at, l.n)
		for i := range *l.at {
			(*l.at)[i] = -1
		}
	}
}

// mark notes what an event needs. Of kinds that this release does not know each argument may be a string.
func (s *Selector) mark(b *Batch, e *Event) {
	s.lineage(b, e.Proc)
	if e.Kind.IsClone() && e.NArgs > CloneChildProc {
		s.lineage(b, int32(e.Args[CloneChildProc]))
	}
	for i, a := range e.Args[:e.NArgs] {
		if known := e.Kind.Known(); !known || i < len(kinds[e.Kind].Args) && kinds[e.Kind].Args[i].Type.IsString() {
			if a >= 0 && a < int64(len(s.strings)) {
				s.strings[a] = true
			}
		}
	}
}

// lineage notes a process and its ancestors; it ends also where they go in a circle.
func (s *Selector) lineage(b *Batch, row int32) {
	for p := b.Proc(row); p != nil && s.procs[row] < 0; p = b.Proc(row) {
		s.procs[row] = 0
		if b.Container(p.Container) != nil {
			s.containers[p.Container] = 0
		}
		row = p.Parent
	}
}

// moved is the new index of a row, -1 if there is none.
func moved(at []int32, row int32) int32 {
	if row < 0 || int(row) >= len(at) {
		return -1
	}
	return at[row]
}
