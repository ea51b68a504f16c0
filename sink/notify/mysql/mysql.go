// Package mysql inserts alerts into a table of MySQL or MariaDB.
package mysql

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"
	"time"

	client "github.com/dolthub/vitess/go/mysql"
	"github.com/dolthub/vitess/go/sqltypes"

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

// Sizes of columns and of a statement. A server takes 16 MiB by default (MariaDB, 4 MiB before MySQL 8).
const (
	maxText   = 255       // characters
	maxOutput = 60 << 10  // bytes
	maxAlert  = 512 << 10 // bytes
	maxQuery  = 3 << 20   // bytes
)

// table is the one session with the server and the statements that go through it.
type table struct {
	cfg      *Config
	password string
	name     string
	// turn holds a token while a caller uses the fields below.
	turn    chan struct{}
	session *session
	made    bool
}

// Open makes no connection.
func (c *Config) Open(notify.Env) (notify.Notifier, error) {
	password, err := c.Password.Resolve()
	if err != nil {
		return nil, fmt.Errorf("password: %w", err)
	}
	if c.TLS {
		if _, err := c.tls().TLS(); err != nil { // the client library reads the files when it connects
			return nil, err
		}
	}
	parts := strings.Split(c.Table, ".")
	return &table{cfg: c, password: password, name: "`" + strings.Join(parts, "`.`") + "`", turn: make(chan struct{}, 1)}, nil
}

// Notify inserts a row for each alert; all of a statement, or none. A row that is there stays as it is.
func (t *table) Notify(ctx context.Context, batch []notify.Message) error {
	var statement strings.Builder
	flush := func() error {
		if statement.Len() == 0 {
			return nil
		}
		statement.WriteString(" ON DUPLICATE KEY UPDATE id = id")
		err := t.exec(ctx, statement.String())
		statement.Reset()
		return classify(err)
	}
	for i := range batch {
		row, err := rowOf(&batch[i])
		if err != nil {
			return bus.Permanent(err)
		}
		if statement.Len()+len(row) > maxQuery {
			if err := flush(); err != nil {
				return err
			}
		}
		if statement.Len() == 0 {
			statement.WriteString("INSERT INTO " + t.name + " VALUES ")
		} else {
			statement.WriteString(", ")
		}
		statement.WriteString(row)
	}
	return flush()
}

// exec runs a statement in the session, which is made if there is none, and the table with it. An error ends the session.
func (t *table) exec(ctx context.Context, statement string) (err error) {
	select {
	case t.turn <- struct{}{}:
		defer func() { <-t.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if t.session != nil && t.session.idle() {
		t.drop()
	}
	if t.session == nil {
		if t.session, err = t.cfg.open(ctx, t.password); err != nil {
			return err
		}
	}
	defer func() {
		if err != nil {
			t.drop()
		}
	}()
	if t.cfg.Create && !t.made {
		if err := t.session.exec(ctx, "CREATE TABLE IF NOT EXISTS "+t.name+" "+columns); err != nil {
			return fmt.Errorf("make table: %w", err)
		}
		t.made = true
	}
	return t.session.exec(ctx, statement)
}

func (t *table) drop() {
	if t.session != nil {
		t.session.close()
		t.session = nil
	}
}

// rowOf returns the values of an alert as they stand in a statement, cut to what their columns take.
func rowOf(m *notify.Message) (string, error) {
	a := format.Cleaned(m.Alert)
	doc, err := format.Fit(a, maxAlert)
	if err != nil {
		return "", err
	}
	c := func(s string) string { return notify.Cut(notify.Clean(s), maxText) }
	list := func(in []string) string {
		b, _ := json.Marshal(in) // texts always encode
		return notify.CutBytes(string(b), maxOutput)
	}
	var row strings.Builder
	for i, v := range []string{
		a.ID.String(), a.When().UTC().Format("2006-01-02 15:04:05.000000"), c(a.RuleID), c(a.Rule), a.Priority.String(), notify.Cut(notify.Clean(a.Source), 64), c(a.Node), notify.CutBytes(a.Output, maxOutput), list(a.Tags), list(a.MITRE),
		c(a.K8s.Namespace), c(a.K8s.Pod), c(a.Container.Name), c(a.Process().Name), string(doc),
	} {
		row.WriteString([]string{"(", ", "}[min(i, 1)])
		sqltypes.NewVarChar(v).EncodeSQL(&row)
	}
	row.WriteByte(')')
	return row.String(), nil
}

// Errors of the server (MySQL 8, MariaDB 10) that the data of a row are to blame for: out of range, no such value, constraint, too
// long, wrong JSON, wrong value, truncated, check constraint.
func dataErrors() []int {
	return []int{1048, 1062, 1264, 1265, 1292, 1366, 1406, 1451, 1452, 3140, 3819, 4025}
}

// Errors that the client library itself makes have these numbers.
const minClient, maxClient = 2000, 2999

// classify: data that the table refuses is the alert's fault, all else is the server's or the operator's.
func classify(err error) error {
	me, ok := errors.AsType[*client.SQLError](err)
	if !ok {
		return err
	}
	text := notify.Cut(notify.Clean(me.Message), 200) // its Error has the statement in it
	if me.Num >= minClient && me.Num <= maxClient {
		return fmt.Errorf("connection to the server: %s (%d)", text, me.Num)
	}
	err = fmt.Errorf("the server answers %d: %s", me.Num, text)
	switch {
	case slices.Contains(dataErrors(), me.Num):
		return bus.Permanent(err)
	case me.Num == 1045, me.Num == 1049, me.Num == 1142, me.Num == 1146, me.Num == 1136:
		return daemon.Hint(err, "check user, password and database, that the table has the columns that docs/outputs.md lists, and that the user may insert")
	}
	return err
}

// Close ends the session, after the statement that runs in it.
func (t *table) Close() error {
	t.turn <- struct{}{}
	defer func() { <-t.turn }()
	t.drop()
	return nil
}
