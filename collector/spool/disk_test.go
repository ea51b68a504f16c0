package spool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gyre-sec/gyre/daemon"
)

// bench is a Disk with what it dropped by itself and logged.
type bench struct {
	*Disk
	t   testing.TB
	mu  sync.Mutex
	sum map[string]Drop
	log bytes.Buffer
}

func (b *bench) add(d Drop) {
	if d.Batches == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.sum[d.Reason]
	b.sum[d.Reason] = Drop{d.Reason, s.Batches + d.Batches, s.Events + d.Events, s.Told + d.Told}
}

func (b *bench) drops() map[string]Drop {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := map[string]Drop{}
	maps.Copy(out, b.sum)
	return out
}

func config(dir string) DiskConfig {
	return DiskConfig{Dir: dir, Memory: 1 << 20, Bytes: 8 << 20, Sync: -1, Keep: time.Minute, Backlog: 4}
}

func opened(t testing.TB, cfg DiskConfig, change func(*Disk)) *bench {
	t.Helper()
	b := &bench{t: t, sum: map[string]Drop{}}
	cfg.OnDrop = b.add
	cfg.Log = slog.New(slog.NewTextHandler(&locked{mu: &b.mu, w: &b.log}, nil))
	b.Disk = NewDisk(cfg)
	if change != nil {
		change(b.Disk)
	}
	if err := b.Open(); err != nil {
		t.Fatal(err)
	}
	return b
}

type locked struct {
	mu *sync.Mutex
	w  *bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

func (b *bench) end() Drop {
	b.Close()
	d := b.Discard()
	b.add(d)
	return d
}

// batch is the n-th batch of a test: its data tells which one it is.
func batch(n, size int) Item {
	it := item(n, size)
	it.ID = fmt.Sprintf("node/boot/%d", n)
	r := rand.New(rand.NewPCG(uint64(n), 1))
	for i := range it.Data {
		it.Data[i] = byte(r.Uint32())
	}
	return it
}

func (b *bench) next() Item {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 20*time.Second)
	defer cancel()
	it, err := b.Next(ctx)
	if err != nil {
		b.t.Fatalf("next: %v", err)
	}
	return it
}

// drain takes and finishes all that is left and returns their ids.
func (b *bench) drain() []string {
	b.t.Helper()
	b.Close()
	return b.rest()
}

func (b *bench) rest() []string {
	b.t.Helper()
	var ids []string
	for {
		it, err := b.Next(b.t.Context())
		if errors.Is(err, ErrClosed) {
			return ids
		}
		if err != nil {
			b.t.Fatal(err)
		}
		var n int
		if _, err := fmt.Sscanf(it.ID, "node/boot/%d", &n); err != nil {
			b.t.Fatal(err)
		}
		want := batch(n, len(it.Data))
		if !bytes.Equal(it.Data, want.Data) || it.First != want.First || it.Events != want.Events || it.Lost != want.Lost {
			b.t.Fatalf("batch %s came back changed", it.ID)
		}
		ids = append(ids, it.ID)
		b.Done(it)
	}
}

func (b *bench) put(from, to, size int) {
	for i := from; i < to; i++ {
		b.add(b.Put(batch(i, size)))
	}
}

func ids(from, to int) []string {
	var s []string
	for i := from; i < to; i++ {
		s = append(s, fmt.Sprintf("node/boot/%d", i))
	}
	return s
}

func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func segments(t testing.TB, dir, ext string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"+ext))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// TestWhatMemoryCannotHoldIsOnDisk: the spool holds ten times what memory does; live batches go first, the backlog follows in order.
func TestWhatMemoryCannotHoldIsOnDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := config(t.TempDir())
		cfg.Memory = 20_000
		b := opened(t, cfg, nil)
		for i := range 200 {
			b.put(i, i+1, 1000)
			synctest.Wait()
		}
		s := b.Stats()
		if s.MemoryBatches != 20 || s.DiskBatches != 180 || s.MemoryBytes != 20_000 || !s.Writable {
			t.Fatalf("stats %+v", s)
		}
		var order []int
		for range 10 {
			it := b.next()
			order = append(order, int(it.First/10))
			b.Done(it)
		}
		same(t, "order", order, []int{180, 181, 182, 183, 0, 184, 185, 186, 187, 1})
		got := map[string]int{}
		for _, n := range order {
			got[fmt.Sprintf("node/boot/%d", n)]++
		}
		rest := b.drain()
		for _, id := range rest {
			got[id]++
		}
		for _, id := range ids(0, 200) {
			if got[id] != 1 {
				t.Errorf("%s came %d times", id, got[id])
			}
		}
		same(t, "end of the backlog", rest[len(rest)-100:], ids(80, 180))
		same(t, "drops", b.drops(), map[string]Drop{})
		if d := b.end(); d != (Drop{}) {
			t.Errorf("discard %+v", d)
		}
	})
}

// TestRestart: what was not finished comes back under its id, in order, and so does what was finished within the time to keep.
func TestRestart(t *testing.T) {
	for _, tc := range []struct {
		name  string
		keep  time.Duration
		pause time.Duration
		crash bool
		want  []string
	}{
		{"kept", time.Minute, 5 * time.Second, false, ids(0, 50)},
		{"kept long enough", 3 * time.Second, 5 * time.Second, false, ids(10, 50)},
		{"not kept", 0, 5 * time.Second, false, ids(10, 50)},
		{"crash", time.Minute, 5 * time.Second, true, ids(0, 50)},
		{"crash after the time to keep", 3 * time.Second, 5 * time.Second, true, ids(10, 50)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := config(t.TempDir())
				cfg.Keep = tc.keep
				b := opened(t, cfg, nil)
				b.put(0, 50, 1000)
				synctest.Wait()
				for range 10 {
					b.Done(b.next())
				}
				taken := b.next() // on its way at the end
				time.Sleep(tc.pause)
				synctest.Wait()
				dir := cfg.Dir
				if tc.crash {
					dir = copyDir(t, cfg.Dir)
				}
				if d := b.Return(taken); d != (Drop{}) {
					t.Errorf("return %+v", d)
				}
				if d := b.end(); d != (Drop{}) {
					t.Errorf("discard %+v", d)
				}
				cfg.Dir = dir
				b = opened(t, cfg, nil)
				got := 0
				for got < len(tc.want) {
					it := b.next()
					if it.ID != tc.want[got] {
						t.Fatalf("got %s, want %s", it.ID, tc.want[got])
					}
					got++
					b.Done(it)
				}
				b.put(50, 51, 10)
				same(t, "rest", b.drain(), ids(50, 51))
				same(t, "drops", b.drops(), map[string]Drop{})
				b.end()
			})
		})
	}
}

// copyDir copies a directory as a crash would leave it.
func copyDir(t testing.TB, dir string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

// TestBound: when the disk is full the oldest goes; what came back, what was dropped and what is left are all there was.
func TestBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := config(t.TempDir())
		cfg.Memory, cfg.Bytes = 50_000, 1<<20
		b := opened(t, cfg, nil)
		const n = 3000
		for i := range n {
			b.put(i, i+1, 1000)
			if i%20 == 0 {
				synctest.Wait()
			}
			if s := b.Stats(); s.DiskBytes > cfg.Bytes || s.MemoryBytes > cfg.Memory {
				t.Fatalf("over the bound: %+v", s)
			}
		}
		synctest.Wait()
		onDisk := int64(0)
		for _, f := range segments(t, cfg.Dir, segmentExt) {
			info, err := os.Stat(f)
			if err != nil {
				t.Fatal(err)
			}
			onDisk += info.Size()
		}
		if s := b.Stats(); onDisk != s.DiskBytes || onDisk < cfg.Bytes/2 {
			t.Errorf("%d bytes on disk, counted %d", onDisk, s.DiskBytes)
		}
		got := b.drain()
		d := b.drops()[ReasonFull]
		if len(got)+d.Batches != n || d.Events != uint64(d.Batches)*11 || d.Batches == 0 {
			t.Errorf("%d came back, dropped %+v, want %d in all", len(got), d, n)
		}
		b.end()
		if len(b.drops()) != 1 {
			t.Errorf("drops %v", b.drops())
		}
	})
}

// TestAcknowledgedIsNotLost: a segment that goes for room takes what was stored with it, and that is no loss.
func TestAcknowledgedIsNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := config(t.TempDir())
		cfg.Bytes = 1 << 20
		b := opened(t, cfg, nil)
		for i := range 3000 {
			b.put(i, i+1, 1000)
			b.Done(b.next())
			if i%100 == 0 {
				synctest.Wait()
			}
		}
		same(t, "drops", b.drops(), map[string]Drop{})
		b.end()
	})
}

// TestExpiry: what is stored leaves the disk when its time is over.
func TestExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := config(t.TempDir())
		b := opened(t, cfg, nil)
		b.put(0, 100, 1000)
		synctest.Wait()
		for range 100 {
			b.Done(b.next())
		}
		time.Sleep(50 * time.Second)
		if n := len(segments(t, cfg.Dir, segmentExt)); n != 1 {
			t.Errorf("%d segments before the time is over", n)
		}
		time.Sleep(20 * time.Second)
		if n := len(segments(t, cfg.Dir, "*")); n != 1 { // the lock
			t.Errorf("left: %v", segments(t, cfg.Dir, "*"))
		}
		b.put(100, 101, 1000)
		synctest.Wait()
		same(t, "then", b.drain(), ids(100, 101))
		b.end()
	})
}

// TestRefused: what is refused is not sent by the next run either.
func TestRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := config(t.TempDir())
		b := opened(t, cfg, nil)
		b.put(0, 3, 100)
		synctest.Wait()
		same(t, "refuse", b.Refuse(b.next(), "refused"), Drop{"refused", 1, 11, 1})
		b.end()
		b = opened(t, cfg, nil)
		same(t, "next run", b.drain(), ids(1, 3))
		b.end()
	})
}

// TestFlock: a directory has one Disk, with the rights of its owner only.
func TestFlock(t *testing.T) {
	cfg := config(filepath.Join(t.TempDir(), "a", "spool"))
	b := opened(t, cfg, nil)
	b.put(0, 1, 10)
	err := NewDisk(b.cfg).Open()
	if !errors.Is(err, ErrInUse) || daemon.Remedy(err) == "" {
		t.Errorf("second: %v, %q", err, daemon.Remedy(err))
	}
	b.end()
	err = filepath.WalkDir(cfg.Dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		want := fs.FileMode(0o600)
		if e.IsDir() {
			want = 0o700
		}
		if err == nil && info.Mode().Perm() != want {
			t.Errorf("%s has mode %o", path, info.Mode().Perm())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	opened(t, cfg, nil).end()
	cfg.Dir = filepath.Join(cfg.Dir, lockName)
	if err := NewDisk(cfg).Open(); err == nil || daemon.Remedy(err) == "" {
		t.Errorf("directory that is a file: %v", err)
	}
}
