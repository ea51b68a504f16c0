package clickhouse

import (
	"context"
	"fmt"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/google/uuid"

	"github.com/gyre-sec/gyre/schemas/changev1"
)

// InsertChanges stores changes of clusters in one insert. It may be repeated: the table keeps one row of an id.
func (s *Store) InsertChanges(ctx context.Context, changes []changev1.Change) error {
	if len(changes) == 0 {
		return nil
	}
	ctx = ch.Context(ctx, ch.WithSettings(ch.Settings{"async_insert": 0, "max_execution_time": 60}))
	batch, err := s.conn.PrepareBatch(ctx, "INSERT INTO changes_raw (id, time, cluster, kind, object_kind, namespace, name, uid, what, old, new, actor, touches)")
	if err != nil {
		return fmt.Errorf("prepare insert of %d changes: %w", len(changes), err)
	}
	for _, c := range changes {
		id, err := uuid.Parse(c.ID)
		if err == nil {
			err = batch.Append(id, c.Time, c.Cluster, c.Kind, c.ObjectKind, c.Namespace, c.Name, c.UID, c.What, c.Old, c.New, c.Actor, nonNil(c.Touches))
		}
		if err != nil {
			_ = batch.Abort()
			return fmt.Errorf("insert change %s: %w", c.ID, err)
		}
	}
	if err := batch.Send(); err != nil {
		return fmt.Errorf("insert %d changes: %w", len(changes), err)
	}
	return nil
}
