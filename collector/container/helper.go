package container

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// The variables that make a program with [HelperMain] a helper.
const (
	envHelper = "GYRE_CONTAINER_HELPER"
	envConfig = "GYRE_CONTAINER_HELPER_CONFIG"
)

// What a helper process does: the supervisor starts the worker again when it ends, which the collector cannot, because
// it has given up the right to start programs.
const (
	roleSupervisor = "supervisor"
	roleWorker     = "worker"
)

// maxLine bounds a message between collector and helper, in bytes.
const maxLine = 2 << 20

// line is a message of the worker.
type line struct {
	Fact
	// Hello is the first message of a worker: it knows nothing yet.
	Hello bool `json:"hello,omitempty"`
}

// HelperMain is the whole program if this process was started as a helper: it returns its exit code and true. The
// main functions of programs that use [StartHelper] call it first. drop gives up privileges, of the supervisor or of a worker.
func HelperMain(drop func(supervisor bool) error) (code int, is bool) {
	role := os.Getenv(envHelper)
	if role == "" {
		return 0, false
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil)).With("component", "containers")
	// The end of the collector ends the helper, by the end of its input: signals to the group of both would lose the last facts.
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	var err error
	switch role {
	case roleSupervisor:
		if err = drop(true); err == nil {
			err = supervise(log)
		}
	case roleWorker:
		if err = drop(false); err == nil {
			err = work(log, os.Stdin, os.Stdout)
		}
	default:
		err = fmt.Errorf("%s is %q, want %s or %s", envHelper, role, roleSupervisor, roleWorker)
	}
	if err != nil {
		log.Error("helper ended", "err", err)
		return 1, true
	}
	return 0, true
}

// supervise runs workers until one ends well, which is when the collector has ended.
func supervise(log *slog.Logger) error {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 30*time.Second) {
		cmd := exec.Command("/proc/self/exe")
		cmd.Args[0] = "gyre-containers"
		cmd.Env = append(os.Environ(), envHelper+"="+roleWorker)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		begin := time.Now()
		err := cmd.Run()
		if err == nil {
			return nil
		}
		log.Warn("worker ended and is started again", "err", err)
		if time.Since(begin) > time.Minute {
			wait = 100 * time.Millisecond
		}
		time.Sleep(wait)
	}
}

// work serves the collector at the other end of in and out until in ends.
func work(log *slog.Logger, in io.Reader, out io.Writer) error {
	var cfg Config
	if err := json.Unmarshal([]byte(os.Getenv(envConfig)), &cfg); err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var mu sync.Mutex
	enc := json.NewEncoder(out)
	send := func(l line) {
		mu.Lock()
		defer mu.Unlock()
		if enc.Encode(l) != nil {
			cancel() // the collector has ended
		}
	}
	send(line{Hello: true})
	w := New(cfg, log, func(f Fact) { send(line{Fact: f}) })
	var wg sync.WaitGroup
	wg.Go(func() { w.Run(ctx) })
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		var a Ask
		if json.Unmarshal(lines.Bytes(), &a) == nil && a.ID != "" {
			w.Notice(ctx, a)
		}
	}
	cancel()
	wg.Wait()
	return nil
}

// Helper is a [Watcher] in a process of its own.
type Helper struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out io.ReadCloser
	log *slog.Logger
}

// StartHelper starts this program again as a helper. Close or [Helper.Run] ends it.
func StartHelper(cfg Config, log *slog.Logger) (*Helper, error) {
	data, err := json.Marshal(cfg)
	if err != nil {
		return nil, fmt.Errorf("start helper for containers: %w", err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Args[0] = "gyre-containers"
	cmd.Env = []string{envHelper + "=" + roleSupervisor, envConfig + "=" + string(data), "GOMAXPROCS=2", "GOMEMLIMIT=64MiB"}
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start helper for containers: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start helper for containers: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start helper for containers: %w", err)
	}
	return &Helper{cmd: cmd, in: in, out: out, log: log}, nil
}

// PID is the helper's process.
func (h *Helper) PID() int { return h.cmd.Process.Pid }

// stopTime is how long a helper may take to end.
const stopTime = 2 * time.Second

// Close ends the helper.
func (h *Helper) Close() error {
	err := h.in.Close()
	timer := time.AfterFunc(stopTime, func() { _ = h.cmd.Process.Kill() })
	defer timer.Stop()
	_, _ = io.Copy(io.Discard, h.out)
	return errors.Join(err, h.cmd.Wait())
}

// Run passes asks on and calls tell with the facts and hello when a worker begins, until ctx ends. An error means that
// the helper has ended before that.
func (h *Helper) Run(ctx context.Context, asks <-chan Ask, tell func(Fact), hello func()) error {
	var wg sync.WaitGroup
	ended := make(chan struct{})
	wg.Go(func() { // ends the reading below
		select {
		case <-ctx.Done():
		case <-ended:
		}
		_ = h.in.Close()
		timer := time.AfterFunc(stopTime, func() { _ = h.cmd.Process.Kill() })
		<-ended
		timer.Stop()
	})
	wg.Go(func() {
		enc := json.NewEncoder(h.in)
		for {
			select {
			case <-ctx.Done():
				return
			case <-ended:
				return
			case a := <-asks:
				_ = enc.Encode(a) // an error means that the helper is ending
			}
		}
	})
	lines := bufio.NewScanner(h.out)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		var l line
		switch err := json.Unmarshal(lines.Bytes(), &l); {
		case err != nil: // a worker ended in the middle of it
			h.log.Debug("message of the helper not understood", "err", err)
		case l.Hello:
			hello()
		case l.Container.ID != "":
			tell(l.Fact)
		}
	}
	err := lines.Err()
	_, _ = io.Copy(io.Discard, h.out)
	close(ended)
	wg.Wait()
	werr := h.cmd.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return errors.Join(errors.New("the helper for containers ended"), err, werr)
}
