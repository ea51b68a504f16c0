package spool

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// segmentOf is the bytes of a segment with batches of sizes, and where each ends.
func segmentOf(number uint64, sizes ...int) (b []byte, ends []int) {
	b = appendHeader(nil, number, time.Unix(1_700_000_000, 12345))
	seed := headerSum(b)
	for i, n := range sizes {
		it := batch(i, n)
		b = appendFrame(b, &it, seed)
		ends = append(ends, len(b))
	}
	return b, ends
}

// reopened opens a Disk on a directory with this one segment and returns what it gives, and the Disk.
func reopened(t *testing.T, seg []byte) ([]string, *bench) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(segmentPath(dir, 7), seg, 0o600); err != nil {
		t.Fatal(err)
	}
	b := opened(t, config(dir), nil)
	return b.drain(), b
}

// TestCutAnywhere: a segment that ends at any byte gives the batches that are whole in it, and the next run of it the same.
func TestCutAnywhere(t *testing.T) {
	whole, ends := segmentOf(7, 40, 0, 100, 7)
	for size := range len(whole) + 1 {
		n := 0
		for n < len(ends) && ends[n] <= size {
			n++
		}
		got, b := reopened(t, whole[:size])
		same(t, fmt.Sprintf("cut at %d", size), got, ids(0, n)) // all that is whole
		torn := uint64(1)
		if size == headerSize || n > 0 && ends[n-1] == size {
			torn = 0
		}
		if b.count.torn != torn || b.count.corrupt != 0 {
			t.Errorf("cut at %d: %d torn, %d corrupt, want %d torn", size, b.count.torn, b.count.corrupt, torn)
		}
		b.end()
	}
}

// TestZeroTail: a file system that has grown the file without the data leaves zeros.
func TestZeroTail(t *testing.T) {
	whole, ends := segmentOf(7, 40, 50, 60)
	for size := headerSize; size < len(whole); size++ {
		zeroed := append(bytes.Clone(whole[:size]), make([]byte, len(whole)-size)...)
		n := 0
		for n < len(ends) && ends[n] <= size {
			n++
		}
		got, b := reopened(t, zeroed)
		if len(got) < n || b.count.torn+b.count.corrupt == 0 {
			t.Errorf("zeros from %d: %v, %d torn, %d corrupt", size, got, b.count.torn, b.count.corrupt)
		}
		b.end()
	}
}

// TestFlippedByte: one bad byte costs one batch, wherever it is; the file is set aside when the others are sent.
func TestFlippedByte(t *testing.T) {
	whole, ends := segmentOf(7, 40, 50, 60)
	for at := range whole {
		bad := bytes.Clone(whole)
		bad[at] ^= 0x40
		got, b := reopened(t, bad)
		var want []string
		if at >= headerSize {
			from := headerSize
			for i, end := range ends {
				if at < from || at >= end {
					want = append(want, ids(i, i+1)...)
				}
				from = end
			}
		}
		same(t, fmt.Sprintf("byte %d", at), got, want)
		if b.count.torn+b.count.corrupt != 1 {
			t.Errorf("byte %d: %d torn, %d corrupt", at, b.count.torn, b.count.corrupt)
		}
		if at < headerSize {
			if n := len(segments(t, b.cfg.Dir, asideExt)); n != 1 || !strings.Contains(b.log.String(), "set aside") {
				t.Errorf("byte %d: %d files set aside", at, n)
			}
		}
		b.end()
	}
}

// TestDamagedStates: acknowledgements that cannot be read cost repetitions only.
func TestDamagedStates(t *testing.T) {
	dir := t.TempDir()
	cfg := config(dir)
	cfg.Keep = 0
	b := opened(t, cfg, nil)
	b.put(0, 20, 100)
	for range 10 {
		b.Done(b.next())
	}
	b.end()
	states := segments(t, dir, statesExt)
	if len(states) != 1 {
		t.Fatalf("files of states: %v", states)
	}
	good, err := os.ReadFile(states[0])
	if err != nil {
		t.Fatal(err)
	}
	for size := range len(good) {
		for _, damaged := range [][]byte{good[:size], append(append(bytes.Clone(good[:size]), good[size]^1), good[size+1:]...)} {
			again := copyDir(t, dir)
			if err := os.WriteFile(filepath.Join(again, filepath.Base(states[0])), damaged, 0o600); err != nil {
				t.Fatal(err)
			}
			cfg.Dir = again
			b := opened(t, cfg, nil)
			same(t, fmt.Sprintf("states damaged at %d", size), b.drain(), ids(0, 20))
			b.end()
		}
	}
	cfg.Dir = copyDir(t, dir)
	b = opened(t, cfg, nil)
	same(t, "states as they were", b.drain(), ids(10, 20))
	b.end()
}

// FuzzSegment: any bytes are read without a crash, and what is read is what was written: the same bytes encode it again.
func FuzzSegment(f *testing.F) {
	whole, _ := segmentOf(7, 40, 0, 100)
	f.Add(whole)
	f.Add(whole[:len(whole)-3])
	f.Add(append(bytes.Clone(whole[:60]), whole[50:]...))
	f.Add(appendHeader(nil, 1, time.Unix(1, 1)))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, _, err := parseHeader(b); err != nil {
			if len(b) < headerSize {
				return
			}
			// Let the fuzzer reach the frames: give it a good header.
			b = append(appendHeader(nil, 7, time.Unix(1_700_000_000, 12345)), b[headerSize:]...)
		}
		end := headerSize
		d := scan(b, func(it Item, off, size int) {
			if off < end || off+size > len(b) {
				t.Fatalf("frame at %d to %d, the last one ended at %d of %d", off, off+size, end, len(b))
			}
			end = off + size
			if got := appendFrame(nil, &it, headerSum(b)); !bytes.Equal(got, b[off:end]) {
				t.Fatalf("frame at %d encodes to other bytes", off)
			}
		})
		if d.size != end || d.size > len(b) || (end < len(b)) != (d.torn || d.corrupt > 0) && d.corrupt == 0 {
			t.Fatalf("damage %+v, the last frame ends at %d of %d", d, end, len(b))
		}
	})
}

// FuzzStates: any bytes are read without a crash.
func FuzzStates(f *testing.F) {
	s := &segment{created: time.Unix(5, 5), size: headerSize}
	for i := range 10 {
		s.add(headerSize+i*50, 50, stateLive, 0, loss{1, 0})
		if i%3 > 0 {
			s.set(i, stateDone, uint32(100+i/5), loss{1, 0})
		}
	}
	f.Add(appendStates(nil, s, time.Unix(200, 0)))
	f.Fuzz(func(t *testing.T, b []byte) {
		to := 0
		_, err := parseStates(b, s.created, func(end int, st state, _ uint32) {
			if end < to || st == stateLive || st > stateFinal {
				t.Fatalf("run to %d in state %d", end, st)
			}
			to = end
		})
		if err == nil && len(b) < statesHeader+4 {
			t.Fatal("too short, but read")
		}
	})
}
