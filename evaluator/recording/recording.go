// Package recording keeps batches of a stream in one file that explains itself, and plays them back.
//
// A file is the eight bytes "GYREBAT1", blocks, an index and a trailer:
//
//	block    'B', length of its payload (4 bytes, big endian), CRC-32C of the payload (4 bytes), the payload: zstd of records
//	record   length of the subject as varint, the subject, number in the stream as varint, time stored as zigzag
//	         varint (ns since the Unix epoch), length of the batch as varint, the batch (package eventv1, not compressed)
//	index    'I', length (4 bytes), CRC-32C (4 bytes), JSON: see [Index]
//	trailer  offset of the index (8 bytes, big endian), SHA-256 of all before the trailer, "GYREEND1"
//
// A file without a trailer was cut off: [Open] reads its blocks up to the first damaged one and says so in
// [Index.Damage]. Everything is bounded and checked; nothing in a file is believed.
package recording

import (
	"errors"
	"hash/crc32"
	"time"

	"github.com/gyre-sec/gyre/schemas/eventv1"
)

const (
	magic   = "GYREBAT1"
	trailer = "GYREEND1"

	tagBlock = 'B'
	tagIndex = 'I'

	blockTarget = 1 << 20  // bytes of records in a block
	maxBlock    = 80 << 20 // bytes of records that a reader believes
	maxSubject  = 1 << 10
	headBytes   = 9
	tailBytes   = 8 + 32 + 8
)

// Errors of [Open] and of reading.
var (
	// ErrFormat: not a recording of batches.
	ErrFormat = errors.New("not a recording of batches")
	// ErrDamaged: a part of the file is not what was written.
	ErrDamaged = errors.New("recording is damaged")
)

// Index tells what a recording holds.
type Index struct {
	Version int       `json:"version"`
	Made    time.Time `json:"made"`
	// Complete is false if recording was interrupted before its time was over; Damage says why a file had to be read without its index.
	Complete bool   `json:"complete"`
	Damage   string `json:"damage,omitempty"`
	// Picked says that these are events which somebody chose: numbers between them are no gaps.
	Picked bool `json:"picked,omitempty"`
	// FirstSeq to LastSeq are numbers of the stream; Missing of them had no message.
	FirstSeq uint64 `json:"first_seq"`
	LastSeq  uint64 `json:"last_seq"`
	Missing  uint64 `json:"missing"`
	// Bad counts batches that do not decode; they are left out.
	Bad uint64 `json:"bad"`
	// From and To are when the first and the last batch were stored.
	From    time.Time `json:"from"`
	To      time.Time `json:"to"`
	Batches uint64    `json:"batches"`
	Events  uint64    `json:"events"`
	// Bytes is the size of the batches, not compressed.
	Bytes  uint64           `json:"bytes"`
	Nodes  map[string]*Node `json:"nodes"`
	Blocks []Block          `json:"blocks"`
}

// Node is what a recording holds of a node.
type Node struct {
	Batches uint64 `json:"batches"`
	Events  uint64 `json:"events"`
	// Lost counts by kind the events that the node reported as lost.
	Lost map[string]uint64 `json:"lost,omitempty"`
	// Gaps counts numbers of events, between those of batches, that no batch holds: they were on their way or never arrived.
	Gaps uint64 `json:"gaps,omitempty"`

	boot string
	next uint64
}

// Block is where a block lies, and what is in it.
type Block struct {
	Offset   int64  `json:"offset"`
	Length   int    `json:"length"`
	Batches  int    `json:"batches"`
	FirstSeq uint64 `json:"first_seq"`
	From     int64  `json:"from"`
}

// Lost counts all events that nodes reported as lost.
func (x *Index) Lost() (n uint64) {
	for _, node := range x.Nodes {
		for _, c := range node.Lost {
			n += c
		}
	}
	return n
}

// Gaps counts all numbers of events that are in no batch.
func (x *Index) Gaps() (n uint64) {
	for _, node := range x.Nodes {
		n += node.Gaps
	}
	return n
}

// bad counts a batch that does not decode; it is not missing, too.
func (x *Index) bad(seq uint64) {
	x.Bad++
	if x.Batches > 0 && seq == x.LastSeq+1 {
		x.LastSeq = seq
	}
}

// add counts a batch; last is the number of its last event.
func (x *Index) add(b *eventv1.Batch, last uint64, seq uint64, at time.Time, size int, sparse bool) {
	if x.Batches == 0 {
		x.FirstSeq, x.From = seq, at
	} else if seq > x.LastSeq+1 && !sparse {
		x.Missing += seq - x.LastSeq - 1
	}
	x.LastSeq, x.To = seq, at
	x.Batches++
	x.Events += uint64(b.Count)
	x.Bytes += uint64(size)
	n := x.Nodes[b.Node]
	if n == nil {
		n = &Node{}
		x.Nodes[b.Node] = n
	}
	n.Batches++
	n.Events += uint64(b.Count)
	for _, l := range b.Lost {
		if n.Lost == nil {
			n.Lost = map[string]uint64{}
		}
		n.Lost[l.Kind.String()] += l.Count
	}
	if b.Count == 0 {
		return
	}
	if x.Picked {
		return
	}
	if n.boot == b.BootID && b.FirstSeq > n.next {
		n.Gaps += b.FirstSeq - n.next
	}
	if n.boot == b.BootID && b.FirstSeq < n.next { // came late: it was counted as a gap
		n.Gaps -= min(n.Gaps, uint64(b.Count))
		n.next = max(n.next, last+1)
		return
	}
	n.boot, n.next = b.BootID, last+1
}

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }
