// Package spool holds batches between the collector, which must never wait, and
// the publisher, which waits while NATS is away.
//
// [Memory] is bounded in bytes. When a batch does not fit, the oldest ones that
// nobody has taken yet are dropped first, each counted with its reason. What was
// taken stays accounted for until [Memory.Done], [Memory.Refuse] or [Memory.Return].
//
// [Disk] is a Memory with a log of the batches in a directory behind it: what does
// not fit in memory stays there, and what was not stored when the collector ended is
// sent by the next one.
//
// A Memory is safe for concurrent use by one producer and any number of takers, a
// Disk by one producer and one taker. Neither knows what is in a batch.
package spool

import (
	"context"
	"errors"
	"sync"
)

// Reasons for a drop.
const (
	// ReasonFull: the bound was reached, this was the oldest batch.
	ReasonFull = "spool_full"
	// ReasonTooLarge: the batch alone is over the bound.
	ReasonTooLarge = "spool_item_too_large"
	// ReasonStopped: the collector stopped before the batch could be sent.
	ReasonStopped = "stopped"
	// ReasonCorrupt: the batch was on disk only and cannot be read any more.
	ReasonCorrupt = "spool_corrupt"
)

// ErrClosed is returned by Next after Close, when everything was taken.
var ErrClosed = errors.New("spool is closed")

// Item is one encoded batch.
type Item struct {
	// ID names the batch for ever: the message id that makes sending it twice harmless.
	ID string
	// Data is the encoded batch. The item owns it.
	Data []byte
	// Events is how many events the batch holds, First the number of the first one.
	Events int
	First  uint64
	// Lost is how many losses it reports, which are lost a second time if the batch is dropped.
	Lost uint64

	entry *entry // of a Disk
}

// loss is how many events are lost with a batch.
type loss struct {
	total uint64 // with the losses that it reports
	told  uint64 // these
}

func (it *Item) loss() loss { return loss{uint64(it.Events) + it.Lost, it.Lost} }

// Drop tells about items that were dropped.
type Drop struct {
	Reason  string
	Batches int
	// Events counts their events and the losses that they were to report.
	Events uint64
	// Told is the part of Events that was counted as lost before, and was to be reported.
	Told uint64
}

// Memory is a bounded first-in-first-out buffer in memory.
type Memory struct {
	mu     sync.Mutex
	items  []Item // ring
	head   int
	count  int
	queued int // bytes in items
	taken  int // bytes handed out and not done
	limit  int
	closed bool
	ready  chan struct{} // holds one token while there may be something for Next
	free   [][]byte
}

// freeBuffers is how many buffers of finished items are kept for reuse.
const freeBuffers = 8

// NewMemory returns a buffer of at most limit bytes of data.
func NewMemory(limit int) *Memory {
	return &Memory{limit: limit, ready: make(chan struct{}, 1)}
}

// Buffer returns an empty slice to encode into, reusing memory of finished items.
func (m *Memory) Buffer() []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := len(m.free); n > 0 {
		b := m.free[n-1]
		m.free = m.free[:n-1]
		return b[:0]
	}
	return nil
}

// Put appends an item and never waits. It returns what had to be dropped for it, the zero Drop if nothing.
func (m *Memory) Put(it Item) Drop {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return dropOf(ReasonStopped, &it)
	}
	if len(it.Data) > m.limit {
		return dropOf(ReasonTooLarge, &it)
	}
	var d Drop
	for m.count > 0 && m.queued+m.taken+len(it.Data) > m.limit {
		old := m.pop()
		d.add(ReasonFull, &old)
		m.recycle(old.Data)
	}
	if m.queued+m.taken+len(it.Data) > m.limit {
		// Everything that is left is on its way and cannot be dropped any more: the new one is the victim.
		d.add(ReasonFull, &it)
		return d
	}
	m.push(it)
	m.signal()
	return d
}

// Next takes the oldest item, waiting for one. The caller gives it back with [Memory.Done] when it was stored.
// After [Memory.Close] it returns what is left and then ErrClosed.
func (m *Memory) Next(ctx context.Context) (Item, error) {
	for {
		m.mu.Lock()
		if m.count > 0 {
			it := m.pop()
			m.taken += len(it.Data)
			if m.count > 0 || m.closed {
				m.signal()
			}
			m.mu.Unlock()
			return it, nil
		}
		closed := m.closed
		if closed {
			m.signal()
		}
		m.mu.Unlock()
		if closed {
			return Item{}, ErrClosed
		}
		select {
		case <-ctx.Done():
			return Item{}, ctx.Err()
		case <-m.ready:
		}
	}
}

// Refuse says that an item from Next can never be stored, and returns it as dropped for the reason.
func (m *Memory) Refuse(it Item, reason string) Drop {
	d := dropOf(reason, &it)
	m.Done(it)
	return d
}

// Return says that an item from Next was not stored because the collector stops. Memory does not outlive that: it is dropped.
func (m *Memory) Return(it Item) Drop { return m.Refuse(it, ReasonStopped) }

// Done says that an item from Next is stored: its bytes are free again. The item's data must not be used afterwards.
func (m *Memory) Done(it Item) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.taken -= len(it.Data)
	m.recycle(it.Data)
}

// Close ends the stream: Put drops from now on, and Next ends after the items that are left.
func (m *Memory) Close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	m.signal()
}

// Discard drops everything that was not taken.
func (m *Memory) Discard() Drop {
	m.mu.Lock()
	defer m.mu.Unlock()
	var d Drop
	for m.count > 0 {
		it := m.pop()
		d.add(ReasonStopped, &it)
	}
	return d
}

// Bytes is the data held, in the queue and on its way.
func (m *Memory) Bytes() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.queued + m.taken
}

// Len is the number of items in the queue.
func (m *Memory) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.count
}

func (m *Memory) signal() {
	select {
	case m.ready <- struct{}{}:
	default:
	}
}

func (m *Memory) push(it Item) {
	if m.count == len(m.items) {
		grown := make([]Item, max(16, 2*m.count))
		for i := range m.count {
			grown[i] = m.items[(m.head+i)%len(m.items)]
		}
		m.items, m.head = grown, 0
	}
	m.items[(m.head+m.count)%len(m.items)] = it
	m.count++
	m.queued += len(it.Data)
}

func (m *Memory) pop() Item {
	it := m.items[m.head]
	m.items[m.head] = Item{}
	m.head = (m.head + 1) % len(m.items)
	m.count--
	m.queued -= len(it.Data)
	return it
}

func (m *Memory) recycle(b []byte) {
	if len(m.free) < freeBuffers && cap(b) > 0 {
		m.free = append(m.free, b)
	}
}

func (d *Drop) add(reason string, it *Item) {
	d.Reason = reason
	d.Batches++
	l := it.loss()
	d.Events += l.total
	d.Told += l.told
}

func dropOf(reason string, it *Item) Drop {
	var d Drop
	d.add(reason, it)
	return d
}
