package clickhouse

import (
	"context"
	"fmt"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// EventBatch is a row of the table of event batches: stored events with all that rules can ask of them, as evaluators picked them.
// It is the batch (Node, BootID, FirstSeq, LastSeq).
type EventBatch struct {
	Time                 time.Time // of its first event
	Node, BootID, Source string
	FirstSeq, LastSeq    uint64
	Events               uint32
	Data                 []byte // package eventv1
}

// StoreBatches stores batches in one insert. It may be repeated, in this or another grouping: readers see one of each.
func (s *Store) StoreBatches(ctx context.Context, batches []EventBatch) error {
	const into = "event_batches (time, node, boot_id, source, first_seq, last_seq, events, bytes, batch)"
	return s.insert(ctx, "batches of events", into, len(batches), anyDays(), func(x driver.Batch, i int) error {
		b := &batches[i]
		if err := x.Append(b.Time, b.Node, b.BootID, b.Source, b.FirstSeq, b.LastSeq, b.Events, uint32(len(b.Data)), b.Data); err != nil {
			return fmt.Errorf("insert batch of event %d of boot %s of %s: %w", b.FirstSeq, b.BootID, b.Node, err)
		}
		return nil
	})
}

// BatchRange says which batches are read: those whose first event happened from From (inclusive) to To (exclusive).
type BatchRange struct {
	From, To time.Time
	Nodes    []string // none means all
	Source   string   // "" means all
}

// sliceBytes is how much of the batches one question asks for: the server sorts it in memory.
const sliceBytes = 64 << 20

func (r BatchRange) where() (string, []any) {
	sql, args := "time >= fromUnixTimestamp64Nano($1) AND time < fromUnixTimestamp64Nano($2)", []any{r.From.UnixNano(), r.To.UnixNano()}
	if len(r.Nodes) > 0 {
		args = append(args, r.Nodes)
		sql += fmt.Sprintf(" AND node IN ($%d)", len(args))
	}
	if r.Source != "" {
		args = append(args, r.Source)
		sql += fmt.Sprintf(" AND source = $%d", len(args))
	}
	return sql, args
}

// ReadBatches calls fn for the batches of a range, in the order of their times, then nodes and numbers, until ctx ends or fn returns
// an error. Events that were picked twice under different conditions may be in two of them.
func (s *Store) ReadBatches(ctx context.Context, r BatchRange, fn func(EventBatch) error) error {
	slices, err := s.batchSlices(ctx, r)
	if err != nil {
		return err
	}
	for _, slice := range slices {
		if err := s.readSlice(ctx, slice, fn); err != nil {
			return err
		}
	}
	return nil
}

// batchSlices cuts a range into parts of about sliceBytes, at full minutes.
func (s *Store) batchSlices(ctx context.Context, r BatchRange) ([]BatchRange, error) {
	where, args := r.where()
	rows, err := s.conn.Query(s.limited(ctx), "SELECT toStartOfMinute(time) AS minute, sum(bytes) FROM event_batches WHERE "+where+" GROUP BY minute ORDER BY minute", args...)
	if err != nil {
		return nil, fmt.Errorf("read sizes of batches of events: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var out []BatchRange
	var have uint64
	part := r
	for rows.Next() {
		var minute time.Time
		var size uint64
		if err := rows.Scan(&minute, &size); err != nil {
			return nil, fmt.Errorf("read sizes of batches of events: %w", err)
		}
		if have > 0 && have+size > sliceBytes {
			part.To = minute
			out = append(out, part)
			part.From, part.To, have = minute, r.To, 0
		}
		have += size
	}
	if have > 0 {
		out = append(out, part)
	}
	return out, rows.Err()
}

func (s *Store) readSlice(ctx context.Context, r BatchRange, fn func(EventBatch) error) error {
	where, args := r.where()
	rows, err := s.conn.Query(s.limited(ctx), "SELECT time, node, boot_id, source, first_seq, last_seq, events, batch FROM event_batches FINAL WHERE "+where+
		" ORDER BY time, node, boot_id, first_seq SETTINGS do_not_merge_across_partitions_select_final = 1", args...)
	if err != nil {
		return fmt.Errorf("read batches of events: %w", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var b EventBatch
		if err := rows.Scan(&b.Time, &b.Node, &b.BootID, &b.Source, &b.FirstSeq, &b.LastSeq, &b.Events, &b.Data); err != nil {
			return fmt.Errorf("read batches of events: %w", err)
		}
		if err := fn(b); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read batches of events: %w", err)
	}
	return nil
}

// BatchesFrom is the time of the oldest batch that is stored, the zero time if there is none.
func (s *Store) BatchesFrom(ctx context.Context) (time.Time, error) {
	var n uint64
	var t time.Time
	if err := s.conn.QueryRow(s.limited(ctx), "SELECT count(), min(time) FROM event_batches").Scan(&n, &t); err != nil {
		return time.Time{}, fmt.Errorf("read batches of events: %w", err)
	}
	if n == 0 {
		return time.Time{}, nil
	}
	return t, nil
}
