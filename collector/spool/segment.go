package spool

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// state is where a batch that is on disk stands.
type state uint8

const (
	// stateLive: a copy is in memory, which is the one that will be sent.
	stateLive state = iota
	// stateWaiting: it is on disk only, and will be sent from there.
	stateWaiting
	// stateAgain: it was stored by an earlier run that ended soon after; it will be sent once more.
	stateAgain
	// stateDone: it is stored.
	stateDone
	// stateFinal: it was refused or dropped, and counted; it is never sent again.
	stateFinal
)

func (s state) finished() bool { return s >= stateDone }

// record is one batch in a segment: 16 bytes of memory.
type record struct {
	off, size uint32
	at        uint32 // seconds since 1970 when it was finished
	state     state
}

// segment is one file of the log. Its fields belong to the Disk's lock, but for the first ones, which never change.
type segment struct {
	path    string
	number  uint64
	created time.Time
	seed    uint32 // checksum of the header

	size    int64
	recs    []record
	next    int    // no record before this one is waiting or to be sent again
	open    int    // records that are not finished
	waiting int    // records in stateWaiting
	events  loss   // that would be lost with the waiting and unreadable ones
	bad     int    // records that could not be read, whose events are in events
	again   int    // records in stateAgain
	last    uint32 // when the last record was finished
	dirty   bool   // states have changed since they were written
	keeps   bool   // the states as they were written have records within the time to keep
	corrupt bool   // to be set aside, not removed
	gone    bool   // no longer on disk
}

const (
	segmentExt = ".seg"
	statesExt  = ".ack"
	asideExt   = ".corrupt"
)

func segmentPath(dir string, number uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%016x%s", number, segmentExt))
}

// segmentNumber returns the number that a file's name tells.
func segmentNumber(name string) (uint64, bool) {
	hex, ok := strings.CutSuffix(name, segmentExt)
	if !ok || len(hex) != 16 {
		return 0, false
	}
	n, err := strconv.ParseUint(hex, 16, 64)
	return n, err == nil
}

func (s *segment) statesPath() string { return strings.TrimSuffix(s.path, segmentExt) + statesExt }

// add appends a record.
func (s *segment) add(off, size int, st state, at uint32, events loss) {
	s.recs = append(s.recs, record{off: uint32(off), size: uint32(size)})
	s.open++ // as live
	s.size = int64(off + size)
	s.set(len(s.recs)-1, st, at, events)
}

// set changes the state of a record of so many events.
func (s *segment) set(idx int, st state, at uint32, events loss) {
	r := &s.recs[idx]
	switch r.state {
	case stateWaiting:
		s.waiting--
		s.events.total -= events.total
		s.events.told -= events.told
	case stateAgain:
		s.again--
	}
	switch st {
	case stateWaiting:
		s.waiting++
		s.events.total += events.total
		s.events.told += events.told
	case stateAgain:
		s.again++
	}
	if st == stateWaiting || st == stateAgain {
		s.next = min(s.next, idx)
	}
	if r.state.finished() != st.finished() {
		if st.finished() {
			s.open--
		} else {
			s.open++
		}
	}
	if st.finished() || r.state.finished() {
		s.dirty = true
	}
	r.state = st
	if at > 0 {
		r.at = at
		s.last = max(s.last, at)
	}
}

// unreadable notes that a waiting record or one to be sent again cannot be read. How many events the unreadable ones have is known
// when no other record is waiting: they are lost then.
func (s *segment) unreadable(idx int) Drop {
	s.corrupt = true
	if s.recs[idx].state == stateAgain {
		s.set(idx, stateDone, 0, loss{})
		return Drop{}
	}
	s.bad++
	s.set(idx, stateFinal, 0, loss{}) // its events stay in s.events
	return s.settleBad()
}

// settleBad returns the unreadable records as lost when no other record is waiting.
func (s *segment) settleBad() Drop {
	if s.waiting > 0 {
		return Drop{}
	}
	return s.lost(ReasonCorrupt)
}

// find returns the first record to be sent from disk, or -1.
func (s *segment) find(again bool) int {
	if s.waiting == 0 && (s.again == 0 || !again) {
		return -1
	}
	for i := s.next; i < len(s.recs); i++ {
		switch st := s.recs[i].state; {
		case st == stateWaiting, st == stateAgain && again:
			return i
		case st != stateAgain && i == s.next:
			s.next++
		}
	}
	return -1
}

// lost returns the waiting and the unreadable records as lost.
func (s *segment) lost(reason string) Drop {
	d := Drop{Reason: reason, Batches: s.waiting + s.bad, Events: s.events.total, Told: s.events.told}
	s.waiting, s.bad, s.events = 0, 0, loss{}
	if d.Batches == 0 {
		return Drop{}
	}
	return d
}
