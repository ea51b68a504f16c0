package spool

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// place is where a batch is on disk.
type place struct {
	seg *segment
	idx int
	rec record
}

// pick decides what Next gives: a batch that is in memory, or one to be read, or neither for now.
//
// At most half of memory is in the taker's hands, so that the other half is there for what is being made.
func (d *Disk) pick() (*entry, *place, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.opened {
		return nil, nil, errDiskClosed
	}
	disk := d.oldestOnDisk()
	if d.closed && d.queue.count == 0 && disk == nil {
		signal(d.ready)
		return nil, nil, ErrClosed
	}
	fits := func(n int) bool { return d.taken == 0 || d.taken+n <= d.cfg.Memory/2 }
	if disk != nil && (d.backlog >= max(1, d.cfg.Backlog) || d.readError != nil || !fits(int(disk.rec.size))) {
		disk = nil
	}
	if e := d.queue.front(); e != nil && (disk == nil || d.streak < liveStreak) {
		if !fits(len(e.Data)) {
			return nil, nil, nil
		}
		d.queue.pop()
		d.streak++
		e.queued, e.taken = false, true
		d.taken += len(e.Data)
		return e, nil, nil
	}
	return nil, disk, nil
}

// oldestOnDisk returns the first batch that is to be sent from disk, or nil. What is sent a second time only is left alone when
// the end is near.
func (d *Disk) oldestOnDisk() *place {
	for _, s := range d.segs {
		if i := s.find(!d.closed); i >= 0 {
			return &place{s, i, s.recs[i]}
		}
	}
	return nil
}

// read takes a batch from disk. It returns nil if that cannot be had, now or for ever.
func (d *Disk) read(p place) *entry {
	buf := d.Buffer()
	it, frame, err := readFrame(p, buf)
	d.mu.Lock()
	if p.seg.gone {
		d.mu.Unlock()
		return nil // dropped, and counted, in the meantime
	}
	if err != nil {
		drop, news := d.unreadable(p, err)
		d.mu.Unlock()
		if news {
			d.cfg.Log.Error("spool cannot be read", "file", p.seg.path, "err", fmt.Errorf("record %d: %w", p.idx, err))
		}
		d.dropped(drop)
		return nil
	}
	e := &entry{
		Item: it, put: p.seg.created, taken: true, charged: true, fromDisk: true, seg: p.seg, idx: p.idx, stored: p.seg.recs[p.idx].state == stateAgain,
	}
	copy(frame, it.Data) // to the front, so that the buffer is of use again
	e.Data = frame[:len(it.Data)]
	p.seg.set(p.idx, stateLive, 0, it.loss())
	d.bytes += len(e.Data)
	d.taken += len(e.Data)
	d.backlog++
	d.streak = 0
	drop := p.seg.settleBad()
	d.mu.Unlock()
	d.dropped(drop)
	return e
}

// readFrame reads a batch into buf, which it may replace, and returns the whole frame too.
func readFrame(p place, buf []byte) (Item, []byte, error) {
	if cap(buf) < int(p.rec.size) {
		buf = make([]byte, p.rec.size)
	}
	buf = buf[:p.rec.size]
	f, err := os.Open(p.seg.path)
	if err != nil {
		return Item{}, nil, err
	}
	defer func() { _ = f.Close() }() // read only
	if _, err = f.ReadAt(buf, int64(p.rec.off)); err != nil {
		return Item{}, nil, err
	}
	it, _, err := parseFrame(buf, p.seg.seed)
	return it, buf, err
}

// unreadable deals with a batch that could not be read, and tells whether that is new. One that is damaged or not there is lost;
// anything else may pass.
func (d *Disk) unreadable(p place, err error) (drop Drop, news bool) {
	if !errors.Is(err, errFrame) && !errors.Is(err, io.EOF) && !errors.Is(err, os.ErrNotExist) {
		news = d.readError == nil
		d.readError = err
		d.count.readErrors++
		return Drop{}, news
	}
	news = !p.seg.corrupt
	d.count.corrupt++
	return p.seg.unreadable(p.idx), news
}

// giveBack ends a batch's stay with the taker.
func (d *Disk) giveBack(e *entry) {
	e.taken = false
	d.taken -= len(e.Data)
	if e.fromDisk {
		d.backlog--
	}
	signal(d.ready)
}

// finish ends a batch's way.
func (d *Disk) finish(e *entry, st state) {
	d.giveBack(e)
	e.result, e.at = st, seconds(time.Now())
	if e.onDisk() {
		e.seg.set(e.idx, st, e.at, e.loss())
	} else if d.down && !e.writing {
		d.giveUpWriting(e)
	}
	d.release(e)
}

// Done says that an item from Next is stored. The item's data must not be used afterwards.
func (d *Disk) Done(it Item) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.finish(it.entry, stateDone)
}

// Refuse says that an item from Next can never be stored, and returns it as dropped for the reason.
func (d *Disk) Refuse(it Item, reason string) Drop {
	d.mu.Lock()
	defer d.mu.Unlock()
	stored := it.entry.stored
	d.finish(it.entry, stateFinal)
	if stored {
		return Drop{}
	}
	return dropOf(reason, &it)
}

// Return says that an item from Next was not stored because the collector stops. It is left for the next one; the Drop is not
// zero if that cannot be.
func (d *Disk) Return(it Item) Drop {
	d.mu.Lock()
	defer d.mu.Unlock()
	e := it.entry
	d.giveBack(e)
	defer d.release(e)
	switch {
	case e.onDisk() && e.stored:
		e.seg.set(e.idx, stateAgain, 0, e.loss())
	case e.onDisk():
		e.seg.set(e.idx, stateWaiting, 0, e.loss())
	case e.stored, e.unwritten: // Discard tells whether it could be written
	default:
		return dropOf(ReasonStopped, &it)
	}
	return Drop{}
}
