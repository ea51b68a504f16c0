package spool

import (
	"errors"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// faults are what a disk can be made to do; the files behind it are real.
type faults struct {
	full     atomic.Bool // writes stop half-way with ENOSPC
	readOnly atomic.Bool
	syncErr  atomic.Bool
	stall    chan struct{} // if not nil, writes wait for it
}

type faultyFile struct {
	file
	f *faults
}

func (f *faults) create(path string) (file, error) {
	if f.readOnly.Load() {
		return nil, &os.PathError{Op: "open", Path: path, Err: syscall.EROFS}
	}
	real, err := createFile(path)
	if err != nil {
		return nil, err
	}
	return &faultyFile{real, f}, nil
}

func (x *faultyFile) Write(b []byte) (int, error) {
	if x.f.stall != nil {
		<-x.f.stall
	}
	if x.f.full.Load() || x.f.readOnly.Load() {
		n, err := x.file.Write(b[:len(b)/2])
		return n, errors.Join(err, syscall.ENOSPC)
	}
	return x.file.Write(b)
}

func (x *faultyFile) Sync() error {
	if x.f.syncErr.Load() {
		return syscall.EIO
	}
	return x.file.Sync()
}

// TestDiskFullAndBack: while the disk is full memory goes on alone; afterwards what memory still has is written, and nothing is there twice.
func TestDiskFullAndBack(t *testing.T) {
	for _, name := range []string{"full", "read only"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var f faults
				fault := &f.full
				if name == "read only" {
					fault = &f.readOnly
				}
				cfg := config(t.TempDir())
				cfg.Memory = 50_000
				b := opened(t, cfg, func(d *Disk) { d.create = f.create })
				b.put(0, 20, 1000)
				synctest.Wait()
				fault.Store(true)
				b.put(20, 40, 1000)
				synctest.Wait()
				if b.Stats().Writable {
					t.Error("the disk counts as writable")
				}
				b.put(40, 120, 1000) // 20 to 69 are in memory only and the oldest of them go
				time.Sleep(5 * time.Second)
				s := b.Stats()
				full := b.drops()[ReasonFull]
				if s.MemoryBatches != 50 || s.DiskBatches != 20 || full.Batches != 50 || full.Events != 550 {
					t.Errorf("while it is down: %+v, dropped %+v", s, full)
				}
				fault.Store(false)
				time.Sleep(2 * time.Second)
				synctest.Wait()
				b.put(120, 200, 1000)
				synctest.Wait()
				if s := b.Stats(); !s.Writable {
					t.Errorf("afterwards: %+v", s)
				}
				dir := copyDir(t, cfg.Dir)
				if n := len(b.drain()); n+b.drops()[ReasonFull].Batches != 200 {
					t.Errorf("%d came back, %+v dropped", n, b.drops())
				}
				b.end()
				log := b.log.String()
				if strings.Count(log, "cannot be written") != 1 || strings.Count(log, "written again") != 1 {
					t.Errorf("log:\n%s", log)
				}
				cfg.Dir = dir
				b = opened(t, cfg, nil)
				got := b.drain()
				seen := map[string]bool{}
				for _, id := range got {
					if seen[id] {
						t.Errorf("%s twice after a crash", id)
					}
					seen[id] = true
				}
				if b.count.corrupt != 0 {
					t.Errorf("%d corrupt", b.count.corrupt)
				}
				b.end()
			})
		})
	}
}

// TestSlowDisk: Put goes on while the disk hangs, within the bound of memory.
func TestSlowDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := faults{stall: make(chan struct{})}
		cfg := config(t.TempDir())
		cfg.Memory = 50_000
		b := opened(t, cfg, func(d *Disk) { d.create = f.create })
		b.put(0, 200, 1000)
		if s := b.Stats(); s.MemoryBytes > cfg.Memory {
			t.Errorf("over the bound: %+v", s)
		}
		for range 10 {
			b.Done(b.next())
		}
		b.put(200, 220, 1000) // takes the place of what is stored
		close(f.stall)
		synctest.Wait()
		time.Sleep(20 * time.Second)
		if n := len(b.drain()); n+10+b.drops()[ReasonFull].Batches != 220 {
			t.Errorf("%d came back, %+v dropped", n, b.drops())
		}
		b.end()
		if log := b.log.String(); strings.Count(log, "too slow") != 1 || strings.Count(log, "keeps up again") != 1 {
			t.Errorf("log:\n%s", log)
		}
	})
}

// TestSyncErrors: with always, what could not be synced does not count as written; with an interval it is counted.
func TestSyncErrors(t *testing.T) {
	for _, tc := range []struct {
		sync   time.Duration
		onDisk bool
	}{{0, false}, {100 * time.Millisecond, true}} {
		synctest.Test(t, func(t *testing.T) {
			var f faults
			f.syncErr.Store(true)
			cfg := config(t.TempDir())
			cfg.Sync = tc.sync
			b := opened(t, cfg, func(d *Disk) { d.create = f.create })
			b.put(0, 10, 100)
			time.Sleep(3 * time.Second)
			if s := b.Stats(); s.Writable != tc.onDisk {
				t.Errorf("sync %s: %+v", tc.sync, s)
			}
			b.mu.Lock()
			n := b.count.syncErrors
			b.mu.Unlock()
			if n < 2 {
				t.Errorf("sync %s: %d errors counted", tc.sync, n)
			}
			f.syncErr.Store(false)
			time.Sleep(2 * time.Second)
			same(t, "batches", b.drain(), ids(0, 10))
			b.end()
			if strings.Count(b.log.String(), "cannot be synced") != 1 {
				t.Errorf("log:\n%s", b.log.String())
			}
		})
	}
}

// TestDamageWhileRunning: batches that rot on disk are counted with their events, and the others are sent.
func TestDamageWhileRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := config(t.TempDir())
		cfg.Memory = 10_000
		b := opened(t, cfg, nil)
		for i := range 50 {
			b.put(i, i+1, 1000)
			synctest.Wait()
		}
		seg := segments(t, cfg.Dir, segmentExt)[0]
		f, err := os.OpenFile(seg, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range []int{3, 7} {
			if _, err := f.WriteAt([]byte("rot"), int64(b.segs[0].recs[i].off)+100); err != nil {
				t.Fatal(err)
			}
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		if n := len(b.drain()); n != 48 {
			t.Errorf("%d came back", n)
		}
		same(t, "drops", b.drops(), map[string]Drop{ReasonCorrupt: {ReasonCorrupt, 2, 22, 2}})
		time.Sleep(3 * time.Minute)
		if n := len(segments(t, cfg.Dir, asideExt)); n != 1 {
			t.Errorf("%d files set aside", n)
		}
		b.end()
	})
}

// TestLastWordIsKept: what cannot be written at the end is dropped, and counted once.
func TestLastWordIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f faults
		cfg := config(t.TempDir())
		b := opened(t, cfg, func(d *Disk) { d.create = f.create })
		b.put(0, 10, 100)
		synctest.Wait()
		taken := b.next()
		f.full.Store(true)
		b.put(10, 15, 100)
		synctest.Wait()
		b.add(b.Return(taken))
		b.Close()
		same(t, "discard", b.Discard(), Drop{ReasonStopped, 5, 55, 5})
		b = opened(t, cfg, nil)
		same(t, "next run", b.drain(), ids(0, 10))
		b.end()
	})
}

// BenchmarkPut puts batches of 16 KiB that are taken and stored at once, without and with the disk.
func BenchmarkPut(b *testing.B) {
	data := make([]byte, 16<<10)
	type buffer interface {
		Buffer() []byte
		Put(Item) Drop
		Done(Item)
	}
	for _, name := range []string{"memory", "disk"} {
		b.Run(name, func(b *testing.B) {
			var s buffer
			var next func() Item
			if name == "memory" {
				m := NewMemory(64 << 20)
				s, next = m, func() Item { it, _ := m.Next(b.Context()); return it }
			} else {
				cfg := config(b.TempDir())
				cfg.Memory, cfg.Bytes, cfg.Sync = 64<<20, 256<<20, time.Second
				d := opened(b, cfg, nil)
				defer d.end()
				s, next = d, d.next
				defer func() {
					d.mu.Lock()
					skipped := d.count.skipped
					d.mu.Unlock()
					b.ReportMetric(float64(skipped)/float64(b.N), "unwritten/op")
				}()
			}
			b.ReportAllocs()
			var put time.Duration
			for b.Loop() {
				it := Item{ID: "node/0123456789abcdef/12345", Events: 256, Data: append(s.Buffer(), data...)}
				from := time.Now()
				if d := s.Put(it); d.Batches > 0 {
					b.Fatalf("dropped %+v", d)
				}
				put += time.Since(from)
				s.Done(next())
			}
			b.ReportMetric(float64(put.Nanoseconds())/float64(b.N), "put-ns/op")
		})
	}
}
