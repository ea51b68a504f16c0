package clickhouse

import (
	"context"
	"fmt"
	"regexp"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

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
	what := "alerts of replay " + replay
	return s.insert(ctx, what, "replay_alerts (replay_id, verdict, "+alertColumns+")", len(alerts), nil, func(b driver.Batch, i int) error {
		if err := b.Append(append([]any{replay, alerts[i].Verdict}, row(&alerts[i].Alert)...)...); err != nil {
			return fmt.Errorf("insert alert %s of replay %s: %w", alerts[i].Alert.ID, replay, err)
		}
		return nil
	})
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
