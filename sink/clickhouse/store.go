// Package clickhouse stores alerts in ClickHouse and answers questions about them.
//
// Each alert is stored once in effect: its id is deterministic, the table keeps one
// row of an id, and readers use the view alerts, which sees one even before the
// server has merged a repetition away. Rollups count distinct ids.
//
// A [Store] is safe for concurrent use.
package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/clickhouse/embedded"
)

// Errors that callers tell apart.
var (
	// ErrConnect: the server cannot be reached.
	ErrConnect = errors.New("connect to ClickHouse")
	// ErrSchema: the database's schema is not one that this program can work with.
	ErrSchema = errors.New("ClickHouse schema")
	// ErrQuery: the server refuses a query.
	ErrQuery = errors.New("query")
)

// Config says where ClickHouse is.
type Config struct {
	DSN             daemon.Secret `yaml:"dsn" doc:"server, as clickhouse://user:password@host:9000/database; none means the embedded one of gyre up"`
	Retention       time.Duration `yaml:"retention" doc:"how long alerts are kept; 0 keeps them for ever"`
	RetentionEvents time.Duration `yaml:"retention_events" doc:"how long events are kept that evaluator.store_events has stored; 0 keeps them for ever"`
	QueryTimeout    time.Duration `yaml:"query_timeout" doc:"how long a question may take on the server"`
}

// DefaultConfig keeps alerts for 90 days and events for 7.
func DefaultConfig() Config {
	return Config{Retention: 90 * 24 * time.Hour, RetentionEvents: 7 * 24 * time.Hour, QueryTimeout: time.Minute}
}

// Validate checks the configuration.
func (c Config) Validate() error {
	if c.Retention < 0 || c.Retention > 0 && c.Retention < time.Hour {
		return fmt.Errorf("retention is %s, want 0 or at least 1h", c.Retention)
	}
	if c.RetentionEvents < 0 || c.RetentionEvents > 0 && c.RetentionEvents < time.Hour {
		return fmt.Errorf("retention_events is %s, want 0 or at least 1h", c.RetentionEvents)
	}
	if c.QueryTimeout < time.Second {
		return fmt.Errorf("query_timeout is %s, want at least 1s", c.QueryTimeout)
	}
	return nil
}

// Store is a connection pool to one database.
type Store struct {
	conn driver.Conn
	cfg  Config
	// Version is the server's.
	Version string
}

// Open connects and refuses a server that is too old, naming its version.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("clickhouse configuration: %w", err)
	}
	dsn, err := cfg.DSN.Resolve()
	if err != nil {
		return nil, fmt.Errorf("read clickhouse dsn: %w", err)
	}
	opts, err := ch.ParseDSN(dsn)
	if err != nil {
		return nil, daemon.Hint(errors.New("clickhouse.dsn cannot be parsed"), "use the form clickhouse://user:password@host:9000/database")
	}
	opts.Compression = &ch.Compression{Method: ch.CompressionLZ4}
	opts.DialTimeout = 5 * time.Second
	opts.MaxOpenConns, opts.MaxIdleConns = 8, 4
	conn, err := ch.Open(opts)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConnect, err)
	}
	v, err := conn.ServerVersion()
	if err != nil {
		return nil, errors.Join(daemon.Hint(fmt.Errorf("%w at %v: %w", ErrConnect, opts.Addr, err), "start the server, or correct clickhouse.dsn"), conn.Close())
	}
	s := &Store{conn: conn, cfg: cfg, Version: fmt.Sprintf("%d.%d.%d", v.Version.Major, v.Version.Minor, v.Version.Patch)}
	if err := embedded.CheckVersion(s.Version, fmt.Sprintf("the server at %v", opts.Addr)); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return s, conn.Ping(ctx)
}

// Ready tells whether the server answers.
func (s *Store) Ready() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := s.conn.Ping(ctx); err != nil {
		return fmt.Errorf("%w: %w", ErrConnect, err)
	}
	return nil
}

// Close closes the connections.
func (s *Store) Close() error { return s.conn.Close() }
