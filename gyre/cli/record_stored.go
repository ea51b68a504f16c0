package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/evaluator/recording"
	"github.com/gyre-sec/gyre/schemas/subject"
	"github.com/gyre-sec/gyre/sink/clickhouse"
)

// openStored opens the events that evaluator.store_events has put into ClickHouse.
func (a *app) openStored(ctx context.Context, f recordFlags) (src recorded, err error) {
	store, err := a.openStore(ctx)
	if err != nil {
		return src, err
	}
	src.close = func() { _ = store.Close() }
	defer func() {
		if err != nil {
			src.close()
		}
	}()
	r := clickhouse.BatchRange{From: time.Now().Add(-f.since), To: time.Now(), Nodes: f.nodes, Source: f.source}
	if f.length > 0 {
		r.To = r.From.Add(f.length)
	}
	oldest, err := store.BatchesFrom(ctx)
	if err != nil {
		return src, daemon.Hint(err, "a sink of this release makes the table event_batches")
	}
	switch {
	case oldest.IsZero() || !oldest.Before(r.To):
		return src, daemon.Hint(fmt.Errorf("ClickHouse holds no events of before %s", r.To.Format(time.RFC3339)), "evaluator.store_events says which events are stored, sink.clickhouse.retention_events for how long")
	case oldest.After(r.From):
		fmt.Fprintf(a.err, "the oldest stored events are of %s: the recording starts there\n", oldest.Format(time.RFC3339))
	}
	src.read = func(ctx context.Context, w *recording.Writer) error {
		if err := a.recordStored(ctx, store, r, f.quiet, w); ctx.Err() == nil {
			return err
		}
		return nil
	}
	return src, nil
}

// recordStored records batches in the order of their times.
func (a *app) recordStored(ctx context.Context, store *clickhouse.Store, r clickhouse.BatchRange, quiet bool, w *recording.Writer) error {
	w.Picked()
	distinct := recording.NewDistinct()
	said := time.Now()
	seq := uint64(0)
	return store.ReadBatches(ctx, r, func(b clickhouse.EventBatch) error {
		if !quiet && time.Since(said) > progressEvery {
			said = time.Now()
			fmt.Fprintf(a.err, "%d batches, %d events, up to %s\n", w.Index().Batches, w.Index().Events, b.Time.Format(time.RFC3339))
		}
		data, err := distinct.Next(b.Data)
		if err != nil {
			w.Index().Bad++
			return nil
		}
		if data == nil {
			return nil
		}
		seq++
		return w.Add(subject.Enriched(b.Source, b.Node), seq, b.Time, data, false)
	})
}
