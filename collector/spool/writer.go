package spool

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// writer is the state of the writing goroutine, which nobody else touches.
type writer struct {
	active   *segment // the last of segs, while it is written to
	file     file
	next     uint64 // number of the next segment
	buf      []byte
	states   []byte
	unsynced bool
	synced   time.Time
	logged   bool // that the disk is down
	lateLog  time.Time
	syncFail bool
}

const (
	// writeBytes is about how much is written at once.
	writeBytes = 1 << 20
	// tickEvery is how often states are written, old segments removed, and a disk that is down tried again.
	tickEvery = time.Second
	// lateQuiet is how long a slow disk must have kept up to be called fast enough.
	lateQuiet = 10 * time.Second
)

var errBound = errors.New("the batch alone is over the bound of the disk")

// run is the writing goroutine.
func (d *Disk) run() {
	defer close(d.ended)
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	var syncs <-chan time.Time
	if d.cfg.Sync > 0 && d.cfg.Sync < tickEvery {
		t := time.NewTicker(d.cfg.Sync)
		defer t.Stop()
		syncs = t.C
	}
	for {
		select {
		case <-d.work:
			if !d.w.logged { // else the clock tries again
				d.write()
			}
		case <-syncs:
			d.syncDue()
		case <-tick.C:
			d.tick()
		case <-d.stop:
			d.write()
			d.retire()
			d.writeStates(true)
			return
		}
	}
}

func (d *Disk) tick() {
	d.write()
	d.syncDue()
	d.expire()
	d.writeStates(false)
	d.mu.Lock()
	late, again := d.late, d.readError != nil
	d.late, d.readError = false, nil
	d.mu.Unlock()
	if again {
		signal(d.ready)
	}
	switch {
	case late && d.w.lateLog.IsZero():
		d.cfg.Log.Warn("spool disk is too slow, some batches are in memory only", "file", d.cfg.Dir)
		fallthrough
	case late:
		d.w.lateLog = time.Now()
	case !d.w.lateLog.IsZero() && time.Since(d.w.lateLog) >= lateQuiet:
		d.w.lateLog = time.Time{}
		d.cfg.Log.Info("spool disk keeps up again", "file", d.cfg.Dir)
	}
}

// write puts all that is unwritten on disk.
func (d *Disk) write() {
	for {
		batch := d.grab()
		if len(batch) == 0 {
			return
		}
		at, err := d.append(batch)
		d.settle(batch, at, err)
		d.report(err)
		if err != nil {
			return
		}
	}
}

// grab takes the oldest unwritten batches, at most a quarter of a segment but at least one.
func (d *Disk) grab() []*entry {
	limit := min(writeBytes, int(d.segmentSize)/4)
	d.mu.Lock()
	defer d.mu.Unlock()
	var batch []*entry
	size := 0
	for e := d.unwritten.front(); e != nil; e = d.unwritten.front() {
		if !e.unwritten {
			d.unwritten.pop()
			continue
		}
		n := frameSize(&e.Item)
		if size > 0 && size+n > limit {
			break
		}
		d.unwritten.pop()
		e.writing = true
		batch = append(batch, e)
		size += n
	}
	return batch
}

// append writes batches to the active segment and returns where the first one begins.
func (d *Disk) append(batch []*entry) (int64, error) {
	w := &d.w
	need := int64(0)
	for _, e := range batch {
		need += int64(frameSize(&e.Item))
	}
	if need+headerSize > d.cfg.Bytes {
		return 0, errBound
	}
	if w.active != nil && w.active.size+need > d.segmentSize {
		d.retire()
	}
	d.evict(need + headerSize)
	if w.active == nil {
		if err := d.newSegment(); err != nil {
			return 0, err
		}
	}
	w.buf = w.buf[:0]
	for _, e := range batch {
		w.buf = appendFrame(w.buf, &e.Item, w.active.seed)
	}
	at := w.active.size
	if _, err := w.file.Write(w.buf); err != nil {
		d.abandon()
		return 0, fmt.Errorf("write spool segment: %w", err)
	}
	w.unsynced = true
	if d.cfg.Sync == 0 {
		if err := d.sync(); err != nil {
			d.abandon()
			return 0, err
		}
	}
	return at, nil
}

// settle notes where batches are on disk, or that they are still to be written.
func (d *Disk) settle(batch []*entry, at int64, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.down = err != nil
	if err != nil {
		for _, e := range slices.Backward(batch) {

			e.writing = false
			if e.result != stateLive { // finished in the meantime
				d.giveUpWriting(e)
				continue
			}
			d.unwritten.pushFront(e)
		}
		return
	}
	s := d.w.active
	before := s.size
	for _, e := range batch {
		st := stateLive
		switch {
		case e.result.finished():
			st = e.result
		case !e.queued && !e.taken: // given back because of the end
			st = stateWaiting
		}
		n := frameSize(&e.Item)
		e.writing, e.unwritten, e.seg, e.idx = false, false, s, len(s.recs)
		s.add(int(at), n, st, e.at, e.loss())
		at += int64(n)
		d.release(e)
	}
	d.total += s.size - before
}

// report logs when the disk goes down or comes back.
func (d *Disk) report(err error) {
	if err != nil {
		d.mu.Lock()
		d.count.writeErrors++
		d.mu.Unlock()
	}
	if down := err != nil; down != d.w.logged {
		d.w.logged = down
		if down {
			d.cfg.Log.Error("spool disk cannot be written, batches are in memory only", "file", d.cfg.Dir, "err", err)
		} else {
			d.cfg.Log.Info("spool disk can be written again", "file", d.cfg.Dir)
		}
	}
}

// newSegment starts a segment.
func (d *Disk) newSegment() error {
	w := &d.w
	s := &segment{path: segmentPath(d.cfg.Dir, w.next), number: w.next, created: time.Now(), size: headerSize}
	f, err := d.create(s.path)
	if err != nil {
		return fmt.Errorf("make spool segment: %w", err)
	}
	header := appendHeader(nil, s.number, s.created)
	s.seed = headerSum(header)
	if _, err = f.Write(header); err == nil && d.cfg.Sync >= 0 {
		err = syncDir(d.cfg.Dir)
	}
	w.next++
	if err != nil {
		return errors.Join(fmt.Errorf("make spool segment: %w", err), f.Close(), os.Remove(s.path))
	}
	w.active, w.file, w.unsynced = s, f, true
	d.mu.Lock()
	d.segs = append(d.segs, s)
	d.total += s.size
	d.mu.Unlock()
	return nil
}

// abandon ends the active segment after an error, without what was written last: nobody can tell how much of that there is.
func (d *Disk) abandon() {
	w := &d.w
	if w.active == nil {
		return
	}
	_ = w.file.Truncate(w.active.size) // a torn end is cut at the next start
	_ = w.file.Close()
	w.active, w.file, w.unsynced = nil, nil, false
}

// retire ends the active segment; nothing is written to it any more.
func (d *Disk) retire() {
	w := &d.w
	if w.active == nil {
		return
	}
	if d.cfg.Sync >= 0 {
		_ = d.sync() // counted and logged there
	}
	if err := w.file.Close(); err != nil {
		d.syncFailed(fmt.Errorf("close spool segment: %w", err))
	}
	w.active, w.file, w.unsynced = nil, nil, false
}

// syncDue syncs when the interval has passed.
func (d *Disk) syncDue() {
	if slack := min(d.cfg.Sync, tickEvery) / 2; d.cfg.Sync > 0 && d.w.active != nil && time.Since(d.w.synced) >= d.cfg.Sync-slack {
		_ = d.sync() // counted and logged there
	}
}

func (d *Disk) sync() error {
	w := &d.w
	if !w.unsynced {
		return nil
	}
	w.synced = time.Now()
	if err := w.file.Sync(); err != nil {
		err = fmt.Errorf("sync spool segment: %w", err)
		d.syncFailed(err)
		return err
	}
	if w.syncFail {
		w.syncFail = false
		d.cfg.Log.Info("spool is synced again", "file", d.cfg.Dir)
	}
	w.unsynced = false
	return nil
}

func (d *Disk) syncFailed(err error) {
	d.mu.Lock()
	d.count.syncErrors++
	d.mu.Unlock()
	if !d.w.syncFail {
		d.w.syncFail = true
		d.cfg.Log.Error("spool cannot be synced, a power cut may lose batches", "file", filepath.Clean(d.cfg.Dir), "err", err)
	}
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
