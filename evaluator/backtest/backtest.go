// Package backtest evaluates batches of the past against one or two rule sets, and says what would have been
// alerted: how often, about what, and how it differs.
//
// Batches are decompressed, decoded and evaluated by any number of workers; what they find is put
// together by one goroutine in the order of the stream. All that depends on order (throttles of rules, batches
// that were stored twice, which examples are kept) happens there, so a range and a rule set give the same
// alerts, ids included, on any number of workers and every time. Throttles are those of a single evaluator that gets
// every batch in that order and begins with no window open.
//
// Steps of correlation rules are matched by the workers too; the windows then get the matches in the order of the times at which the
// events happened, which they have for their clock.
//
// Nothing is published, and no consumer of the pipeline is disturbed.
package backtest

import (
	"context"
	"errors"
	"fmt"
	"path"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/evaluator/ruleset"
	"github.com/gyre-sec/gyre/schemas/alertv1"
)

// Source delivers batches in order until it ends or fn returns an error. The end of ctx is no error.
type Source interface {
	Read(ctx context.Context, fn func(bus.Packed) error) error
}

// Config of a replay.
type Config struct {
	// After is the rule set that is tried; Before, if not nil, the one that it is compared with.
	After, Before *ruleset.Set
	// AllFalco lets each matching rule from Falco files count, not just the first one.
	AllFalco bool
	// Where selects events, see [Condition]; nil selects all.
	Where *ruleset.Set
	// Nodes are patterns, with * and ?, of the nodes that are evaluated; none means all.
	Nodes []string
	// Workers evaluate at once; 0 means one per CPU.
	Workers int
	// Rate bounds the events per second; 0 sets no bound.
	Rate float64
	// Sparse: numbers of messages may be missing because the source leaves some out.
	Sparse bool
	// MaxAlerts stops a replay that raises more on one side; 0 means ten million.
	MaxAlerts uint64
	// Each, if not nil, is called for each alert in the order of the stream; it must not keep the alert.
	Each func(Verdict, *alertv1.Alert) error
	// Progress, if not nil, is kept up to date.
	Progress *Progress
	// State is where an earlier replay ended; nil begins anew.
	State *State
	// Checkpoint, if not nil, is called with the state every few seconds and at the end; it must not keep the state.
	Checkpoint func(*State) error
}

// Progress of a replay. It is safe for concurrent use.
type Progress struct {
	Events, Batches, Before, After, Seq atomic.Uint64
}

// Verdict tells which rule sets raise an alert.
type Verdict uint8

// The verdicts. Without a set to compare with all alerts are New.
const (
	Same Verdict = iota
	New
	Vanished
)

// String returns same, new or vanished.
func (v Verdict) String() string { return [...]string{"same", "new", "vanished"}[v] }

// ErrTooMany ends a replay that raises more alerts than [Config.MaxAlerts].
var ErrTooMany = errors.New("too many alerts")

// checkpointEvery is how often the state is handed out.
const checkpointEvery = 5 * time.Second

// Run replays what src delivers. When ctx ends before, the state is that of a part and says so. The state is returned with an error too.
func Run(ctx context.Context, src Source, cfg Config) (*State, error) {
	workers := cfg.Workers
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	return run(ctx, cfg, func(ctx context.Context, r *replay) error { return r.run(ctx, src, workers) })
}

// run does what all replays have in common around the reading and evaluating.
func run(ctx context.Context, cfg Config, evaluate func(context.Context, *replay) error) (*State, error) {
	for _, n := range cfg.Nodes {
		if _, err := path.Match(n, ""); err != nil {
			return nil, fmt.Errorf("pattern of nodes %q: %w", n, err)
		}
	}
	if cfg.Progress == nil {
		cfg.Progress = &Progress{}
	}
	r := &replay{cfg: cfg, state: cfg.State, enough: newEnough(cfg)}
	if r.state == nil {
		r.state = NewState()
	}
	if r.state.Correlated == nil { // kept before there was any
		r.state.Correlated = newCorrelated()
	}
	if err := r.state.Correlated.open([2]*ruleset.Set{cfg.Before, cfg.After}); err != nil {
		return nil, err
	}
	r.state.Partial, r.state.Why = false, ""
	for _, rs := range r.state.Rules {
		r.alerts[0] += rs.Count[Same] + rs.Count[Vanished]
		r.alerts[1] += rs.Count[Same] + rs.Count[New]
	}
	if cfg.Rate > 0 {
		r.limit = rate.NewLimiter(rate.Limit(cfg.Rate), max(int(cfg.Rate), 1))
	}
	started := time.Now()
	err := evaluate(ctx, r)
	if err == nil && ctx.Err() == nil {
		err = r.finish()
	}
	r.state.Took += time.Since(started)
	switch {
	case err != nil:
		r.state.Partial, r.state.Why = true, err.Error()
	case ctx.Err() != nil:
		r.state.Partial, r.state.Why = true, "interrupted"
	}
	if cfg.Checkpoint != nil {
		err = errors.Join(err, cfg.Checkpoint(r.state))
	}
	return r.state, err
}

type replay struct {
	cfg    Config
	state  *State
	limit  *rate.Limiter
	enough *enough
	alerts [2]uint64
}

// run reads in one goroutine, evaluates in several and puts together in its own.
func (r *replay) run(ctx context.Context, src Source, workers int) error {
	inner, stop := context.WithCancel(ctx)
	defer stop()
	work, order := make(chan *job, 16*workers), make(chan *job, 32*workers)
	pool := sync.Pool{New: func() any { return &job{done: make(chan struct{}, 1)} }}
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			w := newWorker(r)
			for j := range work {
				w.do(ctx, j)
				j.done <- struct{}{}
			}
		})
	}
	var readErr error
	wg.Go(func() {
		defer close(work)
		defer close(order)
		readErr = src.Read(inner, func(p bus.Packed) error {
			j := pool.Get().(*job)
			j.packed = p
			select {
			case order <- j:
			case <-inner.Done():
				return inner.Err()
			}
			work <- j // its buffer is drained until it is closed
			return nil
		})
		if inner.Err() != nil {
			readErr = nil
		}
	})
	var err error
	last := time.Now()
	for j := range order {
		<-j.done
		if err == nil && !j.skipped {
			if err = r.take(j); err != nil {
				stop()
			}
		}
		if j.skipped && err == nil { // ctx ended: what comes after it may be done, but not in order
			err = errInterrupted
			stop()
		}
		pool.Put(j)
		if err == nil && r.cfg.Checkpoint != nil && time.Since(last) > checkpointEvery {
			if err = r.cfg.Checkpoint(r.state); err != nil {
				stop()
			}
			last = time.Now()
		}
	}
	wg.Wait()
	if errors.Is(err, errInterrupted) {
		err = nil
	}
	return errors.Join(err, readErr)
}

// errInterrupted: ctx ended while a batch waited for its turn under the rate.
var errInterrupted = errors.New("interrupted")
