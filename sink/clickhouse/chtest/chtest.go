// Package chtest runs real servers for tests, and changes their databases.
package chtest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"

	ch "github.com/ClickHouse/clickhouse-go/v2"

	"github.com/gyre-sec/gyre/sink/clickhouse/embedded"
)

// Server starts a server in a directory, one of its own if that is empty, and stops it at the end of the test. The test's TestMain
// has to be the server's child: see [embedded.ChildMain].
func Server(t testing.TB, dir string) *embedded.Server {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	if _, err := embedded.Fetch(t.Context(), log); err != nil {
		t.Fatalf("fetch ClickHouse: %v", err)
	}
	if dir == "" {
		dir = t.TempDir()
	}
	s, err := embedded.Start(t.Context(), embedded.Config{Dir: dir}, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s
}

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
