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

// durableEvents is the consumer that sinks share to store events.
const durableEvents = "events"

// Events wait for others longer than alerts do, nobody is woken by them; large inserts are cheap ones.
const (
	eventsRows  = 20_000
	eventsWait  = time.Second
	eventsBound = 256 // messages in hand
)

// eventStorage is the consumer that stores events which evaluators have picked.
type eventStorage struct {
	store  *clickhouse.Store
	log    *slog.Logger
	worker *bus.Worker
	in     chan picked
	makers sync.Pool
	stored prometheus.Counter
	failed prometheus.Counter
}

// picked is a message with its rows.
type picked struct {
	d     *bus.Delivery
	rows  []clickhouse.Event
	batch clickhouse.EventBatch
}

func newEventStorage(b *bus.Bus, store *clickhouse.Store, log *slog.Logger, reg prometheus.Registerer) (*eventStorage, error) {
	s := &eventStorage{
		store: store, log: log, in: make(chan picked),
		stored: prometheus.NewCounter(prometheus.CounterOpts{Name: "gyre_sink_events_stored_total", Help: "Events that ClickHouse has taken, repetitions included."}),
		failed: prometheus.NewCounter(prometheus.CounterOpts{Name: "gyre_sink_events_insert_errors_total", Help: "Inserts of events that failed and were tried again."}),
	}
	s.makers.New = func() any { return newEventRows() }
	if err := errors.Join(reg.Register(s.stored), reg.Register(s.failed)); err != nil {
		return nil, fmt.Errorf("register sink metrics: %w", err)
	}
	s.worker = b.NewWorker(bus.WorkerConfig{
		Stream: bus.StreamStored, Durable: durableEvents, Stage: "sink-events", MaxAckPending: eventsBound, PullMessages: 64, Concurrency: 2,
	}, s.collect)
	return s, nil
}

// run stores until ctx ends. The table may not be there yet: events wait for it.
func (s *eventStorage) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.worker.Run(ctx) })
	g.Go(func() error { return s.insertLoop(ctx) })
	return g.Wait()
}

// collect makes rows of a message and hands them to the insert loop, which settles it.
func (s *eventStorage) collect(ctx context.Context, d *bus.Delivery) error {
	m := s.makers.Get().(*eventRows)
	defer s.makers.Put(m)
	rows, batch, err := m.rows(d.Data)
	if err != nil {
		return bus.Permanent(fmt.Errorf("decode events to store: %w", err))
	}
	d.Defer()
	select {
	case s.in <- picked{d, rows, batch}:
	case <-ctx.Done():
		d.Retry(0)
	}
	return nil
}

// insertLoop gathers events and stores them; their messages are acknowledged after that.
func (s *eventStorage) insertLoop(ctx context.Context) error {
	var rows []clickhouse.Event
	var batches []clickhouse.EventBatch
	var from []*bus.Delivery
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			for _, d := range from {
				d.Retry(0)
			}
			return nil
		case p := <-s.in:
			if from = append(from, p.d); len(from) == 1 {
				timer.Reset(eventsWait)
			}
			if len(p.rows) > 0 {
				rows, batches = append(rows, p.rows...), append(batches, p.batch)
			}
			if len(rows) < eventsRows && len(from) < eventsBound {
				continue
			}
		case <-timer.C:
		}
		s.flush(ctx, rows, batches, from)
		clear(rows) // they hold the strings of batches
		clear(batches)
		rows, batches, from = rows[:0], batches[:0], from[:0]
	}
}

// flush stores rows and the batches that they are of, trying again until ctx ends; then their messages are given back.
func (s *eventStorage) flush(ctx context.Context, rows []clickhouse.Event, batches []clickhouse.EventBatch, from []*bus.Delivery) {
	if len(from) == 0 {
		return
	}
	policy := backoff.NewExponentialBackOff()
	policy.InitialInterval, policy.MaxInterval = 100*time.Millisecond, 10*time.Second
	tries := 0
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		err := s.store.StoreBatches(ctx, batches)
		if err == nil {
			err = s.store.StoreEvents(ctx, rows)
		}
		if err != nil {
			s.failed.Inc()
			if tries++; tries == 3 && ctx.Err() == nil { // at a start the table may not be there yet
				s.log.Warn("clickhouse does not take events", "err", err)
			}
		}
		return struct{}{}, err
	}, backoff.WithBackOff(policy), backoff.WithMaxElapsedTime(0), backoff.WithMaxTries(0))
	for _, d := range from {
		if err != nil {
			d.Retry(0)
			continue
		}
		d.Ack()
	}
	if err == nil {
		s.stored.Add(float64(len(rows)))
		if tries >= 3 {
			s.log.Info("clickhouse takes events again")
		}
	}
}
