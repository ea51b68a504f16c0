package clickhouse

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/gyre-sec/gyre/daemon"
)

// shardSettings adds what a Distributed table needs to a DSN that does not say otherwise: an insert waits for the shards,
// subqueries read all of them, and rows that a migration copies go where the sharding key says.
func shardSettings(dsn string) (string, error) {
	u, err := url.Parse(dsn)
	if err != nil {
		return "", daemon.Hint(errors.New("clickhouse.dsn cannot be parsed"), "use the form clickhouse://user:password@host:9000/database")
	}
	q := u.Query()
	for name, value := range map[string]string{"distributed_foreground_insert": "1", "distributed_product_mode": "global", "parallel_distributed_insert_select": "0"} {
		if !q.Has(name) {
			q.Set(name, value)
		}
	}
	u.RawQuery = q.Encode()
	return u.String(), nil
}

var distributedEngine = regexp.MustCompile(`^Distributed\('?([^',]+)'?`)

// cluster returns the cluster whose schema the database has or is to have, "" for that of one server. A database with the
// other kind of schema than is configured is refused with [ErrSchema].
func (s *Store) cluster(ctx context.Context) (string, error) {
	var engine string
	want := s.cfg.Cluster
	err := s.conn.QueryRow(ctx, "SELECT engine_full FROM system.tables WHERE database = currentDatabase() AND name = 'alerts_raw'").Scan(&engine)
	if errors.Is(err, sql.ErrNoRows) {
		return want, nil
	}
	if err != nil {
		return "", fmt.Errorf("%w: look up table alerts_raw: %w", ErrSchema, err)
	}
	return schemaKind(want, engine)
}

// schemaKind compares the configured cluster with the engine of the table that there is.
func schemaKind(want, engine string) (string, error) {
	m := distributedEngine.FindStringSubmatch(engine)
	switch {
	case m == nil && want != "":
		return "", daemon.Hint(fmt.Errorf("%w: the database has the tables of one server, and clickhouse.cluster is %s", ErrSchema, want),
			"use another database, or leave clickhouse.cluster empty")
	case m == nil:
		return "", nil
	case want != "" && want != m[1] && !strings.Contains(want+m[1], "{"):
		return "", daemon.Hint(fmt.Errorf("%w: the database has the tables of cluster %s, and clickhouse.cluster is %s", ErrSchema, m[1], want),
			"correct clickhouse.cluster, or use another database")
	case want == "": // as a program that only asks, or replays, without a cluster's configuration
		return m[1], nil
	}
	return want, nil
}
