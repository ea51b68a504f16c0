// Package postgres inserts alerts into a PostgreSQL table.
package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/format"
	"github.com/gyre-sec/gyre/sink/notify/web"
)

// Config says where to.
type Config struct {
	DSN    daemon.Secret `yaml:"dsn" doc:"connection, as postgres://user:password@host:5432/database?sslmode=verify-full"`
	Table  string        `yaml:"table" doc:"table, as alerts or schema.alerts"`
	Create bool          `yaml:"create" doc:"make the table if it is not there"`
}

// Default makes the table gyre_alerts.
func Default() *Config { return &Config{Table: "gyre_alerts", Create: true} }

var tableForm = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*(\.[a-zA-Z_][a-zA-Z0-9_]*)?$`)

// Validate checks the configuration.
func (c *Config) Validate() error {
	var table error
	if !tableForm.MatchString(c.Table) {
		table = fmt.Errorf("table is %q, want a name or schema.name", c.Table)
	}
	return errors.Join(web.Required("dsn", c.DSN.IsSet()), table)
}

// Batch inserts many in one transaction.
func (*Config) Batch() (int, time.Duration) { return 500, 200 * time.Millisecond }

const columns = `(id uuid PRIMARY KEY, time timestamptz NOT NULL, rule_id text NOT NULL, rule text NOT NULL, priority text NOT NULL, source text NOT NULL, node text NOT NULL, output text NOT NULL,
	tags text[] NOT NULL, mitre text[] NOT NULL, namespace text NOT NULL, pod text NOT NULL, container text NOT NULL, process text NOT NULL, alert jsonb NOT NULL)`

type table struct {
	cfg  *Config
	pool *pgxpool.Pool
	name string
	mu   sync.Mutex
	made bool
}

// Open makes no connection.
func (c *Config) Open(notify.Env) (notify.Notifier, error) {
	dsn, err := web.Secret("dsn", c.DSN)
	if err != nil {
		return nil, err
	}
	cfg, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, daemon.Hint(errors.New("dsn is no connection string"), "write it as postgres://user:password@host:5432/database?sslmode=verify-full")
	}
	cfg.MinConns, cfg.MaxConns = 0, 4
	pool, err := pgxpool.NewWithConfig(context.Background(), cfg) // connects when a connection is asked for
	if err != nil {
		return nil, fmt.Errorf("make pool: %w", err)
	}
	return &table{cfg: c, pool: pool, name: pgx.Identifier(strings.Split(c.Table, ".")).Sanitize()}, nil
}

// Notify inserts a row for each alert, all or none. A row that is there stays as it is.
func (t *table) Notify(ctx context.Context, batch []notify.Message) error {
	if err := t.create(ctx); err != nil {
		return classify(err)
	}
	b := &pgx.Batch{}
	for i := range batch {
		a := format.Cleaned(batch[i].Alert)
		doc, err := json.Marshal(a)
		if err != nil {
			return bus.Permanent(err)
		}
		c := notify.Clean
		b.Queue("INSERT INTO "+t.name+" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) ON CONFLICT DO NOTHING",
			a.ID, a.When(), a.RuleID, a.Rule, a.Priority.String(), c(a.Source), a.Node, a.Output, a.Tags, a.MITRE, c(a.K8s.Namespace), c(a.K8s.Pod), c(a.Container.Name), a.Process().Name, string(doc))
	}
	err := pgx.BeginFunc(ctx, t.pool, func(tx pgx.Tx) error { return tx.SendBatch(ctx, b).Close() })
	return classify(err)
}

func (t *table) create(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.made || !t.cfg.Create {
		return nil
	}
	if _, err := t.pool.Exec(ctx, "CREATE TABLE IF NOT EXISTS "+t.name+" "+columns); err != nil {
		return fmt.Errorf("make table: %w", err)
	}
	t.made = true
	return nil
}

// classify: data that the table refuses (SQLSTATE classes 22 and 23) is the alert's fault, all else is the server's or the operator's.
func classify(err error) error {
	pe, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return err
	}
	err = fmt.Errorf("the server answers %s: %s", pe.Code, notify.Cut(notify.Clean(pe.Message), 200))
	switch {
	case strings.HasPrefix(pe.Code, "22"), strings.HasPrefix(pe.Code, "23"):
		return bus.Permanent(err)
	case strings.HasPrefix(pe.Code, "42"):
		return daemon.Hint(err, "check that the table has the columns that docs/outputs.md lists, and that the user may insert")
	}
	return err
}

// Close closes the connections.
func (t *table) Close() error {
	t.pool.Close()
	return nil
}
