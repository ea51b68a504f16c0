package clickhouse

import (
	"context"
	"fmt"
	"maps"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// insert sends n rows of what to a table and its columns in one insert, with more settings than every insert has. add appends the row of
// an index, and names it in its error. Without rows nothing is sent.
func (s *Store) insert(ctx context.Context, what, into string, n int, more ch.Settings, add func(driver.Batch, int) error) error {
	if n == 0 {
		return nil
	}
	settings := ch.Settings{"async_insert": 0, "max_execution_time": 60}
	maps.Copy(settings, more)
	batch, err := s.conn.PrepareBatch(ch.Context(ctx, ch.WithSettings(settings)), "INSERT INTO "+into)
	if err != nil {
		return fmt.Errorf("prepare insert of %d %s: %w", n, what, err)
	}
	for i := range n {
		if err := add(batch, i); err != nil {
			_ = batch.Abort()
			return err
		}
	}
	if err := batch.Send(); err != nil {
		return fmt.Errorf("insert %d %s: %w", n, what, err)
	}
	return nil
}
