// Package mysql inserts alerts into a table of MySQL or MariaDB.
package mysql

import (
	"context"
	"crypto/tls"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	driver "github.com/go-sql-driver/mysql"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/format"
	"github.com/gyre-sec/gyre/sink/notify/web"
)

// Config says where to.
type Config struct {
	Address  string        `yaml:"address" doc:"host:port of the server"`
	Database string        `yaml:"database" doc:"database"`
	User     string        `yaml:"user" doc:"user"`
	Password daemon.Secret `yaml:"password" doc:"password"`
	Table    string        `yaml:"table" doc:"table, as alerts or database.alerts"`
	Create   bool          `yaml:"create" doc:"make the table if it is not there"`
	TLS      bool          `yaml:"tls" doc:"connect with TLS; without it the password is sent only in a hashed form, and the alerts in clear text"`
	CAFile   string        `yaml:"ca_file" doc:"certificates of the authorities that sign the server's"`
	CertFile string        `yaml:"cert_file" doc:"client certificate"`
	KeyFile  string        `yaml:"key_file" doc:"key of the client certificate"`
}

// Default makes the table gyre_alerts, over TLS.
func Default() *Config { return &Config{Table: "gyre_alerts", Create: true, TLS: true} }

var tableForm = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*(\.[a-zA-Z_][a-zA-Z0-9_]*)?$`)

func (c *Config) tls() web.Config {
	return web.Config{CAFile: c.CAFile, CertFile: c.CertFile, KeyFile: c.KeyFile}
}

// Validate checks the configuration.
func (c *Config) Validate() error {
	errs := []error{web.Required("address", c.Address != ""), web.Required("database", c.Database != ""), web.Required("user", c.User != ""), c.tls().Validate()}
	if _, _, err := net.SplitHostPort(c.Address); c.Address != "" && err != nil {
		errs = append(errs, fmt.Errorf("address is %q, want host:port", c.Address))
	}
	if !tableForm.MatchString(c.Table) {
		errs = append(errs, fmt.Errorf("table is %q, want a name or database.name", c.Table))
	}
	return errors.Join(errs...)
}

// Batch inserts many in one statement.
func (*Config) Batch() (int, time.Duration) { return 500, 200 * time.Millisecond }

const columns = `(id char(36) CHARACTER SET ascii NOT NULL PRIMARY KEY, time datetime(6) NOT NULL, rule_id varchar(255) NOT NULL, rule varchar(255) NOT NULL, priority varchar(16) NOT NULL,
	source varchar(64) NOT NULL, node varchar(255) NOT NULL, output text NOT NULL, tags text NOT NULL, mitre text NOT NULL, namespace varchar(255) NOT NULL, pod varchar(255) NOT NULL,
	container varchar(255) NOT NULL, process varchar(255) NOT NULL, alert longtext NOT NULL, KEY (time)) DEFAULT CHARACTER SET utf8mb4`

// values are the places of one row.
const values = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"

// Sizes of columns and of a statement. A server takes 16 MiB by default (MariaDB, 4 MiB before MySQL 8).
const (
	maxText   = 255       // characters
	maxOutput = 60 << 10  // bytes
	maxAlert  = 512 << 10 // bytes
	maxQuery  = 3 << 20   // bytes
)

type table struct {
	cfg  *Config
	db   *sql.DB
	name string
	mu   sync.Mutex
	made bool
}

// Open makes no connection.
func (c *Config) Open(notify.Env) (notify.Notifier, error) {
	password, err := c.Password.Resolve()
	if err != nil {
		return nil, fmt.Errorf("password: %w", err)
	}
	d := driver.NewConfig()
	d.Net, d.Addr, d.DBName, d.User, d.Passwd = "tcp", c.Address, c.Database, c.User, password
	d.InterpolateParams, d.Logger = true, log.New(io.Discard, "", 0) // what it would log comes back as an error
	d.ConnectionAttributes, d.Params = "program_name:gyre", map[string]string{"time_zone": "'+00:00'"}
	if c.TLS {
		t, err := c.tls().TLS()
		if err != nil {
			return nil, err
		}
		host, _, _ := net.SplitHostPort(c.Address)
		t.ServerName, t.MinVersion = host, tls.VersionTLS12
		d.TLS = t
	}
	conn, err := driver.NewConnector(d)
	if err != nil {
		return nil, fmt.Errorf("make connector: %w", err)
	}
	db := sql.OpenDB(conn)
	db.SetMaxOpenConns(4)
	db.SetConnMaxIdleTime(time.Minute)
	parts := strings.Split(c.Table, ".")
	return &table{cfg: c, db: db, name: "`" + strings.Join(parts, "`.`") + "`"}, nil
}

// Notify inserts a row for each alert; all of a statement, or none. A row that is there stays as it is.
func (t *table) Notify(ctx context.Context, batch []notify.Message) error {
	if err := t.create(ctx); err != nil {
		return classify(err)
	}
	var args []any
	rows, size := 0, 0
	flush := func() error {
		if rows == 0 {
			return nil
		}
		query := "INSERT INTO " + t.name + " VALUES " + values + strings.Repeat(", "+values, rows-1) + " ON DUPLICATE KEY UPDATE id = id"
		_, err := t.db.ExecContext(ctx, query, args...)
		args, rows, size = args[:0], 0, 0
		return classify(err)
	}
	for i := range batch {
		row, n, err := rowOf(&batch[i])
		if err != nil {
			return bus.Permanent(err)
		}
		if size+n > maxQuery {
			if err := flush(); err != nil {
				return err
			}
		}
		args, rows, size = append(args, row...), rows+1, size+n
	}
	return flush()
}

// rowOf returns the values of an alert, cut to what their columns take, and about how many bytes they are in a statement.
func rowOf(m *notify.Message) (row []any, size int, err error) {
	a := format.Cleaned(m.Alert)
	doc, err := format.Fit(a, maxAlert)
	if err != nil {
		return nil, 0, err
	}
	c := func(s string) string { return notify.Cut(notify.Clean(s), maxText) }
	list := func(in []string) string {
		b, _ := json.Marshal(in) // texts always encode
		return notify.CutBytes(string(b), maxOutput)
	}
	row = []any{
		a.ID.String(), a.When().UTC().Truncate(time.Microsecond), c(a.RuleID), c(a.Rule), a.Priority.String(), notify.Cut(notify.Clean(a.Source), 64), c(a.Node), notify.CutBytes(a.Output, maxOutput), list(a.Tags), list(a.MITRE),
		c(a.K8s.Namespace), c(a.K8s.Pod), c(a.Container.Name), c(a.Process().Name), string(doc),
	}
	for _, v := range row {
		if s, ok := v.(string); ok {
			size += 2*len(s) + 4 // every character may be escaped
		}
	}
	return row, size, nil
}

func (t *table) create(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.made || !t.cfg.Create {
		return nil
	}
	if _, err := t.db.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS "+t.name+" "+columns); err != nil {
		return fmt.Errorf("make table: %w", err)
	}
	t.made = true
	return nil
}

// Errors of the server (MySQL 8, MariaDB 10) that the data of a row are to blame for: out of range, no such value, constraint, too
// long, wrong JSON, wrong value, truncated, check constraint.
func dataErrors() []uint16 {
	return []uint16{1048, 1062, 1264, 1265, 1292, 1366, 1406, 1451, 1452, 3140, 3819, 4025}
}

// classify: data that the table refuses is the alert's fault, all else is the server's or the operator's.
func classify(err error) error {
	me, ok := errors.AsType[*driver.MySQLError](err)
	if !ok {
		return err
	}
	err = fmt.Errorf("the server answers %d: %s", me.Number, notify.Cut(notify.Clean(me.Message), 200))
	switch {
	case slices.Contains(dataErrors(), me.Number):
		return bus.Permanent(err)
	case me.Number == 1045, me.Number == 1049, me.Number == 1142, me.Number == 1146, me.Number == 1136:
		return daemon.Hint(err, "check user, password and database, that the table has the columns that docs/outputs.md lists, and that the user may insert")
	}
	return err
}

// Close closes the connections.
func (t *table) Close() error { return t.db.Close() }
