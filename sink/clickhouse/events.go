package clickhouse

import (
	"context"
	"fmt"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/google/uuid"

	"github.com/gyre-sec/gyre/schemas/alertv1"
)

const eventColumns = "alert_id, alert_time, idx, rule_id, step, time, node, boot_id, event_seq, event_type, exec_id, pid, process, cmdline, detail"

// insertEvents stores the events behind alerts of correlation rules. It may be repeated, as [Store.InsertAlerts].
func (s *Store) insertEvents(ctx context.Context, alerts []alertv1.Alert) error {
	n := 0
	for i := range alerts {
		n += len(alerts[i].Events)
	}
	if n == 0 {
		return nil
	}
	ctx = ch.Context(ctx, ch.WithSettings(ch.Settings{"async_insert": 0, "insert_deduplication_token": "events" + token(alerts), "max_execution_time": 60}))
	batch, err := s.conn.PrepareBatch(ctx, "INSERT INTO alert_events_raw ("+eventColumns+")")
	if err != nil {
		return fmt.Errorf("prepare insert of %d events of alerts: %w", n, err)
	}
	for i := range alerts {
		a := &alerts[i]
		for j, x := range a.Events {
			err := batch.Append(uuid.UUID(a.ID), a.When(), uint16(j), a.RuleID, x.Step, time.Unix(0, x.Time).UTC(), x.Node, x.BootID, x.Seq, x.Kind, x.ExecID, x.PID, x.Process, x.Cmdline, x.Detail)
			if err != nil {
				_ = batch.Abort()
				return fmt.Errorf("insert events of alert %s: %w", a.ID, err)
			}
		}
	}
	if err := batch.Send(); err != nil {
		return fmt.Errorf("insert %d events of alerts: %w", n, err)
	}
	return nil
}

// readEvents reads the events behind an alert.
func (s *Store) readEvents(ctx context.Context, a *alertv1.Alert) error {
	rows, err := s.conn.Query(s.limited(ctx), "SELECT step, toUnixTimestamp64Nano(time), node, boot_id, event_seq, event_type, exec_id, pid, process, cmdline, detail FROM alert_events WHERE alert_id = toUUIDOrZero($1) ORDER BY idx", a.ID.String())
	if err != nil {
		return fmt.Errorf("read events of alert %s: %w", a.ID, err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var x alertv1.Event
		if err := rows.Scan(&x.Step, &x.Time, &x.Node, &x.BootID, &x.Seq, &x.Kind, &x.ExecID, &x.PID, &x.Process, &x.Cmdline, &x.Detail); err != nil {
			return fmt.Errorf("read events of alert %s: %w", a.ID, err)
		}
		a.Events = append(a.Events, x)
	}
	return rows.Err()
}
