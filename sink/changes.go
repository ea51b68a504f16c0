package sink

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/schemas/changev1"
	"github.com/gyre-sec/gyre/sink/clickhouse"
)

// durableChanges is the consumer that sinks share to store changes of clusters.
const durableChanges = "changes"

// newChanges stores changes as they come: they are few. What fails is delivered again with back-off.
func newChanges(b *bus.Bus, store *clickhouse.Store, reg prometheus.Registerer) (*bus.Worker, error) {
	stored := prometheus.NewCounter(prometheus.CounterOpts{Name: "gyre_sink_changes_stored_total", Help: "Changes of clusters that ClickHouse has taken, repetitions included."})
	if err := reg.Register(stored); err != nil {
		return nil, fmt.Errorf("register sink metrics: %w", err)
	}
	return b.NewWorker(bus.WorkerConfig{Stream: bus.StreamChanges, Durable: durableChanges, Stage: "sink-changes", Concurrency: 1}, func(ctx context.Context, d *bus.Delivery) error {
		c, err := changev1.Decode(d.Data)
		if err == nil {
			_, err = uuid.Parse(c.ID)
		}
		if err != nil {
			return bus.Permanent(fmt.Errorf("decode change: %w", err))
		}
		if err := store.InsertChanges(ctx, []changev1.Change{c}); err != nil {
			return err
		}
		stored.Inc()
		return nil
	}), nil
}
