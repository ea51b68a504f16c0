package collector

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/gyre-sec/gyre/bpf"
	"github.com/gyre-sec/gyre/collector/probe"
	"github.com/gyre-sec/gyre/collector/replay"
	"github.com/gyre-sec/gyre/schemas/eventv1"
)

// Source delivers raw records in the form of bpf/include/event.h.
type Source interface {
	// Mode is how events are captured: trampoline, tracepoint or recorded.
	Mode() string
	// Seed calls fn with a record for each process that was running already, and its command line: arguments that
	// each end with a zero byte.
	Seed(fn func(raw, cmdline []byte) error) error
	// Read calls record for each record in order, and idle when there is none for the moment, at least every few
	// milliseconds. Both run on the caller's goroutine. It returns nil when ctx ends or the source does.
	Read(ctx context.Context, record func(raw []byte), idle func()) error
	// Counters sums what was sent and lost since the start, per kind.
	Counters() (bpf.Counters, error)
	Close() error
}

// Open opens the source that the configuration names.
func Open(cfg Config) (Source, error) {
	if file, ok := strings.CutPrefix(cfg.Source, recordedPrefix); ok {
		return replay.Open(file, replay.Options{Speed: cfg.ReplaySpeed})
	}
	p, err := probe.Open(probe.Options{Mode: cfg.Mode, RingBufferBytes: int(cfg.RingBuffer)})
	if err != nil {
		return nil, err
	}
	for _, pid := range cfg.ExcludePIDs {
		if err := p.Exclude(pid, true); err != nil {
			_ = p.Close() // the first error is the one to tell
			return nil, fmt.Errorf("set up capture: %w", err)
		}
	}
	return &Live{p}, nil
}

func numbers(kinds []eventv1.Kind) []uint16 {
	out := make([]uint16, len(kinds))
	for i, k := range kinds {
		out[i] = uint16(k)
	}
	return out
}

// Live is the source on the running kernel.
type Live struct{ *probe.Source }

// Seed adds the command lines, which the kernel side cannot read from other processes' memory.
func (l *Live) Seed(fn func(raw, cmdline []byte) error) error {
	return l.Source.Seed(func(raw []byte) error {
		rec, err := bpf.ParseRecord(raw)
		if err != nil {
			return err
		}
		cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", rec.TGID))
		if err != nil {
			cmdline = nil // it has ended, and the events say so
		}
		return fn(raw, cmdline[:min(len(cmdline), maxCmdline)])
	})
}

const maxCmdline = 16 << 10

var (
	_ Source = (*Live)(nil)
	_ Source = (*replay.Source)(nil)
)
