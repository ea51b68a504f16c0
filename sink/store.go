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
	cfg    Config
	store  *clickhouse.Store
	log    *slog.Logger
	worker *bus.Worker
	rows   chan item
	stored prometheus.Counter
	failed prometheus.Counter
}

type item struct {
	d *bus.Delivery
	a alertv1.Alert
}

func newStorage(cfg Config, b *bus.Bus, store *clickhouse.Store, log *slog.Logger, reg prometheus.Registerer) (*storage, error) {
	s := &storage{
		cfg: cfg, store: store, log: log, rows: make(chan item),
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

// run brings the schema up and then stores until ctx ends. Outputs do not wait for it.
func (s *storage) run(ctx context.Context) error {
	if err := s.migrate(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.worker.Run(ctx) })
	g.Go(func() error { return s.insertLoop(ctx) })
	return g.Wait()
}

// schemaTries is how often in a row a server that answers must refuse the schema before that is believed: a connection that breaks in the
// middle looks the same.
const schemaTries = 3

// migrate brings the schema up, trying again while the server is away. A schema that does not fit ends it.
func (s *storage) migrate(ctx context.Context) error {
	policy := backoff.NewExponentialBackOff()
	policy.MaxInterval = 10 * time.Second
	refused := 0
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		err := s.store.Migrate(ctx)
		if !errors.Is(err, clickhouse.ErrSchema) || s.store.Ready() != nil {
			refused = 0
		} else if refused++; refused == schemaTries {
			return struct{}{}, backoff.Permanent(err)
		}
		return struct{}{}, err
	}, backoff.WithBackOff(policy), backoff.WithMaxElapsedTime(0), backoff.WithMaxTries(0))
	if ctx.Err() != nil {
		return nil
	}
	return err
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
			if len(batch) < s.cfg.BatchRows {
				continue
			}
		case <-timer.C:
		}
		s.flush(ctx, batch)
		batch = batch[:0]
	}
}

// flush stores a batch, trying again until ctx ends; then the alerts are given back.
func (s *storage) flush(ctx context.Context, batch []item) {
	if len(batch) == 0 {
		return
	}
	alerts := make([]alertv1.Alert, len(batch))
	for i := range batch {
		alerts[i] = batch[i].a
	}
	policy := backoff.NewExponentialBackOff()
	policy.InitialInterval, policy.MaxInterval = 100*time.Millisecond, 10*time.Second
	down := false
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		err := s.store.InsertAlerts(ctx, alerts)
		if err != nil {
			s.failed.Inc()
			if !down && ctx.Err() == nil {
				s.log.Warn("clickhouse does not take alerts", "err", err)
				down = true
			}
		}
		return struct{}{}, err
	}, backoff.WithBackOff(policy), backoff.WithMaxElapsedTime(0), backoff.WithMaxTries(0))
	for _, it := range batch {
		if err != nil {
			it.d.Retry(0)
			continue
		}
		it.d.Ack()
	}
	if err == nil {
		s.stored.Add(float64(len(batch)))
		if down {
			s.log.Info("clickhouse takes alerts again")
		}
	}
}
