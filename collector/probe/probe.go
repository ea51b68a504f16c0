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
	// FlushInterval is how long a busy reader rests before it looks for more records; 0 means 5 ms.
	FlushInterval time.Duration
}

// Source is a running capture. Read and Close may be called from different
// goroutines; the switches are safe for concurrent use with both.
type Source struct {
	objs   *bpf.Objects
	reader *ringbuf.Reader
	report Report
	flush  time.Duration
	rec    ringbuf.Record // of Read
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

// A reader that found no record for quietAfter sleeps until the kernel wakes it for the next one, at most sleepFor: it is woken late
// if a record was on its way when it said that it sleeps.
const (
	quietAfter = 20 * time.Millisecond
	sleepFor   = 100 * time.Millisecond
)

// Read calls record for each record, in order, and idle when there are none for the
// moment, at least once in sleepFor. A record is valid during the call. When ctx ends it
// reads what is there, for at most a second, and returns nil; so it does when Close is called.
func (s *Source) Read(ctx context.Context, record func(raw []byte), idle func()) error {
	var until time.Time
	latest := time.Now()
	for {
		n, err := s.drain(ctx, record)
		if errors.Is(err, ringbuf.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read ring buffer: %w", err)
		}
		idle()
		now := time.Now()
		if n > 0 {
			latest = now
		}
		switch {
		case ctx.Err() != nil && until.IsZero():
			until = now.Add(drainFor)
		case ctx.Err() != nil && (n == 0 || now.After(until)): // nothing was left, or it would not end
			return nil
		case ctx.Err() != nil:
		case now.Sub(latest) < quietAfter:
			time.Sleep(s.flush) // what comes meanwhile is read in one go
		default:
			woken, err := s.sleep(ctx, record)
			if err != nil {
				return err
			}
			if woken {
				latest = time.Now()
			}
		}
	}
}

// drain reads the records that are there, and returns how many those were.
func (s *Source) drain(ctx context.Context, record func(raw []byte)) (n int, err error) {
	s.reader.SetDeadline(past)
	for err = s.reader.ReadInto(&s.rec); err == nil; err = s.reader.ReadInto(&s.rec) {
		record(s.rec.RawSample)
		if n++; s.rec.Remaining == 0 || n%1024 == 0 && ctx.Err() != nil {
			return n, nil
		}
	}
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, ringbuf.ErrFlushed) {
		err = nil
	}
	return n, err
}

// past is a deadline that lets a reader look and not wait.
var past = time.Unix(1, 0)

// sleep waits for a record, hands it over, and tells whether one came.
func (s *Source) sleep(ctx context.Context, record func(raw []byte)) (woken bool, err error) {
	if err := s.objs.SetSleeping(true); err != nil {
		return false, err
	}
	n, err := s.drain(ctx, record) // what came before the kernel was told
	if n == 0 && err == nil {
		s.reader.SetDeadline(time.Now().Add(sleepFor))
		if err = s.reader.ReadInto(&s.rec); err == nil {
			record(s.rec.RawSample)
			n++
		}
	}
	switch {
	case err == nil, errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, ringbuf.ErrFlushed), errors.Is(err, ringbuf.ErrClosed): // Read finds it closed
		return n > 0, s.objs.SetSleeping(false)
	default:
		return n > 0, fmt.Errorf("read ring buffer: %w", err)
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
