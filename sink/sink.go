// Package sink stores alerts in ClickHouse and hands them to notifiers. Each output
// is a durable consumer of ALERTS of its own: one that is down delays no other, and
// catches up from where it was.
package sink

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/schemas/alertv1"
	"github.com/gyre-sec/gyre/sink/clickhouse"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/stdout"
	"github.com/gyre-sec/gyre/sink/notify/webhook"
)

// Config of the sink.
type Config struct {
	ClickHouse clickhouse.Config `yaml:"clickhouse" doc:"where alerts are stored"`
	BatchRows  int               `yaml:"batch_rows" doc:"alerts in one insert at the most"`
	BatchWait  time.Duration     `yaml:"batch_wait" doc:"how long an alert waits for others before it is stored"`
	Stdout     stdout.Config     `yaml:"stdout" doc:"alerts as lines on standard output"`
	Webhook    webhook.Config    `yaml:"webhook" doc:"alerts posted as JSON"`
}

// DefaultConfig stores, and notifies nobody.
func DefaultConfig() Config {
	return Config{ClickHouse: clickhouse.DefaultConfig(), BatchRows: 5000, BatchWait: 200 * time.Millisecond, Webhook: webhook.DefaultConfig()}
}

// Validate checks the configuration.
func (c Config) Validate() error {
	var errs []error
	if c.BatchRows < 1 || c.BatchRows > 100_000 {
		errs = append(errs, fmt.Errorf("batch_rows is %d, want 1 to 100000", c.BatchRows))
	}
	if c.BatchWait <= 0 || c.BatchWait > 10*time.Second {
		errs = append(errs, fmt.Errorf("batch_wait is %s, want above 0 and at most 10s", c.BatchWait))
	}
	return errors.Join(append(errs, c.ClickHouse.Validate(), c.Webhook.Validate())...)
}

// Sink runs the outputs.
type Sink struct {
	cfg     Config
	store   *clickhouse.Store
	log     *slog.Logger
	workers []*bus.Worker
	rows    chan item
	stored  prometheus.Counter
	failed  prometheus.Counter
}

type item struct {
	d *bus.Delivery
	a alertv1.Alert
}

// New returns a Sink that stores into store; w is where the stdout output writes.
func New(cfg Config, b *bus.Bus, store *clickhouse.Store, w io.Writer, log *slog.Logger, reg prometheus.Registerer) (*Sink, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("sink configuration: %w", err)
	}
	s := &Sink{
		cfg: cfg, store: store, log: log, rows: make(chan item),
		stored: prometheus.NewCounter(prometheus.CounterOpts{Name: "gyre_sink_stored_total", Help: "Alerts that ClickHouse has taken, repetitions included."}),
		failed: prometheus.NewCounter(prometheus.CounterOpts{Name: "gyre_sink_insert_errors_total", Help: "Inserts that failed and were tried again."}),
	}
	if err := errors.Join(reg.Register(s.stored), reg.Register(s.failed)); err != nil {
		return nil, fmt.Errorf("register sink metrics: %w", err)
	}
	s.workers = append(s.workers, b.NewWorker(bus.WorkerConfig{
		Stream: bus.StreamAlerts, Durable: "sink-clickhouse", Stage: "sink-clickhouse", MaxAckPending: 4 * cfg.BatchRows, PullMessages: 1000, Concurrency: 1,
	}, s.collect))
	var outputs []output
	if cfg.Stdout.Enabled {
		outputs = append(outputs, output{stdout.New(cfg.Stdout, w), 5 * time.Second, true})
	}
	if cfg.Webhook.URL != "" {
		hook, err := webhook.New(cfg.Webhook)
		if err != nil {
			return nil, err
		}
		outputs = append(outputs, output{hook, cfg.Webhook.Timeout, false})
	}
	for _, o := range outputs {
		d, err := notify.NewDelivery(o.Notifier, o.timeout, log, reg)
		if err != nil {
			return nil, err
		}
		s.workers = append(s.workers, b.NewWorker(bus.WorkerConfig{
			Stream: bus.StreamAlerts, Durable: "sink-" + o.Name(), Stage: "sink-" + o.Name(), MaxAckPending: 64, New: o.fromNow,
		}, func(ctx context.Context, m *bus.Delivery) error {
			a, err := alertv1.Unmarshal(m.Data)
			if err != nil {
				return bus.Permanent(fmt.Errorf("decode alert: %w", err))
			}
			return d.Deliver(ctx, &a)
		}))
	}
	return s, nil
}

type output struct {
	notify.Notifier
	timeout time.Duration
	// fromNow: an output that is new does not get what was there before it.
	fromNow bool
}

// Ready tells whether every output consumes.
func (s *Sink) Ready() error {
	errs := make([]error, 0, len(s.workers))
	for _, w := range s.workers {
		errs = append(errs, w.Ready())
	}
	return errors.Join(errs...)
}

// Run runs all outputs until ctx ends.
func (s *Sink) Run(ctx context.Context) error {
	if err := s.migrate(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, w := range s.workers {
		g.Go(func() error { return w.Run(ctx) })
	}
	g.Go(func() error { return s.insertLoop(ctx) })
	return g.Wait()
}

// migrate brings the schema up, trying again while the server is away. A schema that does not fit ends it.
func (s *Sink) migrate(ctx context.Context) error {
	policy := backoff.NewExponentialBackOff()
	policy.MaxInterval = 10 * time.Second
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		err := s.store.Migrate(ctx)
		if errors.Is(err, clickhouse.ErrSchema) && s.store.Ready() == nil {
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
func (s *Sink) collect(ctx context.Context, d *bus.Delivery) error {
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
func (s *Sink) insertLoop(ctx context.Context) error {
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
func (s *Sink) flush(ctx context.Context, batch []item) {
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
