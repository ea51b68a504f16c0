package clickhouse

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gyre-sec/gyre/daemon"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

type migration struct {
	number         uint32
	name, sum, sql string
}

func migrations() ([]migration, error) {
	names, err := fs.Glob(migrationFiles, "migrations/*.sql")
	if err != nil {
		return nil, err
	}
	out := make([]migration, 0, len(names))
	for _, n := range names {
		text, err := migrationFiles.ReadFile(n)
		if err != nil {
			return nil, err
		}
		base := strings.TrimSuffix(strings.TrimPrefix(n, "migrations/"), ".sql")
		number, err := strconv.ParseUint(base[:4], 10, 32)
		if err != nil || len(out) > 0 && uint32(number) <= out[len(out)-1].number { // numbers may leave gaps
			return nil, fmt.Errorf("migration %s has no number of its own", base)
		}
		sum := sha256.Sum256(text)
		out = append(out, migration{uint32(number), base, hex.EncodeToString(sum[:]), string(text)})
	}
	return out, nil
}

// Migrate brings the schema up to what this program needs. It may run in several
// programs at once: every statement can be repeated, and the record of what was
// applied is the same whoever writes it. A migration that was changed after it was
// applied, or a schema newer than this program, is refused with [ErrSchema].
func (s *Store) Migrate(ctx context.Context) error {
	all, err := migrations()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrSchema, err)
	}
	cluster, err := s.cluster(ctx)
	if err != nil {
		return err
	}
	r, err := renderer(cluster)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrSchema, err)
	}
	if err := s.conn.Exec(ctx, migrationsTable(cluster)); err != nil {
		return fmt.Errorf("%w: make the table of migrations: %w", ErrSchema, err)
	}
	applied, err := s.applied(ctx)
	if err != nil {
		return err
	}
	for n := range applied {
		if !slices.ContainsFunc(all, func(m migration) bool { return m.number == n }) {
			return daemon.Hint(fmt.Errorf("%w: the database has migration %d, which this program does not know", ErrSchema, n), "upgrade this program")
		}
	}
	for _, m := range all {
		stmts, err := m.statements(r) // rendered even if applied: what comes later may name its tables
		if err != nil {
			return fmt.Errorf("%w: %w", ErrSchema, err)
		}
		sum, done := applied[m.number]
		if done && sum != m.sum {
			return daemon.Hint(fmt.Errorf("%w: migration %s was applied in another form", ErrSchema, m.name), "use the release that made this database, or another database")
		}
		if done {
			continue
		}
		if err := s.apply(ctx, m, stmts); err != nil {
			return err
		}
	}
	return s.retain(ctx, r)
}

func (s *Store) applied(ctx context.Context) (map[uint32]string, error) {
	rows, err := s.conn.Query(ctx, "SELECT number, checksum FROM schema_migrations FINAL")
	if err != nil {
		return nil, fmt.Errorf("%w: read the table of migrations: %w", ErrSchema, err)
	}
	defer func() { _ = rows.Close() }()
	out := map[uint32]string{}
	for rows.Next() {
		var n uint32
		var sum string
		if err := rows.Scan(&n, &sum); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrSchema, err)
		}
		out[n] = sum
	}
	return out, rows.Err()
}

func (s *Store) apply(ctx context.Context, m migration, stmts []string) error {
	for _, stmt := range stmts {
		for _, create := range []string{"CREATE TABLE ", "CREATE VIEW ", "CREATE MATERIALIZED VIEW "} {
			if strings.HasPrefix(stmt, create) {
				stmt = create + "IF NOT EXISTS " + stmt[len(create):]
			}
		}
		if err := s.conn.Exec(ctx, stmt); err != nil {
			return fmt.Errorf("%w: apply migration %s: %w", ErrSchema, m.name, err)
		}
	}
	if err := s.conn.Exec(ctx, "INSERT INTO schema_migrations (number, name, checksum) VALUES ($1, $2, $3)", m.number, m.name, m.sum); err != nil {
		return fmt.Errorf("%w: record migration %s: %w", ErrSchema, m.name, err)
	}
	return nil
}

// retain sets how long the tables keep rows.
func (s *Store) retain(ctx context.Context, r *rendering) error {
	for _, t := range []struct {
		table, column string
		keep          time.Duration
	}{
		{"alerts_raw", "time", s.cfg.Retention},
		{"alert_events_raw", "alert_time", s.cfg.Retention},
		{"changes_raw", "time", s.cfg.Retention},
		{"alerts_minute", "minute", s.cfg.Rollups},
		{"alerts_hour", "hour", s.cfg.Rollups},
		{"events_raw", "time", s.cfg.RetentionEvents},
		{"event_batches", "time", s.cfg.RetentionEvents},
	} {
		var now, on string
		if r != nil {
			t.table, on = t.table+localSuffix, r.on()
		}
		if err := s.conn.QueryRow(ctx, "SELECT engine_full FROM system.tables WHERE database = currentDatabase() AND name = $1", t.table).Scan(&now); err != nil {
			return fmt.Errorf("%w: look up table %s: %w", ErrSchema, t.table, err)
		}
		want := fmt.Sprintf("TTL toDateTime(%s) + toIntervalSecond(%d)", t.column, int64(t.keep/time.Second))
		stmt := "ALTER TABLE " + t.table + on + " MODIFY " + want
		switch {
		case t.keep == 0 && !strings.Contains(now, " TTL "), t.keep != 0 && strings.Contains(now, want):
			continue
		case t.keep == 0:
			stmt = "ALTER TABLE " + t.table + on + " REMOVE TTL"
		}
		if err := s.conn.Exec(ctx, stmt); err != nil {
			return fmt.Errorf("%w: set retention of %s: %w", ErrSchema, t.table, err)
		}
	}
	return nil
}
