// Package daemon is the shell of a process: signals, start and stop, configuration, logs, metrics, readiness and the
// admin server. It knows nothing about events, NATS or ClickHouse.
//
// [Main] is the whole of it for a program without flags of its own. A program that parses flags first uses the pieces:
// [Load] fills its configuration, [NewLog] makes its logger, [New] and [Daemon.Serve] run it; [Daemon.Run] is the same
// without signals, [SignalContext] the signals alone.
//
// What is started later depends on what was started earlier, so everything stops in reverse order: a loop of
// [Daemon.Go] is told to end and waited for, a function of [Daemon.OnStop] is called and waited for, one after the
// other, each bounded in time. One that takes too long is named in the error and left behind.
//
// All methods of [Daemon] may be called from several goroutines. The package has no variables that change, and it
// does not daemonize, drop privileges or write pid files.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

var (
	// ErrStopTimeout is wrapped by the error about a part that did not stop in time.
	ErrStopTimeout = errors.New("stop took too long")
	// ErrNotRunning is wrapped by the error about a loop that was started before Run or during the stop.
	ErrNotRunning = errors.New("daemon is not running")
)

// Options are the settings of a [Daemon]. The zero value works.
type Options struct {
	Name        string
	Log         *slog.Logger         // Log defaults to [NewLog] on standard error.
	Registry    *prometheus.Registry // Registry defaults to [NewRegistry].
	StopTimeout time.Duration        // StopTimeout bounds the stop of each part. Default 5s.
	Admin       AdminConfig          // Admin is served if it has an address.
	// Config writes the effective configuration for /debug/config; usually a call of [Print]. Nil leaves it out.
	Config func(io.Writer) error
}

// Daemon is one running program.
type Daemon struct {
	Log     *slog.Logger
	Metrics prometheus.Registerer

	name      string
	timeout   time.Duration
	readiness *Readiness
	admin     *Admin // nil without an address

	mu       sync.Mutex
	base     context.Context // values for the contexts of the parts; set by Run
	stopping bool
	parts    []*part
	reloads  []reload
	failed   chan error    // the first failure of a loop
	ask      chan struct{} // closed by Stop
	asked    sync.Once
}

// part is something to stop.
type part struct {
	name string
	stop func(context.Context) error
}

type reload struct {
	name string
	fn   func(context.Context) error
}

// New returns a daemon that has started nothing yet.
func New(o Options) *Daemon {
	if o.Log == nil {
		o.Log, _ = NewLog(os.Stderr, LogConfig{})
	}
	if o.Registry == nil {
		o.Registry = NewRegistry()
	}
	if o.StopTimeout <= 0 {
		o.StopTimeout = 5 * time.Second
	}
	d := &Daemon{
		Log:       o.Log,
		Metrics:   o.Registry,
		name:      o.Name,
		timeout:   o.StopTimeout,
		readiness: newReadiness(),
		failed:    make(chan error, 1),
		ask:       make(chan struct{}),
	}
	if o.Admin.Addr != "" {
		d.admin = NewAdmin(o.Admin, AdminOptions{Gatherer: o.Registry, Ready: d.readiness, Config: o.Config, Log: o.Log.With(KeyComponent, "admin")})
	}
	return d
}

// Main runs a program from start to end with signals and returns its exit code. Errors are printed with their hints.
func Main(name string, setup func(context.Context, *Daemon) error) int {
	err := New(Options{Name: name}).Serve(context.Background(), setup)
	if err != nil {
		PrintError(os.Stderr, err)
		return 1
	}
	return 0
}

// Serve is [Daemon.Run] with signals: see [SignalContext]. SIGHUP calls the functions of [Daemon.OnReload], and stops
// the program when there are none.
func (d *Daemon) Serve(ctx context.Context, setup func(context.Context, *Daemon) error) error {
	ctx, release := SignalContext(ctx, d.Log, d.hangup)
	defer release()
	return d.Run(ctx, setup)
}

// Run serves the admin address, calls setup, which starts the parts of the program and returns, and waits until ctx
// ends, a loop fails or [Daemon.Stop] is called. Then it stops everything in reverse order. It returns nil after a
// clean stop. When setup fails, what it had started is stopped. A daemon runs once.
func (d *Daemon) Run(ctx context.Context, setup func(context.Context, *Daemon) error) error {
	d.mu.Lock()
	d.base = context.WithoutCancel(ctx) // parts end one after the other, not all at once with ctx
	d.mu.Unlock()
	err := d.start(ctx, setup)
	if err == nil {
		d.readiness.setPhase("")
		select {
		case <-ctx.Done():
			d.Log.Info("stopping", KeyReason, context.Cause(ctx).Error())
		case <-d.ask:
			d.Log.Info("stopping", KeyReason, "asked to")
		case err = <-d.failed:
			d.Log.Info("stopping", KeyReason, "a part failed")
		}
	} else if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		err = nil // a start that was interrupted on request did not fail
	}
	d.readiness.setPhase("stopping")
	stopErr := d.stopAll(context.WithoutCancel(ctx))
	select {
	case late := <-d.failed: // a loop that failed while others were stopped, or together with the first
		return errors.Join(err, late, stopErr)
	default:
		return errors.Join(err, stopErr)
	}
}

func (d *Daemon) start(ctx context.Context, setup func(context.Context, *Daemon) error) error {
	if d.admin != nil {
		if _, err := d.admin.Listen(ctx); err != nil {
			return err
		}
		d.Go("admin", d.admin.Run)
	}
	return setup(ctx, d)
}

// Stop makes [Daemon.Run] stop everything and return. It does not wait.
func (d *Daemon) Stop() { d.asked.Do(func() { close(d.ask) }) }

// AdminAddr is the address the admin server listens on, or "".
func (d *Daemon) AdminAddr() string {
	if d.admin == nil {
		return ""
	}
	return d.admin.Addr()
}

// Go runs a loop in a goroutine until its turn to stop comes; then its context ends. A loop that fails stops the
// daemon, and the error carries its name; one that returns nil is done. It may be called from setup and later.
func (d *Daemon) Go(name string, loop func(context.Context) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopping || d.base == nil {
		d.fail(fmt.Errorf("run %s: %w", name, ErrNotRunning))
		return
	}
	ctx, cancel := context.WithCancel(d.base)
	done := make(chan error, 1)
	go func() {
		err := loop(ctx)
		if err != nil && ctx.Err() == nil {
			d.fail(fmt.Errorf("run %s: %w", name, err))
			err = nil // reported once
		}
		if errors.Is(err, context.Canceled) {
			err = nil
		}
		done <- err
	}()
	d.parts = append(d.parts, &part{name, func(ctx context.Context) error {
		cancel()
		select {
		case err := <-done:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}})
}

// fail keeps the first failure.
func (d *Daemon) fail(err error) {
	select {
	case d.failed <- err:
	default:
	}
}

// OnStop registers a function for the stop. Its context ends when its time is over.
func (d *Daemon) OnStop(name string, stop func(context.Context) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.parts = append(d.parts, &part{name, stop})
}

// OnReload registers a function for SIGHUP and [Daemon.Reload]. It must leave the old state in place when it fails.
func (d *Daemon) OnReload(name string, fn func(context.Context) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.reloads = append(d.reloads, reload{name, fn})
}

// Ready registers a readiness check for /readyz. It is called for every request and must not block.
func (d *Daemon) Ready(name string, check func() error) { d.readiness.Add(name, check) }

// Reload calls the functions of [Daemon.OnReload] in order and returns their errors.
func (d *Daemon) Reload(ctx context.Context) error {
	d.mu.Lock()
	reloads := append([]reload(nil), d.reloads...)
	d.mu.Unlock()
	var errs []error
	for _, r := range reloads {
		if err := r.fn(ctx); err != nil {
			errs = append(errs, fmt.Errorf("reload %s: %w", r.name, err))
		}
	}
	return errors.Join(errs...)
}

// hangup answers SIGHUP.
func (d *Daemon) hangup(ctx context.Context) {
	d.mu.Lock()
	none := len(d.reloads) == 0
	d.mu.Unlock()
	if none {
		d.Stop()
		return
	}
	if err := d.Reload(ctx); err != nil {
		d.Log.Error("reload failed", KeyErr, err)
		return
	}
	d.Log.Info("reloaded")
}

// stopAll stops the parts, the last one first, including those registered meanwhile.
func (d *Daemon) stopAll(ctx context.Context) error {
	var errs []error
	for {
		d.mu.Lock()
		d.stopping = true
		n := len(d.parts)
		if n == 0 {
			d.mu.Unlock()
			return errors.Join(errs...)
		}
		p := d.parts[n-1]
		d.parts = d.parts[:n-1]
		d.mu.Unlock()
		if err := d.stopOne(ctx, p); err != nil {
			errs = append(errs, fmt.Errorf("stop %s: %w", p.name, err))
		}
	}
}

func (d *Daemon) stopOne(ctx context.Context, p *part) error {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	begin := time.Now()
	done := make(chan error, 1)
	go func() { done <- p.stop(ctx) }() // left behind only after the timeout, and named in the error
	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	d.Log.Debug("part stopped", KeyPart, p.name, KeyTook, time.Since(begin))
	if err != nil && ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return fmt.Errorf("%w: not done after %s", ErrStopTimeout, d.timeout)
	}
	return err
}
