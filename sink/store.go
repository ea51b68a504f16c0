package sink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/schemas/alertv1"
	"github.com/gyre-sec/gyre/sink/clickhouse"
)

// storage is the consumer that stores alerts in ClickHouse.
type storage struct {
	*condition
	cfg    Config
	store  *clickhouse.Store
	worker *bus.Worker
	rows   chan item
	stored prometheus.Counter
	failed prometheus.Counter
}

type item struct {
	d *bus.Delivery
	a alertv1.Alert
}

// batchBytes bounds the alerts of one insert, in bytes as they came.
const batchBytes = 32 << 20

func newStorage(cfg Config, b *bus.Bus, store *clickhouse.Store, log *slog.Logger, reg prometheus.Registerer) (*storage, error) {
	c, err := newCondition(log, reg)
	if err != nil {
		return nil, err
	}
	s := &storage{
		condition: c, cfg: cfg, store: store, rows: make(chan item),
		stored: prometheus.NewCounter(prometheus.CounterOpts{Name: "gyre_sink_stored_total", Help: "Alerts that ClickHouse has taken, repetitions included."}),
		failed: prometheus.NewCounter(prometheus.CounterOpts{Name: "gyre_sink_insert_errors_total", Help: "Inserts that failed and were tried again."}),
	}
	if err := errors.Join(reg.Register(s.stored), reg.Register(s.failed)); err != nil {
		return nil, fmt.Errorf("register sink metrics: %w", err)
	}
	s.worker = b.NewWorker(bus.WorkerConfig{
		Stream: bus.StreamAlerts, Durable: DurablePrefix + clickHouseName, Stage: DurablePrefix + clickHouseName, MaxAckPending: 4 * cfg.BatchRows, PullMessages: 1000, Concurrency: 1,
	}, s.collect)
	return s, nil
}

// run brings the schema up and then stores until ctx ends. Outputs do not wait for it, and its trouble does not end them.
func (s *storage) run(ctx context.Context) error {
	if err := s.migrate(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.worker.Run(ctx) })
	g.Go(func() error { return s.insertLoop(ctx) })
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

// collect decodes an alert and hands it to the insert loop, which settles it.
func (s *storage) collect(ctx context.Context, d *bus.Delivery) error {
	a, err := alertv1.Unmarshal(d.Data)
	if err != nil {
		return bus.Permanent(fmt.Errorf("decode alert: %w", err))
	}
	d.Defer()
	select {
	case s.rows <- item{d, a}:
	case <-ctx.Done():
		d.Retry(0)
	}
	return nil
}

// insertLoop gathers alerts and stores them; they are acknowledged after that.
func (s *storage) insertLoop(ctx context.Context) error {
	var batch []item
	size := 0
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			s.flush(ctx, batch)
			return nil
		case it := <-s.rows:
			if batch = append(batch, it); len(batch) == 1 {
				timer.Reset(s.cfg.BatchWait)
			}
			if size += len(it.d.Data); len(batch) < s.cfg.BatchRows && size < batchBytes {
				continue
			}
		case <-timer.C:
		}
		s.flush(ctx, batch)
		clear(batch)
		batch, size = batch[:0], 0
	}
}
