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
	"sync/atomic"
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
	Retention       time.Duration `yaml:"retention" doc:"how long alerts, their events and changes are kept; 0 keeps them for ever"`
	Rollups         time.Duration `yaml:"retention_rollups" doc:"how long the numbers of alerts by minute and hour are kept; 0 keeps them for ever"`
	RetentionEvents time.Duration `yaml:"retention_events" doc:"how long events are kept that evaluator.store_events has stored; 0 keeps them for ever"`
	Cluster         string        `yaml:"cluster" doc:"cluster of the server, as in system.clusters: tables are replicated and spread over its shards; none means one server"`
	QueryTimeout    time.Duration `yaml:"query_timeout" doc:"how long a question may take on the server"`
}

// DefaultConfig keeps alerts for 90 days, their numbers for 400 and events for 7.
func DefaultConfig() Config {
	return Config{Retention: 90 * 24 * time.Hour, Rollups: 400 * 24 * time.Hour, RetentionEvents: 7 * 24 * time.Hour, QueryTimeout: time.Minute}
}

// Validate checks the configuration.
func (c Config) Validate() error {
	for key, d := range map[string]time.Duration{"retention": c.Retention, "retention_rollups": c.Rollups, "retention_events": c.RetentionEvents} {
		if d < 0 || d > 0 && d < time.Hour {
			return fmt.Errorf("%s is %s, want 0 or at least 1h", key, d)
		}
	}
	if c.QueryTimeout < time.Second {
		return fmt.Errorf("query_timeout is %s, want at least 1s", c.QueryTimeout)
	}
	_, err := renderer(c.Cluster)
	return err
}

// Store is a connection pool to one database.
type Store struct {
	conn driver.Conn
	cfg  Config
	addr string

	version atomic.Pointer[string]
}

// Open connects and refuses a server that is too old, naming its version.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	s, err := Prepare(cfg)
	if err != nil {
		return nil, err
	}
	if err := s.Check(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Prepare returns a Store that connects when it is used first; the server may be away. Follow it by [Store.Check].
func Prepare(cfg Config) (*Store, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("clickhouse configuration: %w", err)
	}
	dsn, err := cfg.DSN.Resolve()
	if err != nil {
		return nil, fmt.Errorf("read clickhouse dsn: %w", err)
	}
	if cfg.Cluster != "" {
		if dsn, err = shardSettings(dsn); err != nil {
			return nil, err
		}
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
	return &Store{conn: conn, cfg: cfg, addr: fmt.Sprint(opts.Addr)}, nil
}

// Check connects and refuses a server that is too old with [embedded.ErrTooOld].
func (s *Store) Check(ctx context.Context) error {
	if err := s.conn.Ping(ctx); err != nil {
		return daemon.Hint(fmt.Errorf("%w at %s: %w", ErrConnect, s.addr, err), Diagnose(err).Remedy)
	}
	v, err := s.conn.ServerVersion()
	if err != nil {
		return daemon.Hint(fmt.Errorf("%w at %s: %w", ErrConnect, s.addr, err), Diagnose(err).Remedy)
	}
	version := fmt.Sprintf("%d.%d.%d", v.Version.Major, v.Version.Minor, v.Version.Patch)
	s.version.Store(&version)
	return embedded.CheckVersion(version, "the server at "+s.addr)
}

// Version is the server's, "" if it was not reached yet.
func (s *Store) Version() string {
	if v := s.version.Load(); v != nil {
		return *v
	}
	return ""
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
func (s *Store) Close() error {
	return s.conn.Close()
}
