package mysql

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/notifytest"
)

// need finds a program of the server.
func need(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		path = "/usr/sbin/" + name
		_, err = os.Stat(path)
	}
	if err != nil {
		const why = "SKIPPED: no MariaDB server on this machine: install it with apt-get install mariadb-server-core (make deps)"
		if os.Getenv("CI") == "true" {
			t.Fatal(why)
		}
		t.Skip(why)
	}
	return path
}

// server starts a MariaDB server of the test's own on a loopback port, with TLS, a database gyre and a user gyre.
func server(t *testing.T, ca *notifytest.CA) (addr string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "gyre-mysql")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	data := filepath.Join(dir, "data")
	var out bytes.Buffer
	install := exec.CommandContext(t.Context(), need(t, "mariadb-install-db"), "--no-defaults", "--datadir="+data, "--auth-root-authentication-method=normal", "--skip-test-db", "--user="+me(t))
	install.Stdout, install.Stderr = &out, &out
	if err := install.Run(); err != nil {
		t.Fatalf("mariadb-install-db: %v\n%s", err, out.String())
	}
	certFile, keyFile := ca.Issue("127.0.0.1")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr = l.Addr().String()
	_, port, _ := net.SplitHostPort(addr)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	init := filepath.Join(dir, "init.sql")
	sqlText := "CREATE DATABASE gyre; CREATE USER gyre@'%' IDENTIFIED BY '" + notifytest.Secret + "'; GRANT ALL ON gyre.* TO gyre@'%';"
	if err := os.WriteFile(init, []byte(strings.ReplaceAll(sqlText, "; ", ";\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	srv := exec.Command(need(t, "mariadbd"), "--no-defaults", "--datadir="+data, "--user="+me(t), "--bind-address=127.0.0.1", "--port="+port, "--socket="+filepath.Join(dir, "s"),
		"--init-file="+init, "--ssl-ca="+ca.File, "--ssl-cert="+certFile, "--ssl-key="+keyFile, "--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=16M", "--max-allowed-packet=4M", "--sql-mode=NO_BACKSLASH_ESCAPES,ANSI_QUOTES", "--character-set-server=latin1")
	srv.Stdout, srv.Stderr, srv.SysProcAttr = &out, &out, &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := srv.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = srv.Process.Signal(syscall.SIGTERM)
		_ = srv.Wait()
		if t.Failed() {
			t.Log(out.String())
		}
	})
	return addr
}

// me is the name of the account that runs the test.
func me(t *testing.T) string {
	t.Helper()
	u, err := user.LookupId(strconv.Itoa(os.Geteuid()))
	if err != nil {
		t.Fatal(err)
	}
	return u.Username
}

// admin asks the server by its own command-line client.
type admin struct {
	program, port string
}

// query returns the rows of a statement, a line each with tabs between the values.
func (a admin) query(ctx context.Context, statement string) ([]string, error) {
	cmd := exec.CommandContext(ctx, a.program, "--no-defaults", "--host=127.0.0.1", "--port="+a.port, "--user=gyre", "--database=gyre", "--default-character-set=utf8mb4", "--batch", "--skip-column-names", "--skip-ssl", "--execute="+statement)
	cmd.Env = append(os.Environ(), "MYSQL_PWD="+notifytest.Secret)
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return nil, errors.New(string(exit.Stderr))
	}
	if text := strings.TrimRight(string(out), "\n"); text != "" {
		return strings.Split(text, "\n"), err
	}
	return nil, err
}

// one returns the single row of a statement.
func (a admin) one(t testing.TB, statement string) string {
	t.Helper()
	rows, err := a.query(t.Context(), statement)
	if err != nil || len(rows) != 1 {
		t.Fatalf("%q: %d rows, %v", statement, len(rows), err)
	}
	return rows[0]
}

// connect waits until the server answers.
func connect(t *testing.T, addr string) admin {
	t.Helper()
	_, port, _ := net.SplitHostPort(addr)
	a := admin{need(t, "mariadb"), port}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	var err error
	for range 600 {
		if _, err = a.query(t.Context(), "SELECT 1"); err == nil {
			return a
		}
		<-tick.C
	}
	t.Fatalf("the server does not answer: %v", err)
	return a
}

func TestMySQL(t *testing.T) {
	ca := notifytest.NewCA(t)
	addr := server(t, ca)
	db := connect(t, addr)
	seen := map[string]bool{}
	settings := func(_ testing.TB, addr string) notify.Settings {
		c := Default()
		c.Address, c.Database, c.User, c.Password, c.CAFile = addr, "gyre", "gyre", daemon.NewSecret(notifytest.Secret), ca.File
		return c
	}
	notifytest.RunBroker(t, notifytest.Broker{
		Addr: addr, Settings: settings,
		Received: func(t testing.TB, n int) [][]byte {
			rows, err := db.query(t.Context(), "SELECT id, output FROM gyre_alerts WHERE JSON_VALUE(alert, '$.id') = id AND JSON_LENGTH(tags) = 2 ORDER BY id = '"+notifytest.Message().Alert.ID.String()+"' DESC")
			if err != nil {
				t.Fatal(err)
			}
			var out [][]byte
			for _, row := range rows {
				id, output, _ := strings.Cut(row, "\t")
				if !seen[id] || n == 2 && len(out) == 0 { // the batch has the first alert again, which is not inserted twice
					out = append(out, []byte(output))
				}
				seen[id] = true
			}
			if len(out) != n {
				t.Fatalf("%d rows, want %d", len(out), n)
			}
			return out
		},
	})
	notifier := func(t *testing.T, set func(*Config)) notify.Notifier {
		c := settings(t, addr).(*Config)
		set(c)
		return notifytest.Open(t, c, notifytest.Env(t.Output()))
	}
	t.Run("time and priority", func(t *testing.T) {
		if got := db.one(t, "SELECT time, priority FROM gyre_alerts WHERE id = '"+notifytest.Message().Alert.ID.String()+"'"); got != "2026-05-28 20:26:40.123456\tcritical" {
			t.Error(got)
		}
	})
	t.Run("quotes are data", func(t *testing.T) {
		m := notifytest.Message()
		a := *m.Alert
		a.ID[0], a.Rule = 7, "x'); DROP TABLE gyre_alerts; -- \\' \u0000"
		m.Alert = &a
		if err := notifier(t, func(*Config) {}).Notify(t.Context(), []notify.Message{m}); err != nil {
			t.Fatal(err)
		}
		if got, want := db.one(t, "SELECT hex(rule) FROM gyre_alerts WHERE id = '"+a.ID.String()+"'"), fmt.Sprintf("%X", "x'); DROP TABLE gyre_alerts; -- \\' \ufffd"); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
	t.Run("many large", func(t *testing.T) { // more than a statement may hold
		var batch []notify.Message
		for i := range 40 {
			m := notifytest.Message()
			a := *m.Alert
			a.ID[0], a.ID[1], a.Output = 9, byte(i), strings.Repeat("'", 100_000)
			m.Alert = &a
			batch = append(batch, m)
		}
		if err := notifier(t, func(*Config) {}).Notify(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
		if n := db.one(t, "SELECT count(*) FROM gyre_alerts WHERE id LIKE '09%'"); n != "40" {
			t.Errorf("%s rows", n)
		}
	})
	t.Run("wrong password", func(t *testing.T) {
		err := notifier(t, func(c *Config) { c.Password = daemon.NewSecret("wrong") }).Notify(t.Context(), []notify.Message{notifytest.Message()})
		if err == nil || bus.IsPermanent(err) || !strings.Contains(err.Error(), "1045") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("no table", func(t *testing.T) {
		err := notifier(t, func(c *Config) { c.Table, c.Create = "gone", false }).Notify(t.Context(), []notify.Message{notifytest.Message()})
		if err == nil || bus.IsPermanent(err) || !strings.Contains(err.Error(), "1146") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("an authority that is not known", func(t *testing.T) {
		err := notifier(t, func(c *Config) { c.CAFile = notifytest.NewCA(t).File }).Notify(t.Context(), []notify.Message{notifytest.Message()})
		if err == nil || bus.IsPermanent(err) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("without TLS", func(t *testing.T) { // by the hash of mysql_native_password
		m := notifytest.Message()
		a := *m.Alert
		a.ID[0] = 11
		m.Alert = &a
		if err := notifier(t, func(c *Config) { c.TLS = false }).Notify(t.Context(), []notify.Message{m}); err != nil {
			t.Fatal(err)
		}
		if n := db.one(t, "SELECT count(*) FROM gyre_alerts WHERE id LIKE '0b%'"); n != "1" {
			t.Errorf("%s rows", n)
		}
	})
	t.Run("another name than the certificate's", func(t *testing.T) {
		_, port, _ := net.SplitHostPort(addr)
		err := notifier(t, func(c *Config) { c.Address = net.JoinHostPort("localhost", port) }).Notify(t.Context(), []notify.Message{notifytest.Message()})
		if err == nil || bus.IsPermanent(err) || !strings.Contains(err.Error(), "localhost") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a session that the server ended", func(t *testing.T) {
		n := notifier(t, func(*Config) {})
		send := func(id byte) error {
			m := notifytest.Message()
			a := *m.Alert
			a.ID[0] = id
			m.Alert = &a
			return n.Notify(t.Context(), []notify.Message{m})
		}
		if err := send(12); err != nil {
			t.Fatal(err)
		}
		if _, err := db.query(t.Context(), "KILL USER gyre"); err != nil { // all its sessions but this one
			t.Fatal(err)
		}
		if err := send(13); err == nil || bus.IsPermanent(err) {
			t.Errorf("the first attempt: %v, want a transient error", err)
		}
		if err := send(13); err != nil {
			t.Errorf("the second attempt: %v", err)
		}
	})
	t.Run("a statement that waits", func(t *testing.T) { // for a lock, until its context ends; the next goes through
		held, release := context.WithCancel(t.Context())
		locked := make(chan error, 1)
		go func() {
			_, err := db.query(held, "LOCK TABLES gyre_alerts WRITE; SELECT SLEEP(120)")
			locked <- err
		}()
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for db.one(t, "SELECT count(*) FROM information_schema.processlist WHERE info LIKE 'SELECT SLEEP(120)%'") == "0" {
			<-tick.C
		}
		n := notifier(t, func(c *Config) { c.Create = false })
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		if err := n.Notify(ctx, []notify.Message{notifytest.Message()}); !errors.Is(err, context.DeadlineExceeded) || bus.IsPermanent(err) {
			t.Errorf("got %v", err)
		}
		release()
		<-locked
		if _, err := db.query(t.Context(), "KILL USER gyre"); err != nil {
			t.Fatal(err)
		}
		if err := n.Notify(t.Context(), []notify.Message{notifytest.Message()}); err != nil {
			t.Error(err)
		}
	})
	t.Run("refused row", func(t *testing.T) {
		if _, err := db.query(t.Context(), "ALTER TABLE gyre_alerts ADD CONSTRAINT nobad CHECK (node <> 'bad')"); err != nil {
			t.Fatal(err)
		}
		m := notifytest.Message()
		a := *m.Alert
		a.Node, a.ID[0] = "bad", 1
		m.Alert = &a
		err := notifier(t, func(*Config) {}).Notify(context.WithoutCancel(t.Context()), []notify.Message{m})
		if err == nil || !bus.IsPermanent(err) {
			t.Errorf("got %v", err)
		}
	})
}

func TestRefused(t *testing.T) {
	good := func() *Config {
		c := Default()
		c.Address, c.Database, c.User = "db:3306", "d", "u"
		return c
	}
	if err := good().Validate(); err != nil {
		t.Error(err)
	}
	for name, set := range map[string]func(*Config){
		"table": func(c *Config) { c.Table = "a`; DROP TABLE b" }, "address": func(c *Config) { c.Address = "db" }, "no database": func(c *Config) { c.Database = "" }, "no user": func(c *Config) { c.User = "" },
		"key alone": func(c *Config) { c.KeyFile = "k" },
	} {
		c := good()
		if set(c); c.Validate() == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}
