// Package enricher adds to batches what their node did not know or did not say:
// names of users, facts of the host. It changes table rows only; the events of a
// batch are passed on untouched, as one byte string.
//
// Workers hold no state beyond caches of facts: any worker can take any batch. A
// stage that fails leaves its columns empty and is counted; no event is lost by it.
package enricher

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/enricher/account"
	"github.com/gyre-sec/gyre/enricher/container"
	"github.com/gyre-sec/gyre/enricher/host"
	"github.com/gyre-sec/gyre/enricher/intel"
	"github.com/gyre-sec/gyre/enricher/kube"
	"github.com/gyre-sec/gyre/enricher/label"
	"github.com/gyre-sec/gyre/schemas/eventv1"
	"github.com/gyre-sec/gyre/schemas/subject"
)

// Config of the enricher.
type Config struct {
	Workers  int `yaml:"workers" doc:"batches worked on at once; 0 means one per CPU"`
	MaxNodes int `yaml:"max_nodes" doc:"nodes whose facts are kept in memory"`

	Containers container.Config `yaml:"containers" doc:"facts of containers, which nodes publish beside their events"`
	Labels     label.Config     `yaml:"labels" doc:"labels from the configuration, tables and databases; see docs/context-cluster.md"`
	Intel      intel.Config     `yaml:"intel" doc:"lists of threat intelligence that this enricher reads for all evaluators"`
	Kube       kube.Config      `yaml:"kube" doc:"a Kubernetes cluster"`
}

// DefaultConfig uses every CPU.
func DefaultConfig() Config {
	return Config{MaxNodes: 10_000, Containers: container.DefaultConfig(), Labels: label.DefaultConfig(), Intel: intel.DefaultConfig(), Kube: kube.DefaultConfig()}
}

// Validate checks the configuration.
func (c Config) Validate() error {
	if c.Workers < 0 || c.Workers > 1024 {
		return fmt.Errorf("workers is %d, want 0 to 1024", c.Workers)
	}
	if c.MaxNodes < 1 {
		return fmt.Errorf("max_nodes is %d, want at least 1", c.MaxNodes)
	}
	return errors.Join(daemon.At("containers", c.Containers.Validate()), daemon.At("labels", c.Labels.Validate()), daemon.At("intel", c.Intel.Validate()), daemon.At("kube", c.Kube.Validate()))
}

// Stage adds one kind of context to the tables of a batch. It must not touch the
// events, nor move strings or rows that are there. It is called by many goroutines at once.
type Stage interface {
	Name() string
	Enrich(ctx context.Context, b *eventv1.Batch) error
	// Run keeps the stage's facts up to date until ctx ends.
	Run(ctx context.Context) error
}

// Enricher is a worker; make one with [New].
type Enricher struct {
	log     *slog.Logger
	stages  []Stage
	hold    *hold
	feeder  *intel.Feeder // nil without lists
	worker  *bus.Worker
	out     *bus.Publisher
	pool    sync.Pool
	batches prometheus.Counter
	events  prometheus.Counter
	errs    *prometheus.CounterVec
}

// state is what one batch in work needs; it is used again for the next.
type state struct {
	dec   *eventv1.Decoder
	enc   *eventv1.Encoder
	batch eventv1.Batch
}

// New returns an Enricher with the stages that need no configuration.
func New(cfg Config, b *bus.Bus, log *slog.Logger, reg prometheus.Registerer) (*Enricher, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("enricher configuration: %w", err)
	}
	containers, err := container.New(b, cfg.Containers, log, reg)
	if err != nil {
		return nil, err
	}
	e := &Enricher{
		hold: newHold(containers, cfg.Containers.Holding),
		log:  log, out: b.NewPublisher(bus.PublisherConfig{Stage: "enricher"}),
		stages:  []Stage{account.New(b, cfg.MaxNodes, log), host.New(b, cfg.MaxNodes, log), containers},
		batches: prometheus.NewCounter(prometheus.CounterOpts{Name: "gyre_enricher_batches_total", Help: "Batches passed on."}),
		events:  prometheus.NewCounter(prometheus.CounterOpts{Name: "gyre_enricher_events_total", Help: "Events in batches passed on."}),
		errs:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "gyre_enricher_stage_errors_total", Help: "Batches that a stage could not work on."}, []string{"stage"}),
	}
	if err := errors.Join(reg.Register(e.batches), reg.Register(e.events), reg.Register(e.errs)); err != nil {
		return nil, fmt.Errorf("register enricher metrics: %w", err)
	}
	if err := e.addContext(cfg, b, log, reg); err != nil {
		return nil, err
	}
	e.pool.New = func() any { return &state{dec: eventv1.NewDecoder(), enc: eventv1.NewEncoder()} }
	workers := cfg.Workers
	if workers == 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	e.worker = b.NewWorker(bus.WorkerConfig{Stream: bus.StreamEvents, Durable: "enricher", Stage: "enricher", Concurrency: workers, MaxAckPending: maxOut}, e.handle)
	return e, nil
}

// Ready tells whether batches are consumed.
func (e *Enricher) Ready() error { return e.worker.Ready() }

// Run works until ctx ends; batches in work are passed on first.
func (e *Enricher) Run(ctx context.Context) error {
	facts, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	for _, s := range e.stages {
		wg.Go(func() {
			if err := s.Run(facts); err != nil {
				e.errs.WithLabelValues(s.Name()).Inc()
				e.log.Error("stage stopped", "stage", s.Name(), "err", err)
			}
		})
	}
	if e.feeder != nil {
		wg.Go(func() { _ = e.feeder.Run(facts) })
	}
	err := e.worker.Run(ctx)
	e.hold.Wait()
	stop()
	wg.Wait()
	return err
}

// handle passes one batch on, now or when the facts that it needs are there.
func (e *Enricher) handle(ctx context.Context, d *bus.Delivery) error {
	s, ok := e.pool.Get().(*state)
	if !ok {
		return errors.New("unexpected pool content")
	}
	if err := s.dec.Decode(d.Data, &s.batch); err != nil {
		e.pool.Put(s)
		return bus.Permanent(fmt.Errorf("decode batch: %w", err))
	}
	d.Defer()
	if e.hold.Later(ctx, &s.batch, d, func() { e.pass(ctx, d, s) }) {
		return nil
	}
	e.pass(ctx, d, s)
	return nil
}

// pass enriches a batch and publishes it. It is acknowledged when the output is stored.
func (e *Enricher) pass(ctx context.Context, d *bus.Delivery, s *state) {
	defer e.pool.Put(s)
	for _, st := range e.stages {
		if err := st.Enrich(ctx, &s.batch); err != nil {
			e.errs.WithLabelValues(st.Name()).Inc()
		}
	}
	n := s.batch.Count
	m := bus.Message{Subject: subject.Enriched(s.batch.Source, s.batch.Node), ID: d.ID(), Data: s.enc.Encode(&s.batch)}
	// The output is sent even when ctx has ended: it is better stored now than done again.
	err := e.out.PublishAsync(context.WithoutCancel(ctx), m, func(err error) {
		if err != nil {
			d.Fail(context.WithoutCancel(ctx), err)
			return
		}
		e.batches.Inc()
		e.events.Add(float64(n))
		d.Ack()
	})
	if err != nil {
		d.Fail(ctx, err)
	}
}
