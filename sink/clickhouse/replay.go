package clickhouse

import (
	"context"
	"fmt"
	"regexp"

	ch "github.com/ClickHouse/clickhouse-go/v2"

	"github.com/gyre-sec/gyre/schemas/alertv1"
)

// ReplayAlert is an alert that a replay raised; Verdict is same, new or vanished.
type ReplayAlert struct {
	Verdict string
	Alert   alertv1.Alert
}

var replayID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// InsertReplayAlerts stores alerts of a replay in one insert, apart from live ones. It may be repeated: readers use FINAL.
func (s *Store) InsertReplayAlerts(ctx context.Context, replay string, alerts []ReplayAlert) error {
	if len(alerts) == 0 {
		return nil
	}
	ctx = ch.Context(ctx, ch.WithSettings(ch.Settings{"async_insert": 0, "max_execution_time": 60}))
	batch, err := s.conn.PrepareBatch(ctx, "INSERT INTO replay_alerts (replay_id, verdict, "+alertColumns+")")
	if err != nil {
		return fmt.Errorf("prepare insert of %d alerts of replay %s: %w", len(alerts), replay, err)
	}
	for i := range alerts {
		if err := batch.Append(append([]any{replay, alerts[i].Verdict}, row(&alerts[i].Alert)...)...); err != nil {
			_ = batch.Abort()
			return fmt.Errorf("insert alert %s of replay %s: %w", alerts[i].Alert.ID, replay, err)
		}
	}
	if err := batch.Send(); err != nil {
		return fmt.Errorf("insert %d alerts of replay %s: %w", len(alerts), replay, err)
	}
	return nil
}

// DeleteReplay removes the stored alerts of a replay.
func (s *Store) DeleteReplay(ctx context.Context, replay string) error {
	if !replayID.MatchString(replay) {
		return fmt.Errorf("%q is not an id of a replay", replay)
	}
	if err := s.conn.Exec(ctx, "ALTER TABLE replay_alerts DROP PARTITION '"+replay+"'"); err != nil {
		return fmt.Errorf("delete alerts of replay %s: %w", replay, err)
	}
	return nil
}
