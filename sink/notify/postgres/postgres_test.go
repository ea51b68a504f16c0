package postgres

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/notifytest"
)

// binary finds a program of the server.
func binary(t *testing.T, name string) string {
	t.Helper()
	list, err := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if err != nil || len(list) == 0 {
		const why = "no PostgreSQL server on this machine: install it with apt-get install postgresql"
		if os.Getenv("CI") == "true" {
			t.Fatal(why)
		}
		t.Skip(why)
	}
	slices.Sort(list)
	return list[len(list)-1]
}

// server starts a PostgreSQL server of the test's own on a loopback port; it refuses to run as root.
func server(t *testing.T) (addr string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "gyre-pg")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	attr := &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() == 0 {
		u, err := user.Lookup("nobody")
		if err != nil {
			t.Fatal(err)
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		if err := os.Chown(dir, uid, gid); err != nil {
			t.Fatal(err)
		}
		attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	pw := filepath.Join(dir, "pw")
	if err := os.WriteFile(pw, []byte(notifytest.Secret), 0o644); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "data")
	var out bytes.Buffer
	command := func(name string, args ...string) *exec.Cmd {
		c := exec.Command(binary(t, name), args...)
		c.Dir, c.SysProcAttr, c.Stdout, c.Stderr = dir, attr, &out, &out
		return c
	}
	if err := command("initdb", "-D", data, "-U", "gyre", "--pwfile", pw, "-A", "scram-sha-256", "-E", "UTF8", "--no-sync").Run(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out.String())
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr = l.Addr().String()
	_, port, _ := net.SplitHostPort(addr)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	srv := command("postgres", "-D", data, "-p", port, "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off")
	if err := srv.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = srv.Process.Signal(syscall.SIGINT) // fast shutdown
		_ = srv.Wait()
	})
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for range 400 {
		if c, err := pgx.Connect(t.Context(), dsn(addr)); err == nil {
			_ = c.Close(t.Context())
			return addr
		}
		<-tick.C
	}
	t.Fatalf("the server does not answer\n%s", out.String())
	return ""
}

func dsn(addr string) string {
	return "postgres://gyre:" + notifytest.Secret + "@" + addr + "/postgres?sslmode=disable"
}

func TestPostgres(t *testing.T) {
	addr := server(t)
	conn, err := pgx.Connect(t.Context(), dsn(addr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(t.Context()) }) //nolint:usetesting // the connection is the test's
	seen := map[string]bool{}
	settings := func(_ testing.TB, addr string) notify.Settings {
		c := Default()
		c.DSN = daemon.NewSecret(dsn(addr))
		return c
	}
	notifytest.RunBroker(t, notifytest.Broker{
		Addr: addr, Settings: settings,
		Received: func(t testing.TB, n int) [][]byte {
			rows, err := conn.Query(t.Context(), "SELECT id::text, output FROM gyre_alerts WHERE alert->>'id' = id::text AND cardinality(tags) = 2 ORDER BY id = '"+notifytest.Message().Alert.ID.String()+"' DESC")
			if err != nil {
				t.Fatal(err)
			}
			defer rows.Close()
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
			if len(out) != n {
				t.Fatalf("%d rows, want %d", len(out), n)
			}
			return out
		},
	})
	t.Run("no right to the table", func(t *testing.T) {
		c := settings(t, addr).(*Config)
		c.Table, c.Create = "gone.alerts", false
		err := notifytest.Open(t, c, notifytest.Env(t.Output())).Notify(t.Context(), []notify.Message{notifytest.Message()})
		if err == nil || bus.IsPermanent(err) || !strings.Contains(err.Error(), "42P01") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("refused row", func(t *testing.T) {
		if _, err := conn.Exec(t.Context(), "ALTER TABLE gyre_alerts ADD CHECK (node <> 'bad')"); err != nil {
			t.Fatal(err)
		}
		m := notifytest.Message()
		a := *m.Alert
		a.Node, a.ID[0] = "bad", 1
		m.Alert = &a
		err := notifytest.Open(t, settings(t, addr), notifytest.Env(t.Output())).Notify(t.Context(), []notify.Message{m})
		if err == nil || !bus.IsPermanent(err) {
			t.Errorf("got %v", err)
		}
	})
}

func TestBadDSN(t *testing.T) {
	c := Default()
	c.DSN = daemon.NewSecret("postgres://u:" + notifytest.Secret + "@h:notaport/db")
	if _, err := c.Open(notifytest.Env(t.Output())); err == nil || strings.Contains(err.Error(), notifytest.Secret) {
		t.Errorf("got %v", err)
	}
	if c.Table = "a; DROP TABLE b"; c.Validate() == nil {
		t.Error("the table was accepted")
	}
}
