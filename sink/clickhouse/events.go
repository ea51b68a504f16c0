package clickhouse

import (
	"context"
	"fmt"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/uuid"

	"github.com/gyre-sec/gyre/schemas/alertv1"
)

const eventColumns = "alert_id, alert_time, idx, rule_id, step, time, node, boot_id, event_seq, event_type, exec_id, pid, process, cmdline, detail"

// insertEvents stores the events behind alerts of correlation rules. It may be repeated, as [Store.InsertAlerts].
func (s *Store) insertEvents(ctx context.Context, alerts []alertv1.Alert) error {
	type event struct {
		of    *alertv1.Alert
		index int
	}
	var all []event
	for i := range alerts {
		for j := range alerts[i].Events {
			all = append(all, event{&alerts[i], j})
		}
	}
	if all == nil {
		return nil
	}
	settings := ch.Settings{"insert_deduplication_token": "events" + token(alerts)}
	return s.insert(ctx, "events of alerts", "alert_events_raw ("+eventColumns+")", len(all), settings, func(b driver.Batch, i int) error {
		a, j := all[i].of, all[i].index
		x := &a.Events[j]
		err := b.Append(uuid.UUID(a.ID), a.When(), uint16(j), a.RuleID, x.Step, time.Unix(0, x.Time).UTC(), x.Node, x.BootID, x.Seq, x.Kind, x.ExecID, x.PID, x.Process, x.Cmdline, x.Detail)
		if err != nil {
			return fmt.Errorf("insert events of alert %s: %w", a.ID, err)
		}
		return nil
	})
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
