package clickhouse

import (
	"context"

	ch "github.com/ClickHouse/clickhouse-go/v2"
)

// ExecForTest runs a statement that changes something.
func ExecForTest(ctx context.Context, dsn, sql string) error {
	opts, err := ch.ParseDSN(dsn)
	if err != nil {
		return err
	}
	conn, err := ch.Open(opts)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	return conn.Exec(ctx, sql)
}

// RenderForTest returns the form for a cluster of a migration's text.
func RenderForTest(cluster, text string) ([]string, error) {
	r, err := newRendering(cluster)
	if err != nil {
		return nil, err
	}
	return migration{name: "test", sql: text}.statements(r)
}
