package sink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/sink/clickhouse"
)

// storage is the consumer that stores alerts in ClickHouse.
type storage struct {
	*condition
	cfg    Config
	store  *clickhouse.Store
	worker *bus.Worker
	stored prometheus.Counter
	failed prometheus.Counter

	mu        sync.Mutex
	gathering *batch      // nil if nothing waits
	full      chan *batch // to the insert loops
	used      chan *batch
}

func newStorage(cfg Config, b *bus.Bus, store *clickhouse.Store, log *slog.Logger, reg prometheus.Registerer) (*storage, error) {
	c, err := newCondition(log, reg)
	if err != nil {
		return nil, err
	}
	s := &storage{
		condition: c, cfg: cfg, store: store, full: make(chan *batch), used: make(chan *batch, cfg.Inserts+decoders),
		stored: prometheus.NewCounter(prometheus.CounterOpts{Name: "gyre_sink_stored_total", Help: "Alerts that ClickHouse has taken, repetitions included."}),
		failed: prometheus.NewCounter(prometheus.CounterOpts{Name: "gyre_sink_insert_errors_total", Help: "Inserts that failed and were tried again."}),
	}
	if err := errors.Join(reg.Register(s.stored), reg.Register(s.failed)); err != nil {
		return nil, fmt.Errorf("register sink metrics: %w", err)
	}
	s.worker = b.NewWorker(bus.WorkerConfig{
		Stream: bus.StreamAlerts, Durable: DurablePrefix + clickHouseName, Stage: DurablePrefix + clickHouseName, MaxAckPending: (cfg.Inserts + 2) * cfg.BatchRows,
		PullMessages: min(cfg.BatchRows, 5000), Concurrency: decoders,
	}, s.collect)
	return s, nil
}

// run brings the schema up and then stores until ctx ends. Outputs do not wait for it, and its trouble does not end them.
func (s *storage) run(ctx context.Context) error {
	if err := s.migrate(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		err := s.worker.Run(ctx)
		if b := s.take(0); b != nil { // gathered after flushLoop looked last
			b.retry()
		}
		return err
	})
	for range s.cfg.Inserts {
		g.Go(func() error { s.insertLoop(ctx); return nil })
	}
	g.Go(func() error { s.flushLoop(ctx); return nil })
	g.Go(func() error { s.watch(ctx); return nil })
	return g.Wait()
}

// schemaPause is how long to wait before a schema that does not fit is looked at again: only people change that.
const schemaPause = 10 * time.Second

// migrate brings the schema up, trying again until ctx ends.
func (s *storage) migrate(ctx context.Context) error {
	policy := backoff.NewExponentialBackOff()
	policy.MaxInterval = 10 * time.Second
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		err := s.store.Check(ctx)
		if err == nil {
			err = s.store.Migrate(ctx)
		}
		if ctx.Err() != nil {
			return struct{}{}, err
		}
		if s.set(err).State == clickhouse.StateSchema {
			err = &backoff.RetryAfterError{Duration: schemaPause}
		}
		return struct{}{}, err
	}, backoff.WithBackOff(policy), backoff.WithMaxElapsedTime(0), backoff.WithMaxTries(0))
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// probeEvery is how often the server is asked whether it is there, which quiet streams would not tell.
const probeEvery = 5 * time.Second

// watch notices a server that is away while there is nothing to store, and that it is back, until ctx ends.
func (s *storage) watch(ctx context.Context) {
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := s.store.Ready(); ctx.Err() == nil {
			s.probe(err)
		}
	}
}

// Ready tells whether alerts are taken from the stream and stored.
func (s *storage) Ready() error {
	if err := s.ready(); err != nil {
		return err
	}
	return s.worker.Ready()
}

// insertLoop stores batches until ctx ends; alerts are acknowledged after that.
func (s *storage) insertLoop(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case b := <-s.full:
			s.flush(ctx, b)
			s.recycle(b)
		}
	}
}
