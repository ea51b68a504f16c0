// Command mix records this machine at work, as enriched batches, for benchmarks that need a realistic mix of events.
//
// It captures what work.sh does, and nothing else of the machine: events of other processes are left out, and the
// processes above it are replaced by a login. It needs root, gcc, make, git, curl, python3 and sqlite3. From the root of
// the repository:
//
//	go run ./gyre/bench/mix evaluator/testdata/mix.batches.gz
package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/bus/embedded"
	"github.com/gyre-sec/gyre/collector"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/enricher"
	"github.com/gyre-sec/gyre/schemas/eventv1"
)

//go:embed work.sh
var script []byte

// workDir is where the work is done: its name is in the recording.
const workDir = "/srv/mix"

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: mix FILE")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1]); err != nil {
		daemon.PrintError(os.Stderr, err)
		os.Exit(1)
	}
}

// run captures until all events of the work have come through, and writes them to a file.
func run(ctx context.Context, out string) error {
	dir, err := os.MkdirTemp("", "gyre-mix-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	b, c, wait, err := pipeline(ctx, dir, log)
	if err != nil {
		return err
	}
	cut := newCutter()
	tailed := make(chan error, 1)
	enough, done := context.WithCancel(ctx)
	go func() {
		tailed <- b.Tail(enough, bus.TailConfig{Stream: bus.StreamEnriched, Seq: 1}, func(m bus.Stored) error { return cut.take(m.Data) })
	}()
	for deadline := time.Now().Add(time.Minute); c.Ready() != nil; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			done()
			return errors.New("capture did not start within a minute")
		}
	}
	pid, err := work(ctx, dir)
	if err != nil {
		done()
		return err
	}
	for deadline := time.Now().Add(time.Minute); !cut.ended(pid); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			done()
			return errors.New("the end of the work was not captured within a minute")
		}
	}
	done()
	if err := <-tailed; err != nil && enough.Err() == nil {
		return err
	}
	n, size, err := cut.write(out, pid)
	if err != nil {
		return err
	}
	fmt.Printf("%d events in %d bytes\n", n, size)
	for k, x := range cut.kinds {
		if x > 0 {
			fmt.Printf("  %6d %s\n", x, eventv1.Kind(k))
		}
	}
	cancel()
	return wait()
}

// pipeline runs NATS, collector and enricher until ctx ends.
func pipeline(ctx context.Context, dir string, log *slog.Logger) (*bus.Bus, *collector.Collector, func() error, error) {
	reg := prometheus.NewRegistry()
	cfg := embedded.DefaultConfig()
	cfg.Dir = filepath.Join(dir, "nats")
	srv, err := embedded.Start(cfg, log)
	if err != nil {
		return nil, nil, nil, err
	}
	b, err := bus.ConnectInProcess(ctx, srv, bus.DefaultConfig(), log, reg)
	if err == nil {
		err = b.Ensure(ctx)
	}
	if err != nil {
		srv.Stop()
		return nil, nil, nil, err
	}
	ccfg := collector.DefaultConfig()
	ccfg.ExcludePIDs, ccfg.RingBuffer, ccfg.Node = nil, 64*daemon.MiB, "mix"
	src, err := collector.Open(ccfg)
	if err != nil {
		return nil, nil, nil, err
	}
	c, err := collector.New(ccfg, src, b, log, reg)
	if err != nil {
		return nil, nil, nil, errors.Join(err, src.Close())
	}
	en, err := enricher.New(enricher.DefaultConfig(), b, log, reg)
	if err != nil {
		return nil, nil, nil, err
	}
	ended := make(chan error, 2)
	go func() { ended <- c.Run(ctx) }()
	go func() { ended <- en.Run(ctx) }()
	return b, c, func() error {
		err := errors.Join(<-ended, <-ended)
		b.Close()
		srv.Stop()
		return err
	}, nil
}

// work runs the script in a plain environment, as a process of its own session, and returns its pid.
func work(ctx context.Context, dir string) (uint32, error) {
	file := filepath.Join(dir, "work.sh")
	if err := os.WriteFile(file, script, 0o755); err != nil {
		return 0, err
	}
	defer func() { _ = os.RemoveAll(workDir) }()
	// The script comes from standard input, so that its place is not recorded.
	in, err := os.Open(file)
	if err != nil {
		return 0, err
	}
	defer func() { _ = in.Close() }()
	cmd := exec.CommandContext(ctx, "setsid", "sh", "-s", workDir)
	cmd.Dir, cmd.Stdin, cmd.Stderr = "/", in, os.Stderr
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + workDir + "/home", "LANG=C.UTF-8", "USER=root", "SHELL=/bin/bash"}
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("start the work: %w", err)
	}
	if err := cmd.Wait(); err != nil {
		return 0, fmt.Errorf("the work: %w", err)
	}
	return uint32(cmd.Process.Pid), nil
}
