// Package chtest changes databases of real servers for tests.
package chtest

import (
	"context"
	"errors"
	"fmt"

	ch "github.com/ClickHouse/clickhouse-go/v2"
)

// Exec runs statements that change something, one after the other.
func Exec(ctx context.Context, dsn string, stmts ...string) error {
	opts, err := ch.ParseDSN(dsn)
	if err != nil {
		return fmt.Errorf("parse dsn: %w", err)
	}
	conn, err := ch.Open(opts)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	for _, sql := range stmts {
		if err := conn.Exec(ctx, sql); err != nil {
			return errors.Join(fmt.Errorf("%s: %w", sql, err), conn.Close())
		}
	}
	return conn.Close()
}
