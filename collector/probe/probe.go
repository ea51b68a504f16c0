// Package probe is the source of events on a live kernel: it checks what the kernel
// can do, loads and attaches the programs of module bpf, and reads their records.
//
// Apart from bpf it is the only package that knows cilium/ebpf.
package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"github.com/gyre-sec/gyre/bpf"
)

// Options say what to see and how. The zero value of each has a good default.
type Options struct {
	// Mode is "auto", "trampoline" or "tracepoint"; "" means auto.
	Mode string
	// RingBufferBytes is rounded up to a power of two; 0 means 8 MiB.
	RingBufferBytes int
	// FlushInterval is after how long the reader looks by itself for records that did not wake it; 0 means 5 ms.
	FlushInterval time.Duration
}

// Source is a running capture. Read and Close may be called from different
// goroutines; the switches are safe for concurrent use with both.
type Source struct {
	objs   *bpf.Objects
	reader *ringbuf.Reader
	report Report
	flush  time.Duration
}

// Open loads and attaches the programs; every kind is off until [Source.SetKinds]. The process itself is excluded.
func Open(o Options) (*Source, error) {
	report, err := Detect()
	if err != nil {
		return nil, err
	}
	mode := report.Mode
	switch o.Mode {
	case "", "auto":
	case string(bpf.Tracepoint):
		mode = bpf.Tracepoint
	case string(bpf.Trampoline):
		if report.Trampoline != nil {
			return nil, &Problem{fmt.Errorf("%w: %s: %w", ErrMode, o.Mode, report.Trampoline), "use mode auto, which falls back to tracepoint"}
		}
	default:
		return nil, &Problem{fmt.Errorf("%w: %q", ErrMode, o.Mode), "use auto, trampoline or tracepoint"}
	}
	report.Mode = mode
	objs, err := bpf.Load(bpf.Options{Mode: mode, RingBufferBytes: ringSize(o.RingBufferBytes)})
	if err != nil {
		return nil, loadProblem(err)
	}
	report.Missing = objs.Missing
	s := &Source{objs: objs, report: report, flush: o.FlushInterval}
	if s.flush <= 0 {
		s.flush = 5 * time.Millisecond
	}
	if err := s.start(); err != nil {
		return nil, errors.Join(err, objs.Close())
	}
	return s, nil
}

func (s *Source) start() error {
	if err := s.Exclude(uint32(os.Getpid()), false); err != nil {
		return err
	}
	var err error
	if s.reader, err = ringbuf.NewReader(s.objs.Events()); err != nil {
		return fmt.Errorf("open ring buffer: %w", err)
	}
	if err := s.objs.Attach(); err != nil {
		return errors.Join(loadProblem(err), s.reader.Close())
	}
	return nil
}

// loadProblem tells missing privilege (EPERM) from what the verifier does not accept (EACCES).
func loadProblem(err error) error {
	if errors.Is(err, unix.EPERM) {
		return &Problem{fmt.Errorf("%w: %w", ErrPrivilege, err), "run as root; in a container also give CAP_BPF and CAP_PERFMON and a seccomp profile that allows bpf(2)"}
	}
	return err
}

// ringSize rounds up to a power of two of at least one page.
func ringSize(n int) uint32 {
	if n <= 0 {
		return 0
	}
	size := uint32(os.Getpagesize())
	for int64(size) < int64(n) && size < 1<<30 {
		size <<= 1
	}
	return size
}

// Report says what the kernel can do and which mode is in use.
func (s *Source) Report() Report { return s.report }

// Mode is the attach mode in use.
func (s *Source) Mode() string { return string(s.report.Mode) }

// SetKinds switches on the events of these kinds and all others off.
func (s *Source) SetKinds(kinds []uint16) error { return s.objs.SetKinds(kinds) }

// SetThreads switches events for new threads on or off.
func (s *Source) SetThreads(on bool) error { return s.objs.SetThreads(on) }

// SetEnv switches reading of the environment of new programs on or off.
func (s *Source) SetEnv(on bool) error { return s.objs.SetEnv(on) }

// SetFolding folds identical opens of these kinds within a window; 0 ends it.
func (s *Source) SetFolding(window time.Duration, kinds []uint16) error {
	return s.objs.SetFolding(uint64(window), kinds)
}

// SetMutes replaces the mute lists.
func (s *Source) SetMutes(m bpf.Mutes) error { return s.objs.SetMutes(m) }

// MuteProcess puts a running process onto the mute list, or takes it off.
func (s *Source) MuteProcess(tgid uint32, on bool) error { return s.objs.MuteProcess(tgid, on) }

// Exclude makes the kernel side pass over a process and, if children is set, what it starts from now on.
func (s *Source) Exclude(tgid uint32, children bool) error { return s.objs.Exclude(tgid, children) }

// Counters sums what the kernel side sent and lost, per kind, since Open.
func (s *Source) Counters() (bpf.Counters, error) { return s.objs.Counters() }

// Seed calls fn with a record for each process that runs. Call it after Open, so that none is missed between the two. The record is valid during the call.
func (s *Source) Seed(fn func(raw []byte) error) error {
	it, err := link.AttachIter(link.IterOptions{Program: s.objs.Seed()})
	if err != nil {
		return fmt.Errorf("attach process iterator: %w", err)
	}
	defer func() { _ = it.Close() }()
	r, err := it.Open()
	if err != nil {
		return fmt.Errorf("open process iterator: %w", err)
	}
	defer func() { _ = r.Close() }()
	all, err := io.ReadAll(r)
	if err != nil {
		return fmt.Errorf("read process iterator: %w", err)
	}
	for len(all) > 0 {
		rec, err := bpf.ParseRecord(all)
		if err != nil {
			return fmt.Errorf("read process iterator: %w", err)
		}
		if err := fn(all[:rec.Size]); err != nil {
			return err
		}
		all = all[rec.Size:]
	}
	return nil
}

// drainFor bounds how long Read goes on with what is in the ring buffer after its context has ended.
const drainFor = time.Second

// Read calls record for each record, in order, and idle when there are none for the
// moment, at least once in a flush interval. A record is valid during the call. When ctx ends it
// reads what is there, for at most a second, and returns nil; so it does when Close is called.
func (s *Source) Read(ctx context.Context, record func(raw []byte), idle func()) error {
	var rec ringbuf.Record
	var until time.Time
	for {
		s.reader.SetDeadline(time.Now().Add(s.flush))
		err := s.reader.ReadInto(&rec)
		for n := 1; err == nil; n++ {
			record(rec.RawSample)
			if rec.Remaining == 0 {
				idle()
			}
			if n%1024 == 0 && ctx.Err() != nil {
				break
			}
			err = s.reader.ReadInto(&rec)
		}
		switch {
		case err == nil, errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, ringbuf.ErrFlushed):
			idle()
		case errors.Is(err, ringbuf.ErrClosed):
			return nil
		default:
			return fmt.Errorf("read ring buffer: %w", err)
		}
		if ctx.Err() == nil {
			continue
		}
		if until.IsZero() {
			until = time.Now().Add(drainFor)
		}
		if err != nil || time.Now().After(until) { // nothing was left, or it would not end
			return nil
		}
	}
}

// Close detaches everything; a running Read returns.
func (s *Source) Close() error {
	err := s.reader.Close()
	if errors.Is(err, os.ErrClosed) { // by the end of Read
		err = nil
	}
	return errors.Join(err, s.objs.Close())
}
