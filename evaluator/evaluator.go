// Package evaluator is the worker that evaluates rules: enriched batches in, alerts out.
//
// Any number of evaluators share the durable "evaluator" of the ENRICHED stream. A batch
// is acknowledged when all of its alerts are stored; the ids of alerts are deterministic,
// so a batch that is delivered again raises the same alerts. Rules come from the program
// itself, from directories and from a key-value bucket; all of them together are compiled
// to a new set whenever one changes, and the set is swapped only if there was no error.
package evaluator

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/evaluator/correlate"
	"github.com/gyre-sec/gyre/evaluator/intel"
	"github.com/gyre-sec/gyre/evaluator/ruleset"
)

// Durable is the name of the consumer that evaluators share.
const Durable = "evaluator"

// grace is how long alerts in flight may take at the end.
const grace = 2 * time.Second

// intelWait is how long the first event waits for the lists of threat intelligence.
const intelWait = 30 * time.Second

// Info describes the rules in force.
type Info struct {
	Digest string    `json:"digest"`
	Count  int       `json:"count"`
	Loaded time.Time `json:"loaded"`
	// Set is the version of the bucket's rule set that is part of them, NAME@sha256:DIGEST, "" if there is none;
	// Revision that of its key, and Signer the id of the key whose signature was verified.
	Set      string `json:"rule_set,omitempty"`
	Revision uint64 `json:"revision,omitempty"`
	Signer   string `json:"signer,omitempty"`
	// Error is why the last attempt to load rules was refused, "" if it was not.
	Error string `json:"error,omitempty"`
}

// Evaluator is the worker. Make one with [New].
type Evaluator struct {
	cfg      Config
	bus      *bus.Bus
	log      *slog.Logger
	m        *metrics
	pub      *bus.Publisher
	worker   atomic.Pointer[bus.Worker]
	current  atomic.Pointer[generation]
	changed  chan struct{}
	throttle *throttle
	intel    *intel.Watch           // nil without a bucket
	bundle   atomic.Pointer[Bundle] // what current was made of
	tried    [32]byte               // of the last attempt to load; New, then follow only
	// correlator is nil if nothing is correlated.
	correlator *correlate.Correlator
	every      *correlate.Every // nil if nothing is correlated
	pickers    *sync.Pool       // nil if no events are stored

	mu     sync.Mutex
	remote remote
	info   Info
}

// New loads the rules of the program and of the directories; a defect in them is an error.
func New(cfg Config, b *bus.Bus, log *slog.Logger, reg prometheus.Registerer) (*Evaluator, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	e := &Evaluator{
		cfg: cfg, bus: b, log: log, m: newMetrics(reg), throttle: newThrottle(maxThrottled), changed: make(chan struct{}, 1),
		pub: b.NewPublisher(bus.PublisherConfig{Stage: "evaluator", MaxMessages: 1024}),
	}
	if cfg.Intel != "" {
		e.intel = intel.NewWatch(b, cfg.Intel, log, reg)
	}
	if cfg.Correlate.Enabled {
		e.every = correlate.NewEvery()
		e.correlator = correlate.New(cfg.Correlate, b, e.correlated, log, reg)
	}
	if cfg.StoreEvents != "" {
		e.pickers = &sync.Pool{}
	}
	if err := e.load(); err != nil {
		return nil, err
	}
	return e, nil
}

// correlated is the rule set that the correlator uses.
func (e *Evaluator) correlated() *ruleset.Set {
	if g := e.current.Load(); g != nil {
		return g.set
	}
	return nil
}

// Rules describes the rules in force and the last failure to replace them.
func (e *Evaluator) Rules() Info {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.info
}

// Ready tells whether batches are being consumed.
func (e *Evaluator) Ready() error {
	if w := e.worker.Load(); w != nil {
		if err := w.Ready(); err != nil || e.correlator == nil {
			return err
		}
		return e.correlator.Ready()
	}
	return fmt.Errorf("evaluator: rules of the bucket are not read yet")
}

// Run evaluates until ctx ends and the alerts in flight are stored.
func (e *Evaluator) Run(ctx context.Context) error {
	g, gctx := errgroup.WithContext(ctx)
	first := make(chan struct{})
	if e.cfg.KV == "" {
		close(first)
	} else {
		g.Go(func() error { return e.watchKV(gctx, sync.OnceFunc(func() { close(first) })) })
	}
	if e.intel != nil {
		g.Go(func() error { return e.intel.Run(gctx) })
	}
	g.Go(func() error {
		select {
		case <-first:
		case <-gctx.Done():
			return nil
		}
		if e.intel != nil {
			select {
			case <-e.intel.Ready():
			case <-gctx.Done():
				return nil
			case <-time.After(intelWait):
				e.log.Warn("threat intelligence is not read yet, events are evaluated without it until it is")
			}
		}
		if !e.settled(gctx) {
			return nil
		}
		e.reload() // with the bucket's rules, before the first event
		if e.correlator != nil {
			g.Go(func() error { return e.correlator.Run(gctx) })
		}
		return e.consume(gctx)
	})
	if err := g.Wait(); err != nil {
		return fmt.Errorf("run evaluator: %w", err)
	}
	return nil
}

func (e *Evaluator) consume(ctx context.Context) error {
	// Alerts of batches that were evaluated before the end are still published, for a bounded time.
	pctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(grace, cancel) })()
	w := e.bus.NewWorker(bus.WorkerConfig{
		Stream: bus.StreamEnriched, Durable: Durable, Stage: "evaluator", Concurrency: e.cfg.workers(),
	}, func(_ context.Context, d *bus.Delivery) error { return e.handle(pctx, d) })
	e.worker.Store(w)
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return e.follow(gctx) })
	g.Go(func() error { return w.Run(gctx) })
	g.Go(func() error { return e.answer(gctx) })
	err := g.Wait()
	if ferr := e.pub.Flush(pctx); ferr != nil && err == nil {
		e.log.Warn("alerts in flight at the end, their batches are evaluated again", "err", ferr)
	}
	return err
}

// handle evaluates one batch and publishes its alerts.
func (e *Evaluator) handle(ctx context.Context, d *bus.Delivery) error {
	start := time.Now()
	gen := e.current.Load()
	w := gen.pool.Get().(*work)
	defer gen.pool.Put(w)
	if e.intel != nil {
		w.matcher.view.Indicators(e.intel.Set())
	}
	if e.pickers != nil {
		p, err := e.picker()
		if err != nil {
			return err
		}
		w.pick = p
		defer func() { w.pick = nil; e.pickers.Put(p) }()
	}
	if err := w.run(d.Data); err != nil {
		e.m.bad.Inc()
		return bus.Permanent(fmt.Errorf("evaluate batch: %w", err))
	}
	e.m.batches.Inc()
	e.m.events.Add(float64(w.batch.Count))
	for _, l := range w.batch.Lost {
		e.m.lost.Add(float64(l.Count))
	}
	for id, n := range w.folded {
		e.m.folded.WithLabelValues(id).Add(float64(n))
	}
	if w.matches != nil {
		for id, n := range w.matches.NoKey {
			e.m.noKey.WithLabelValues(id).Add(float64(n))
		}
	}
	e.m.seconds.Observe(time.Since(start).Seconds())
	if w.pick != nil {
		if err := e.store(w); err != nil {
			return bus.Permanent(fmt.Errorf("pick events to store: %w", err))
		}
	}
	if len(w.out) == 0 {
		return nil
	}
	d.Defer()
	s := &settle{ctx: ctx, d: d}
	s.left.Store(int64(len(w.out)))
	for _, o := range w.out {
		switch {
		case o.rule == "": // events to store
		case o.priority == "":
			e.m.signals.WithLabelValues(o.rule).Add(float64(o.count))
		default:
			e.m.alerts.WithLabelValues(o.rule, o.priority).Inc()
		}
		if err := e.pub.PublishAsync(ctx, o.msg, s.done); err != nil {
			s.done(err)
		}
	}
	return nil
}

// settle acknowledges a delivery when the last of its alerts is stored, and gives it back if one could not be.
type settle struct {
	ctx  context.Context // of the publishes, which the callbacks belong to
	d    *bus.Delivery
	left atomic.Int64
	err  atomic.Pointer[error]
}

func (s *settle) done(err error) {
	if err != nil {
		s.err.CompareAndSwap(nil, &err)
	}
	if s.left.Add(-1) > 0 {
		return
	}
	if p := s.err.Load(); p != nil {
		s.d.Fail(s.ctx, fmt.Errorf("publish what came of the batch: %w", *p))
		return
	}
	s.d.Ack()
}
