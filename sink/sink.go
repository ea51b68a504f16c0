// Package sink stores alerts in ClickHouse and hands them to outputs. Each output
// is a durable consumer of ALERTS of its own: one that is down delays no other, and
// catches up from where it was.
package sink

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/sink/clickhouse"
	"github.com/gyre-sec/gyre/sink/ingest"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/stdout"
	"github.com/gyre-sec/gyre/sink/route"
)

// Config of the sink.
type Config struct {
	ClickHouse clickhouse.Config      `yaml:"clickhouse" doc:"where alerts are stored"`
	BatchRows  int                    `yaml:"batch_rows" doc:"alerts in one insert at the most"`
	Inserts    int                    `yaml:"inserts" doc:"inserts under way at once; each has a batch of at most batch_rows and 32 MiB in memory"`
	BatchWait  time.Duration          `yaml:"batch_wait" doc:"how long an alert waits for others before it is stored"`
	Stdout     StdoutConfig           `yaml:"stdout" doc:"the output stdout in short: alerts as lines on standard output"`
	Outputs    []Output               `yaml:"outputs" doc:"where alerts are sent; docs/outputs.md has an example of each type"`
	Route      route.Route            `yaml:"route" doc:"which outputs get which alerts, and how they are grouped; without it each output gets all that it matches"`
	Intervals  []route.IntervalConfig `yaml:"intervals" doc:"times that routes name"`
	Inhibit    []route.InhibitConfig  `yaml:"inhibit" doc:"alerts that are not notified while another is recent"`
	Ingest     ingest.Config          `yaml:"ingest" doc:"an HTTP endpoint for alerts of existing Falco nodes"`
}

// StdoutConfig is an output named stdout.
type StdoutConfig struct {
	Enabled       bool `yaml:"enabled" doc:"write alerts to standard output"`
	stdout.Config `yaml:",inline"`
}

// DefaultConfig stores, and notifies nobody.
func DefaultConfig() Config {
	return Config{ClickHouse: clickhouse.DefaultConfig(), BatchRows: 10_000, Inserts: 2, BatchWait: 200 * time.Millisecond}
}

// Validate checks the configuration.
func (c Config) Validate() error {
	var errs []error
	if c.BatchRows < 1 || c.BatchRows > 100_000 {
		errs = append(errs, fmt.Errorf("batch_rows is %d, want 1 to 100000", c.BatchRows))
	}
	if c.Inserts < 1 || c.Inserts > 8 {
		errs = append(errs, fmt.Errorf("inserts is %d, want 1 to 8", c.Inserts))
	}
	if c.BatchWait <= 0 || c.BatchWait > 10*time.Second {
		errs = append(errs, fmt.Errorf("batch_wait is %s, want above 0 and at most 10s", c.BatchWait))
	}
	names := map[string]bool{}
	for i, o := range c.outputs() {
		if err := o.Validate(); err != nil {
			errs = append(errs, fmt.Errorf("outputs[%d] (%s): %w", i, o.Name, err))
		}
		if names[o.Name] {
			errs = append(errs, fmt.Errorf("outputs[%d]: there is another output named %q", i, o.Name))
		}
		names[o.Name] = true
	}
	_, err := c.routing()
	return errors.Join(append(errs, err, c.Ingest.Validate(), c.ClickHouse.Validate())...)
}

// outputs lists the outputs, stdout in short after the others.
func (c Config) outputs() []Output {
	list := c.Outputs
	if c.Stdout.Enabled {
		o := NewOutput("stdout", "stdout")
		o.Settings = &c.Stdout.Config
		list = append(slices.Clip(list), o)
	}
	return list
}

// Sink runs the outputs.
type Sink struct {
	b       *bus.Bus
	log     *slog.Logger
	storage *storage
	routing *routing
	outputs []*delivery
	ingest  *ingest.Server // nil if there is none
	changes *bus.Worker    // nil without storage
	events  *eventStorage  // nil without storage
}

// New returns a Sink that stores into store, or one that only delivers if store is nil; w is where the stdout output writes.
func New(cfg Config, b *bus.Bus, store *clickhouse.Store, w io.Writer, log *slog.Logger, reg prometheus.Registerer) (*Sink, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("sink configuration: %w", err)
	}
	r, err := cfg.routing()
	if err != nil {
		return nil, err
	}
	s := &Sink{b: b, log: log, routing: r}
	if store != nil {
		if s.storage, err = newStorage(cfg, b, store, log, reg); err != nil {
			return nil, err
		}
		if s.changes, err = newChanges(b, store, reg); err != nil {
			return nil, err
		}
		if s.events, err = newEventStorage(b, store, log, reg); err != nil {
			return nil, err
		}
	}
	if cfg.Ingest.Listen != "" {
		if s.ingest, err = ingest.New(cfg.Ingest, b, log, reg); err != nil {
			return nil, err
		}
	}
	for _, o := range cfg.outputs() {
		d, err := newDelivery(o, b, r, notify.Env{Name: o.Name, Stdout: w, Log: log.With("output", o.Name), Title: o.Title, Text: o.Text}, reg)
		if err != nil {
			return nil, fmt.Errorf("open output %s: %w", o.Name, err)
		}
		s.outputs = append(s.outputs, d)
	}
	return s, nil
}

// Ready tells whether every output consumes. An output whose service is away is ready: its alerts wait.
func (s *Sink) Ready() error {
	var errs []error
	for _, o := range s.outputs {
		errs = append(errs, o.worker.Ready())
	}
	return errors.Join(errs...)
}

// StoreReady tells whether alerts are stored in ClickHouse, and if not why, with a remedy.
func (s *Sink) StoreReady() error {
	if s.storage == nil {
		return nil
	}
	return s.storage.Ready()
}

// Run runs all outputs until ctx ends.
func (s *Sink) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	if s.storage != nil {
		g.Go(func() error { return s.storage.run(ctx) })
		g.Go(func() error { return s.changes.Run(ctx) })
		g.Go(func() error { return s.events.run(ctx) })
	}
	if s.ingest != nil {
		g.Go(func() error { return s.ingest.Run(ctx) })
	}
	past := &history{b: s.b}
	known := make(chan struct{}) // closed when the silences are known
	g.Go(func() error { return s.routing.watchSilences(ctx, s.b, s.log, known) })
	g.Go(func() error { return s.routing.watchSources(ctx, s.b, s.log) })
	for _, o := range s.outputs {
		g.Go(func() error {
			select {
			case <-known:
			case <-ctx.Done():
			}
			return o.run(ctx, past)
		})
		g.Go(func() error { return s.answer(ctx, o) })
	}
	g.Go(func() error { return s.answerState(ctx) })
	return g.Wait()
}
