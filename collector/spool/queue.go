package spool

import "time"

// entry is one batch that a [Disk] has in memory. Its fields belong to the Disk's lock.
//
// Its data is held while it is queued, taken or unwritten, and freed with the last of these.
type entry struct {
	Item
	put time.Time

	queued    bool // for Next
	taken     bool // by Next, not given back
	unwritten bool // not on disk yet, and to be written
	writing   bool // in the writer's hands
	charged   bool // its data counts against the bound of memory
	fromDisk  bool // was read from disk, for it did not fit in memory or is from an earlier run
	stored    bool // was acknowledged in an earlier run: sent again in case that NATS has lost it

	seg    *segment // where it is on disk, or nil
	idx    int
	result state // stateDone or stateFinal when it is finished
	at     uint32
}

// onDisk tells whether a copy on disk stands in for the one in memory.
func (e *entry) onDisk() bool { return e.seg != nil && !e.seg.gone }

// queue is a first-in-first-out ring of entries.
type queue struct {
	ring  []*entry
	head  int
	count int
}

func (q *queue) front() *entry {
	if q.count == 0 {
		return nil
	}
	return q.ring[q.head]
}

func (q *queue) grow() {
	if q.count < len(q.ring) {
		return
	}
	grown := make([]*entry, max(16, 2*q.count))
	for i := range q.count {
		grown[i] = q.ring[(q.head+i)%len(q.ring)]
	}
	q.ring, q.head = grown, 0
}

func (q *queue) push(e *entry) {
	q.grow()
	q.ring[(q.head+q.count)%len(q.ring)] = e
	q.count++
}

func (q *queue) pushFront(e *entry) {
	q.grow()
	q.head = (q.head + len(q.ring) - 1) % len(q.ring)
	q.ring[q.head] = e
	q.count++
}

// pop removes the front; the queue must not be empty.
func (q *queue) pop() *entry {
	e := q.ring[q.head]
	q.ring[q.head] = nil
	q.head = (q.head + 1) % len(q.ring)
	q.count--
	return e
}
