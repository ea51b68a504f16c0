package clickhouse

import (
	"context"
	"fmt"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/uuid"

	"github.com/gyre-sec/gyre/schemas/changev1"
)

// InsertChanges stores changes of clusters in one insert. It may be repeated: the table keeps one row of an id.
func (s *Store) InsertChanges(ctx context.Context, changes []changev1.Change) error {
	const into = "changes_raw (id, time, cluster, kind, object_kind, namespace, name, uid, what, old, new, actor, touches)"
	return s.insert(ctx, "changes", into, len(changes), nil, func(b driver.Batch, i int) error {
		c := &changes[i]
		id, err := uuid.Parse(c.ID)
		if err == nil {
			err = b.Append(id, c.Time, c.Cluster, c.Kind, c.ObjectKind, c.Namespace, c.Name, c.UID, c.What, c.Old, c.New, c.Actor, nonNil(c.Touches))
		}
		if err != nil {
			return fmt.Errorf("insert change %s: %w", c.ID, err)
		}
		return nil
	})
}
