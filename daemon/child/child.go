// Package child runs one other program as a supervised child process.
//
// [Supervise] starts the program, waits until it is ready and keeps it running: an exit that nobody asked for is
// followed by a new start after a growing delay. The output of the program goes to a logger line by line.
//
// Guarantees: the program dies with this process, whatever kills this process (see process.go for how, and for the
// programs where the kernel does not keep that promise); it has its own process group, so that a Ctrl-C on the
// terminal reaches only this process, and so that whatever the program leaves behind is killed with it; a first start
// that fails is reported, not retried.
//
// All methods of [Child] may be called from several goroutines. The package does not restrict what the program may
// do, and does not adopt programs that were already running.
package child

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/gyre-sec/gyre/daemon"
)

var (
	// ErrInvalidSpec is wrapped by the error for a [Spec] that cannot work.
	ErrInvalidSpec = errors.New("invalid child spec")
	// ErrKilled is wrapped by the error of [Child.Stop] when the program had to be killed.
	ErrKilled = errors.New("killed")
	// ErrNotReady is wrapped by the error of [Child.Ready] while the program starts, restarts or is gone.
	ErrNotReady = errors.New("not ready")
)

// Child is a supervised program. [Supervise] makes it, [Child.Stop] ends it.
type Child struct {
	spec   Spec
	log    *slog.Logger
	stop   context.CancelFunc // asks the supervisor to end
	kill   chan struct{}      // closed when waiting for an orderly exit is over
	killed sync.Once
	up     chan struct{} // closed at the first ready
	done   chan struct{} // closed when the supervisor has ended and no process is left

	mu      sync.Mutex
	state   State
	err     error // why the supervisor gave up; valid after done
	stopErr error // what Stop reports; valid after done
}

// Supervise starts the program and returns when it is ready. The context bounds only this start, as in a dial: its
// end does not stop a program that is ready, because the parts that use it usually stop before it. Use [Child.Stop]
// for that. When the program cannot be started, exits, or is not ready in time, nothing is left running and the error
// wraps an [*ExitError] if there was an exit.
func Supervise(ctx context.Context, spec Spec) (*Child, error) {
	spec, err := spec.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("start %s: %w", spec.Name, err)
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	c := &Child{
		spec: spec,
		log:  spec.Log.With(daemon.KeyChild, spec.Name),
		stop: stop,
		kill: make(chan struct{}),
		up:   make(chan struct{}),
		done: make(chan struct{}),
	}
	go c.supervise(run)
	select {
	case <-c.up:
		return c, nil
	case <-c.done:
		return nil, fmt.Errorf("start %s: %w", spec.Name, c.Err())
	case <-ctx.Done():
		c.stop()
		<-c.done
		return nil, fmt.Errorf("start %s: %w", spec.Name, ctx.Err())
	}
}

// Stop asks the program to exit, kills it when it takes longer than StopTimeout or than ctx allows, and returns when
// nothing of it is left. The error wraps [ErrKilled] when killing was needed. Stopping twice is harmless.
func (c *Child) Stop(ctx context.Context) error {
	c.stop()
	select {
	case <-c.done:
	case <-ctx.Done():
		c.killed.Do(func() { close(c.kill) })
		<-c.done
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stopErr
}

// Watch blocks until ctx ends, then returns nil, or until the supervisor gives up, then returns why. It has the shape
// of a loop for a daemon's Go; it does not stop the program.
func (c *Child) Watch(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-c.done:
		return c.Err()
	}
}

// Done is closed when the program will not be started again and nothing of it is left.
func (c *Child) Done() <-chan struct{} { return c.done }

// Err is why the supervisor gave up. It is nil while it works and after a [Child.Stop].
func (c *Child) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// State returns a snapshot.
func (c *Child) State() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

// Ready is nil while the program runs and was found ready. It has the shape of a readiness check.
func (c *Child) Ready() error {
	s := c.State()
	switch {
	case s.Phase == PhaseRunning:
		return nil
	case s.LastError != nil:
		return fmt.Errorf("%s is %s: %w: %w", c.spec.Name, s.Phase, ErrNotReady, s.LastError)
	default:
		return fmt.Errorf("%s is %s: %w", c.spec.Name, s.Phase, ErrNotReady)
	}
}

// supervise starts the program again and again until run ends, the first start fails, or the restarts are used up.
func (c *Child) supervise(run context.Context) {
	defer close(c.done)
	delay := backoff.NewExponentialBackOff()
	delay.InitialInterval, delay.MaxInterval = c.spec.Backoff.Initial, c.spec.Backoff.Max
	delay.Reset()
	for failures := 0; ; {
		readyFor, err := c.runOnce(run)
		if run.Err() != nil {
			c.update(func(s *State) { s.Phase, s.PID = PhaseStopped, 0 })
			return
		}
		if readyFor >= c.spec.Backoff.ResetAfter {
			failures = 0
			delay.Reset()
		}
		limit := c.spec.Backoff.MaxRestarts
		if !c.wasUp() || (limit > 0 && failures >= limit) {
			if c.wasUp() {
				err = fmt.Errorf("give up %s after %d restarts: %w", c.spec.Name, failures, err)
				c.log.Error("child given up", daemon.KeyErr, err)
			}
			c.giveUp(err)
			return
		}
		failures++
		wait := delay.NextBackOff()
		c.update(func(s *State) { s.Phase, s.PID, s.LastError = PhaseWaiting, 0, err })
		c.log.Warn("child restarts", daemon.KeyErr, err, daemon.KeyDelay, wait)
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
			c.update(func(s *State) { s.Restarts++ })
		case <-run.Done():
			timer.Stop()
		}
	}
}

// runOnce starts the program and returns when it is gone: how long it was ready, and why it went. After run has ended
// the cause is only in stopErr.
func (c *Child) runOnce(run context.Context) (time.Duration, error) {
	if err := run.Err(); err != nil {
		return 0, err
	}
	out := newOutput(run, c.log, c.spec.Level)
	p, err := startProcess(c.spec, out)
	if err != nil {
		return 0, err
	}
	defer out.flush()
	c.update(func(s *State) { s.Phase, s.PID, s.StartedAt = PhaseStarting, p.pid, time.Now() })
	c.log.Info("child started", daemon.KeyPID, p.pid)

	if err := c.awaitReady(run, p); err != nil {
		stopErr := p.stop(c.spec.StopSignal, c.spec.StopTimeout, c.kill)
		c.setStopErr(run, stopErr)
		return 0, c.exitError(p, out, err)
	}
	since := time.Now()
	c.update(func(s *State) { s.Phase = PhaseRunning })
	if !c.wasUp() {
		close(c.up)
	}
	c.log.Info("child ready", daemon.KeyPID, p.pid)

	select {
	case <-p.exited:
		return time.Since(since), c.exitError(p, out, nil)
	case <-run.Done():
		c.setStopErr(run, p.stop(c.spec.StopSignal, c.spec.StopTimeout, c.kill))
		c.log.Info("child stopped", daemon.KeyPID, p.pid)
		return time.Since(since), run.Err()
	}
}

// awaitReady asks for readiness until the answer is yes, the process exits, the time is over or run ends.
func (c *Child) awaitReady(run context.Context, p *process) error {
	ctx, cancel := context.WithTimeout(run, c.spec.ReadyTimeout)
	defer cancel()
	go func() { // ends with the process or with ctx, whichever is first
		select {
		case <-p.exited:
			cancel()
		case <-ctx.Done():
		}
	}()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := c.spec.Ready(ctx)
		if err == nil && ctx.Err() == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if p.gone() || run.Err() != nil || err == nil {
				return ctx.Err()
			}
			return fmt.Errorf("not ready after %s: %w", c.spec.ReadyTimeout, err)
		}
	}
}

// exitError describes the end of p. A readiness error counts only if the process did not exit by itself.
func (c *Child) exitError(p *process, out *output, notReady error) error {
	out.flush()
	e := &ExitError{Name: c.spec.Name, Err: p.waitErr, Tail: out.tail()}
	if notReady != nil && !errors.Is(notReady, context.Canceled) {
		e.Err = notReady
	}
	return e
}

func (c *Child) wasUp() bool {
	select {
	case <-c.up:
		return true
	default:
		return false
	}
}

func (c *Child) update(change func(*State)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.state)
}

func (c *Child) giveUp(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
	c.state.Phase, c.state.PID, c.state.LastError = PhaseFailed, 0, err
}

// setStopErr keeps the outcome of a stop on request; other stops are reported by their cause.
func (c *Child) setStopErr(run context.Context, err error) {
	if run.Err() == nil || err == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopErr = fmt.Errorf("stop %s: %w", c.spec.Name, err)
}
