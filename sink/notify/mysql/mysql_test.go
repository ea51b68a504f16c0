package mysql

import (
	"bytes"
	"context"
	"database/sql"
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

	driver "github.com/go-sql-driver/mysql"

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
		"--init-file="+init, "--ssl-ca="+ca.File, "--ssl-cert="+certFile, "--ssl-key="+keyFile, "--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=16M", "--max-allowed-packet=4M")
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

func connect(t *testing.T, addr string) *sql.DB {
	t.Helper()
	c := driver.NewConfig()
	c.Net, c.Addr, c.DBName, c.User, c.Passwd = "tcp", addr, "gyre", "gyre", notifytest.Secret
	conn, err := driver.NewConnector(c)
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(conn)
	t.Cleanup(func() { _ = db.Close() })
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for range 600 {
		if err = db.PingContext(t.Context()); err == nil {
			return db
		}
		<-tick.C
	}
	t.Fatalf("the server does not answer: %v", err)
	return nil
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
			rows, err := db.QueryContext(t.Context(), "SELECT id, output FROM gyre_alerts WHERE JSON_VALUE(alert, '$.id') = id AND JSON_LENGTH(tags) = 2 ORDER BY id = ? DESC", notifytest.Message().Alert.ID.String())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = rows.Close() }()
			var out [][]byte
			for rows.Next() {
				var id, output string
				if err := rows.Scan(&id, &output); err != nil {
					t.Fatal(err)
				}
				if !seen[id] || n == 2 && len(out) == 0 { // the batch has the first alert again, which is not inserted twice
					out = append(out, []byte(output))
				}
				seen[id] = true
			}
			if err := rows.Err(); err != nil || len(out) != n {
				t.Fatalf("%d rows, want %d, %v", len(out), n, err)
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
		var at, priority string
		if err := db.QueryRowContext(t.Context(), "SELECT time, priority FROM gyre_alerts WHERE id = ?", notifytest.Message().Alert.ID.String()).Scan(&at, &priority); err != nil || at != "2026-05-28 20:26:40.123456" || priority != "critical" {
			t.Errorf("%s %s %v", at, priority, err)
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
		var got string
		if err := db.QueryRowContext(t.Context(), "SELECT rule FROM gyre_alerts WHERE id = ?", a.ID.String()).Scan(&got); err != nil || got != "x'); DROP TABLE gyre_alerts; -- \\' \ufffd" {
			t.Errorf("%q %v", got, err)
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
		var n int
		if err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM gyre_alerts WHERE id LIKE '09%'").Scan(&n); err != nil || n != 40 {
			t.Errorf("%d rows, %v", n, err)
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
	t.Run("refused row", func(t *testing.T) {
		if _, err := db.ExecContext(t.Context(), "ALTER TABLE gyre_alerts ADD CONSTRAINT nobad CHECK (node <> 'bad')"); err != nil {
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
