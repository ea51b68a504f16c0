package clickhouse

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/gyre-sec/gyre/daemon"
)

// ClusterConfig says where ClickHouse is, one server or a cluster.
type ClusterConfig struct {
	Config  `yaml:",inline"`
	Cluster string `yaml:"cluster" doc:"cluster of the server, as in system.clusters: tables are replicated and spread over its shards; none means one server"`
}

// Validate checks the configuration.
func (c ClusterConfig) Validate() error {
	if c.Cluster == "" {
		return c.Config.Validate()
	}
	_, err := newRendering(c.Cluster)
	return errors.Join(err, c.Config.Validate())
}

// clusterConn is a connection whose schema is that of a cluster.
type clusterConn struct {
	driver.Conn
	name string
}

// OpenCluster is [Open] for a server of a cluster, if one is configured: [Store.Migrate] makes the cluster's schema, and
// an insert returns when the shards have the rows.
func OpenCluster(ctx context.Context, cfg ClusterConfig) (*Store, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("clickhouse configuration: %w", err)
	}
	if cfg.Cluster == "" {
		return Open(ctx, cfg.Config)
	}
	dsn, err := cfg.DSN.Resolve()
	if err != nil {
		return nil, fmt.Errorf("read clickhouse dsn: %w", err)
	}
	if dsn, err = shardSettings(dsn); err != nil {
		return nil, err
	}
	cfg.DSN = daemon.NewSecret(dsn)
	s, err := Open(ctx, cfg.Config)
	if s != nil && s.conn != nil {
		s.conn = clusterConn{s.conn, cfg.Cluster}
	}
	return s, err
}

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
	var engine, want string
	if c, ok := s.conn.(clusterConn); ok {
		want = c.name
	}
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
