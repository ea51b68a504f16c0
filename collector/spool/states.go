package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"time"
)

// Beside each segment lies a file that says which of its records are finished, and when:
//
//	"GYREACK" version:1 created:8 (of the segment) written:8 (nanoseconds since 1970) runs crc:4
//	run     length:uvarint (bytes of the segment, from its header on) state:1 at:uvarint (seconds since 1970)
//
// It is written about once a second, not for every acknowledgement. What was acknowledged since is sent again after a
// crash, which the id of the batch makes harmless. The same goes for a file that is missing or damaged.
const (
	statesMagic   = "GYREACK"
	statesVersion = 1
	statesHeader  = 24
)

var errStates = errors.New("not the acknowledgements of this segment")

// appendStates encodes the states of a segment's records.
func appendStates(b []byte, s *segment, now time.Time) []byte {
	from := len(b)
	b = append(append(b, statesMagic...), statesVersion)
	b = binary.LittleEndian.AppendUint64(b, uint64(s.created.UnixNano()))
	b = binary.LittleEndian.AppendUint64(b, uint64(now.UnixNano()))
	for i := 0; i < len(s.recs); {
		from := s.recs[i].off
		if i == 0 {
			from = headerSize
		}
		st, at := persistent(s.recs[i])
		for i++; i < len(s.recs); i++ {
			if st2, at2 := persistent(s.recs[i]); st2 != st || at2 != at {
				break
			}
		}
		to := uint32(s.size)
		if i < len(s.recs) {
			to = s.recs[i].off
		}
		b = binary.AppendUvarint(b, uint64(to-from))
		b = append(b, byte(st))
		b = binary.AppendUvarint(b, uint64(at))
	}
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[from:], castagnoli()))
}

// persistent is a record's state as it outlives the process: waiting, to be sent again, or finished.
func persistent(r record) (state, uint32) {
	switch {
	case r.state.finished():
		return r.state, r.at
	case r.at > 0: // stored by an earlier run, on its way for a second time or not yet
		return stateAgain, r.at
	}
	return stateWaiting, 0
}

// parseStates calls fn for each run, with the offset at which it ends, and returns when b was written.
func parseStates(b []byte, created time.Time, fn func(to int, st state, at uint32)) (time.Time, error) {
	switch {
	case len(b) < statesHeader+4 || string(b[:7]) != statesMagic:
		return time.Time{}, errStates
	case crc32.Checksum(b[:len(b)-4], castagnoli()) != binary.LittleEndian.Uint32(b[len(b)-4:]):
		return time.Time{}, fmt.Errorf("%w: the checksum is wrong", errStates)
	case b[7] != statesVersion:
		return time.Time{}, fmt.Errorf("%w: version %d", errStates, b[7])
	case int64(binary.LittleEndian.Uint64(b[8:])) != created.UnixNano():
		return time.Time{}, fmt.Errorf("%w: they belong to an older one", errStates)
	}
	written := time.Unix(0, int64(binary.LittleEndian.Uint64(b[16:])))
	to := headerSize
	for b = b[statesHeader : len(b)-4]; len(b) > 0; {
		length, n := binary.Uvarint(b)
		if n <= 0 || len(b) < n+2 || length > 1<<32-1 {
			return time.Time{}, errStates
		}
		st := state(b[n])
		at, m := binary.Uvarint(b[n+1:])
		if m <= 0 || at > 1<<32-1 || st > stateFinal || st == stateLive {
			return time.Time{}, errStates
		}
		b = b[n+1+m:]
		to += int(length)
		fn(to, st, uint32(at))
	}
	return written, nil
}

// writeStates replaces a segment's file of states. It is not synced: losing it costs repetitions only.
func writeStates(path string, b []byte) error {
	tmp := path + ".new"
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return fmt.Errorf("write acknowledgements: %w", err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("write acknowledgements: %w", err)
	}
	return nil
}
