package probe

import (
	"bytes"
	"context"
	"errors"
	"os"
	"runtime/pprof"
	"sync"
	"testing"
	"time"

	"github.com/gyre-sec/gyre/bpf"
)

// capture collects the records of a source for one test.
type capture struct {
	*Source
	mu   sync.Mutex
	recs []bpf.Record
	more chan struct{}
}

func (c *capture) add(raw []byte) {
	r, err := bpf.ParseRecord(bytes.Clone(raw))
	if err != nil {
		panic(err)
	}
	c.mu.Lock()
	c.recs = append(c.recs, r)
	c.mu.Unlock()
	select {
	case c.more <- struct{}{}:
	default:
	}
}

// shared is the source of all tests that need no options of their own: loading it takes long on an emulated processor.
var shared struct {
	src  *Source
	mu   sync.Mutex
	now  *capture // of the test that runs
	stop context.CancelFunc
	done chan error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if shared.src != nil {
		stuck := time.AfterFunc(2*time.Minute, func() {
			_ = pprof.Lookup("goroutine").WriteTo(os.Stderr, 1)
			os.Exit(3)
		})
		defer stuck.Stop()
		shared.stop()
		if err := errors.Join(<-shared.done, shared.src.Close()); err != nil {
			println("close: " + err.Error())
			code = 1
		}
	}
	os.Exit(code)
}

// open opens a source that sees this process too.
func open(t *testing.T, o Options) *Source {
	t.Helper()
	if err := privileged(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("this test loads eBPF programs: %v", err)
		}
		t.Skipf("SKIPPED, NOT TESTED: this test loads eBPF programs: %v", err)
	}
	o.Mode = modeUnderTest
	s, err := Open(o)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	must(t, s.objs.Include(uint32(os.Getpid())))
	return s
}

// start captures kinds until the test ends.
func start(t *testing.T, o Options, kinds ...uint16) *capture {
	t.Helper()
	c := &capture{more: make(chan struct{}, 1)}
	if o != (Options{}) {
		c.Source = open(t, o)
		must(t, c.SetKinds(kinds))
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- c.Read(ctx, c.add, func() {}) }()
		t.Cleanup(func() {
			cancel()
			must(t, errors.Join(<-done, c.Close()))
		})
		return c
	}
	if shared.src == nil {
		shared.src = open(t, o)
		var ctx context.Context
		ctx, shared.stop = context.WithCancel(context.Background())
		shared.done = make(chan error, 1)
		go func() {
			shared.done <- shared.src.Read(ctx, func(raw []byte) {
				shared.mu.Lock()
				defer shared.mu.Unlock()
				if shared.now != nil {
					shared.now.add(raw)
				}
			}, func() {})
		}()
	}
	c.Source = shared.src
	shared.mu.Lock()
	shared.now = c
	shared.mu.Unlock()
	must(t, c.SetKinds(kinds))
	t.Cleanup(func() {
		shared.mu.Lock()
		shared.now = nil
		shared.mu.Unlock()
		must(t, errors.Join(c.SetEnv(false), c.SetThreads(false), c.SetFolding(0, nil), c.SetMutes(bpf.Mutes{})))
	})
	return c
}

// find waits for a record for which ok holds.
func (c *capture) find(t *testing.T, what string, ok func(*bpf.Record) bool) *bpf.Record {
	t.Helper()
	deadline := time.After(20 * time.Second)
	seen := 0
	for {
		c.mu.Lock()
		for ; seen < len(c.recs); seen++ {
			if r := c.recs[seen]; ok(&r) {
				c.mu.Unlock()
				return &r
			}
		}
		c.mu.Unlock()
		select {
		case <-c.more:
		case <-deadline:
			t.Fatalf("no record: %s (%d others)", what, seen)
		}
	}
}
