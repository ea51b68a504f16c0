package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/collector/decode"
	"github.com/gyre-sec/gyre/collector/policy"
	"github.com/gyre-sec/gyre/collector/probe"
	"github.com/gyre-sec/gyre/collector/probe/vm"
	"github.com/gyre-sec/gyre/schemas/eventv1"
)

const guestRounds = 2

// guest measures in a virtual machine whose clock counts instructions.
func guest(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "gyre-overhead-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	program := filepath.Join(dir, "overhead")
	build := exec.CommandContext(ctx, "go", "build", "-o", program, "./gyre/bench/overhead")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build for the virtual machine: %w: %s", err, out)
	}
	var script strings.Builder
	for _, mode := range []string{"trampoline", "tracepoint"} {
		fmt.Fprintf(&script, "/overhead inside %s\n", mode)
	}
	out, err := vm.Guest{Files: map[string]string{"overhead": program}, Script: script.String(), CPUs: 1, Count: true}.Run(ctx)
	if err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	modes := map[string]map[string]*series{}
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if len(f) != 5 || f[0] != "RESULT" {
			continue
		}
		cost, err := strconv.ParseFloat(f[4], 64)
		if err != nil {
			return err
		}
		if modes[f[1]] == nil {
			modes[f[1]] = map[string]*series{}
		}
		s := modes[f[1]][f[2]]
		if s == nil {
			s = &series{}
			modes[f[1]][f[2]] = s
		}
		if f[3] == "with" {
			s.with = append(s.with, cost)
		} else {
			s.without = append(s.without, cost)
		}
	}
	if len(modes) == 0 {
		return fmt.Errorf("the virtual machine told nothing\n%s", out)
	}
	for _, mode := range []string{"trampoline", "tracepoint"} {
		report("Debian's 6.1 kernel, "+mode+" mode: instructions per iteration, medians of "+strconv.Itoa(guestRounds)+" rounds", "instructions", modes[mode])
	}
	return nil
}

// inside runs in the virtual machine: the loops with and without capture, in turns.
func inside(mode string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if err := os.WriteFile("/etc/passwd", []byte(strings.Repeat("x", 100)), 0o644); err != nil {
		return err
	}
	for range guestRounds {
		for _, how := range []string{"without", "with"} {
			var c *exec.Cmd
			if how == "with" {
				c = exec.Command(self, "capture", mode)
				c.Stderr = os.Stderr
				ready, err := c.StdoutPipe()
				if err != nil {
					return err
				}
				if err := c.Start(); err != nil {
					return err
				}
				if _, err := ready.Read(make([]byte, 1)); err != nil {
					return fmt.Errorf("capture did not start: %w", err)
				}
			}
			for _, l := range loops() {
				out, err := exec.Command(self, "work", l.name, strconv.Itoa(l.guest)).CombinedOutput()
				if err != nil {
					return fmt.Errorf("%s: %w: %s", l.name, err, out)
				}
				fmt.Printf("RESULT %s %s %s %s\n", mode, l.name, how, strings.TrimSpace(string(out)))
			}
			if c != nil {
				if err := errors.Join(c.Process.Signal(os.Interrupt), c.Wait()); err != nil {
					return fmt.Errorf("capture: %w", err)
				}
			}
		}
	}
	return nil
}

// captureChild captures what a collector does by default and decodes it.
func captureChild(mode string) error {
	src, err := probe.Open(probe.Options{Mode: mode})
	if err != nil {
		return err
	}
	p := policy.Default()
	var kinds []uint16
	for _, k := range p.Selected() {
		kinds = append(kinds, uint16(k))
	}
	if err := src.SetKinds(kinds); err != nil {
		return err
	}
	ctx, stop := interrupted()
	defer stop()
	dec := decode.New()
	var failed error
	fmt.Println("ready")
	err = src.Read(ctx, func(raw []byte) {
		if _, err := dec.Decode(raw); err != nil && failed == nil {
			failed = err
		}
	}, func() {})
	return errors.Join(err, failed, src.Close())
}

// countEvents counts what is on the stream.
func countEvents(ctx context.Context, b *bus.Bus) (int, error) {
	st, err := b.Status(ctx)
	if err != nil {
		return 0, err
	}
	var last uint64
	for _, s := range st {
		if s.Name == bus.StreamEvents {
			last = s.Messages
		}
	}
	if last == 0 {
		return 0, nil
	}
	enough := errors.New("enough")
	n, seen := 0, uint64(0)
	dec := eventv1.NewDecoder()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	err = b.Tail(ctx, bus.TailConfig{Stream: bus.StreamEvents, Seq: 1}, func(m bus.Stored) error {
		var batch eventv1.Batch
		if err := dec.Decode(m.Data, &batch); err != nil {
			return err
		}
		n += batch.Count
		if seen++; seen == last {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) {
		return n, fmt.Errorf("read EVENTS: %w", err)
	}
	return n, nil
}
