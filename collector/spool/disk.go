package spool

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"
	"time"
)

// DiskConfig says where a [Disk] keeps batches, and how many.
type DiskConfig struct {
	// Dir is made if it is not there; one Disk at a time may have it.
	Dir string
	// Memory and Bytes bound the data in memory and the files, in bytes.
	Memory int
	Bytes  int64
	// Sync is how long a batch may be in the kernel's cache only: 0 syncs before a batch counts as written, less leaves it to the kernel.
	Sync time.Duration
	// Keep is how long a batch stays on disk after [Disk.Done].
	Keep time.Duration
	// Backlog is how many batches from disk may be taken at once; what is in memory goes before and beside them.
	Backlog int
	// OnDrop is told what is dropped other than by a call that returns it. It is called from any goroutine.
	OnDrop func(Drop)
	Log    *slog.Logger
}

// Disk is a bounded first-in-first-out buffer in memory with a log on disk behind it.
//
// Every batch that is put is also written to the log, by a goroutine of its own: Put never waits for the disk. When
// memory is full, the oldest batch that is on disk leaves memory and is read again when its turn comes. Next gives what
// is in memory first, with one batch of the backlog after every few. When the log is full its oldest segment goes.
// While the disk cannot be written to, a Disk is as good as a [Memory].
//
// A batch that is given back with Done stays on disk for a while and is sent again if the process ends in that time. One
// that nobody has finished when the process ends, in any way, is sent by the next Disk on the directory, if it was
// written: what was not synced outlives the process, but not the machine.
type Disk struct {
	cfg         DiskConfig
	segmentSize int64
	create      func(path string) (file, error)
	lock        *os.File

	mu        sync.Mutex
	queue     queue // in memory, for Next
	unwritten queue // in memory, for the writer
	bytes     int   // of data in memory
	taken     int   // bytes in the taker's hands
	backlog   int   // batches from disk in the taker's hands
	streak    int   // batches from memory since the last one from disk
	segs      []*segment
	total     int64 // bytes of segs and aside
	aside     []asideFile
	down      bool  // the disk cannot be written to
	readError error // of the last read from disk; it is tried again by the clock
	late      bool  // batches were not written because the disk is too slow
	closed    bool
	opened    bool // between Open and Discard
	over      bool // after Discard
	count     counts
	free      [][]byte
	ready     chan struct{} // holds one token while there may be something for Next
	work      chan struct{} // the same for the writer
	stop      chan struct{}
	ended     chan struct{}

	w writer
}

// file is what the writer needs of an [os.File].
type file interface {
	Write([]byte) (int, error)
	Sync() error
	Truncate(int64) error
	Close() error
}

// liveStreak is how many batches from memory go between two of the backlog.
const liveStreak = 4

// NewDisk returns a Disk that [Disk.Open] makes ready.
func NewDisk(cfg DiskConfig) *Disk {
	return &Disk{
		cfg: cfg, segmentSize: min(max(cfg.Bytes/16, 64<<10), 16<<20), create: createFile,
		ready: make(chan struct{}, 1), work: make(chan struct{}, 1), stop: make(chan struct{}), ended: make(chan struct{}),
	}
}

func createFile(path string) (file, error) {
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Buffer returns an empty slice to encode into, reusing memory of finished items.
func (d *Disk) Buffer() []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n := len(d.free); n > 0 {
		b := d.free[n-1]
		d.free = d.free[:n-1]
		return b[:0]
	}
	return nil
}

// Put appends an item and never waits. It returns what had to be dropped for it, the zero Drop if nothing.
func (d *Disk) Put(it Item) Drop {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return dropOf(ReasonStopped, &it)
	}
	if len(it.Data) > d.cfg.Memory || frameSize(&it)-frameHeader > maxBody {
		return dropOf(ReasonTooLarge, &it)
	}
	var drop Drop
	for d.bytes+len(it.Data) > d.cfg.Memory {
		if !d.makeRoom(&drop) {
			drop.add(ReasonFull, &it)
			return drop
		}
	}
	e := &entry{Item: it, put: time.Now(), queued: true, unwritten: true, charged: true}
	d.bytes += len(it.Data)
	d.queue.push(e)
	d.unwritten.push(e)
	signal(d.ready)
	signal(d.work)
	return drop
}

// makeRoom frees memory of one batch, with the least harm. It returns false if there is none to free.
func (d *Disk) makeRoom(drop *Drop) bool {
	oldest := d.queue.front()
	if oldest != nil && oldest.onDisk() {
		d.queue.pop()
		oldest.queued = false
		oldest.seg.set(oldest.idx, stateWaiting, 0, oldest.loss())
		d.release(oldest)
		return true
	}
	for e := d.unwritten.front(); e != nil; e = d.unwritten.front() {
		if e.unwritten && e.result == stateLive {
			break
		}
		d.unwritten.pop()
		if e.unwritten { // stored already: only its stay after that is lost
			d.giveUpWriting(e)
			d.late = true
			return true
		}
	}
	if oldest == nil {
		return false
	}
	d.queue.pop()
	drop.add(ReasonFull, &oldest.Item)
	oldest.queued, oldest.result, oldest.at = false, stateFinal, seconds(time.Now())
	d.late = d.late || !d.down
	if oldest.writing { // the writer lets go of it soon
		d.bytes -= len(oldest.Data)
		oldest.charged = false
		return true
	}
	d.giveUpWriting(oldest)
	return true
}

// giveUpWriting notes that a batch will not be on disk.
func (d *Disk) giveUpWriting(e *entry) {
	if e.unwritten {
		e.unwritten = false
		d.count.skipped++
	}
	d.release(e)
}

// release frees an entry's data if nobody needs it any more.
func (d *Disk) release(e *entry) {
	if e.queued || e.taken || e.unwritten || e.Data == nil {
		return
	}
	if e.charged {
		d.bytes -= len(e.Data)
	}
	if len(d.free) < freeBuffers && cap(e.Data) > 0 {
		d.free = append(d.free, e.Data)
	}
	e.Data = nil
}

// Close ends the stream: Put drops from now on, and Next ends after what is left in memory and on disk.
func (d *Disk) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	signal(d.ready)
}

// Discard ends the Disk after [Disk.Close], when nothing is taken any more. What nobody has finished stays in the
// directory for the next one; what could not be written there is returned as dropped.
func (d *Disk) Discard() Drop {
	d.mu.Lock()
	opened := d.opened
	d.mu.Unlock()
	if !opened {
		return Drop{}
	}
	close(d.stop)
	<-d.ended
	err := d.lock.Close()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.opened, d.over = false, true
	if err != nil {
		d.cfg.Log.Warn("close spool", "file", d.cfg.Dir, "err", err)
	}
	var drop Drop
	for _, q := range []*queue{&d.queue, &d.unwritten} {
		for q.count > 0 {
			if e := q.pop(); !e.onDisk() && e.result == stateLive && !e.stored {
				drop.add(ReasonStopped, &e.Item)
				e.result = stateFinal
			}
		}
	}
	return drop
}

// Bytes is the data held in memory.
func (d *Disk) Bytes() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.bytes
}

// Len is the number of batches that Next has still to give, in memory and on disk.
func (d *Disk) Len() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.queue.count + d.waiting()
}

func (d *Disk) waiting() int {
	n := 0
	for _, s := range d.segs {
		n += s.waiting
	}
	return n
}

// dropped tells the owner about a drop; the lock must not be held.
func (d *Disk) dropped(drop Drop) {
	if drop.Batches > 0 {
		d.cfg.OnDrop(drop)
	}
}

func seconds(t time.Time) uint32 { return uint32(max(0, t.Unix())) }

var errDiskClosed = errors.New("spool was not opened")

// Next takes the oldest item in memory or, in its turn, on disk, waiting for one. The caller gives it back with
// [Disk.Done], [Disk.Refuse] or [Disk.Return]. After [Disk.Close] it returns what is left and then [ErrClosed].
func (d *Disk) Next(ctx context.Context) (Item, error) {
	for {
		if err := ctx.Err(); err != nil {
			return Item{}, err
		}
		e, read, err := d.pick()
		if err != nil {
			return Item{}, err
		}
		if read != nil {
			e = d.read(*read)
			if e == nil {
				continue
			}
		}
		if e != nil {
			it := e.Item
			it.entry = e
			return it, nil
		}
		select {
		case <-ctx.Done():
			return Item{}, ctx.Err()
		case <-d.ready:
		}
	}
}
