package cli

import (
	"context"

	"github.com/gyre-sec/gyre/evaluator/backtest"
	"github.com/gyre-sec/gyre/schemas/alertv1"
	"github.com/gyre-sec/gyre/sink/clickhouse"
)

// storeBatch is how many alerts one insert has.
const storeBatch = 5000

// replayStore gathers alerts of a replay into inserts. Without a store it does nothing.
type replayStore struct {
	store *clickhouse.Store
	id    string
	list  []clickhouse.ReplayAlert
}

func (s *replayStore) add(ctx context.Context, v backtest.Verdict, a *alertv1.Alert) error {
	s.list = append(s.list, clickhouse.ReplayAlert{Verdict: v.String(), Alert: *a})
	if len(s.list) < storeBatch {
		return nil
	}
	return s.flush(context.WithoutCancel(ctx))
}

func (s *replayStore) flush(ctx context.Context) error {
	if s.store == nil {
		return nil
	}
	err := s.store.InsertReplayAlerts(ctx, s.id, s.list)
	if err == nil {
		s.list = s.list[:0]
	}
	return err
}
