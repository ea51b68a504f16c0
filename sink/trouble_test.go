package sink

import (
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/schemas/alertv1"
	"github.com/gyre-sec/gyre/schemas/subject"
	"github.com/gyre-sec/gyre/sink/clickhouse"
	"github.com/gyre-sec/gyre/sink/clickhouse/chtest"
	"github.com/gyre-sec/gyre/sink/clickhouse/embedded"
)

// change runs statements that change the database of a server, as the user of its DSN.
func change(t testing.TB, srv *embedded.Server, stmts ...string) {
	t.Helper()
	if err := chtest.Exec(t.Context(), srv.DSN(), stmts...); err != nil {
		t.Fatal(err)
	}
}

// state waits until storing alerts is in a state, and returns it.
func state(t testing.TB, s *Sink, want clickhouse.State) StoreState {
	t.Helper()
	within(t, time.Minute, "state "+string(want), func() bool { return s.storage.get().State == want })
	return s.storage.get()
}

// storedOnce waits until all alerts that the fixture published are settled, and checks that readers see each once.
func (f *fixture) storedOnce(t testing.TB, want int) {
	t.Helper()
	f.settledWithin(2*time.Minute, clickHouseName)
	got, err := f.store.Query(t.Context(), "SELECT count(), uniqExact(id) FROM alerts")
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range got.Rows[0] {
		if n, ok := v.(uint64); !ok || n != uint64(want) {
			t.Errorf("rows and ids: %v, want %d", got.Rows[0], want)
		}
	}
}

// TestSchemaTrouble: a schema newer than the program is a state that keeps no output from its alerts, and that passes.
func TestSchemaTrouble(t *testing.T) {
	f := newFixture(t)
	srv, store, _ := startClickHouse(t)
	if err := store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	change(t, srv, "INSERT INTO schema_migrations (number, name, checksum) VALUES (9999, 'future', 'x')")
	f.store = store
	r := newReceiver(t)
	s, _ := f.run(Config{Outputs: []Output{hook("a", r.URL)}})
	f.many(20)
	f.settled("a")
	r.want(t, 20, 20)
	if got := state(t, s, clickhouse.StateSchema); got.Remedy == "" || got.Error == "" {
		t.Errorf("%+v", got)
	}
	if err := s.StoreReady(); err == nil || daemon.Remedy(err) == "" {
		t.Errorf("ready: %v", err)
	}
	if err := s.Ready(); err != nil {
		t.Errorf("outputs: %v", err)
	}
	change(t, srv, "ALTER TABLE schema_migrations DELETE WHERE number = 9999 SETTINGS mutations_sync = 1")
	state(t, s, clickhouse.StateOK)
	f.storedOnce(t, 20)
}

// TestStoreReadOnly: alerts wait while the user may only read.
func TestStoreReadOnly(t *testing.T) {
	f := newFixture(t)
	dir := t.TempDir()
	srv, _, gate := startClickHouseIn(t, dir)
	file := filepath.Join(dir, "users.xml")
	old, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	readOnly := func(v string) {
		text := strings.Replace(string(old), "<profiles>", "<profiles><writer><readonly>"+v+"</readonly></writer>", 1)
		text = strings.Replace(text, "<users>", "<users><writer><password>w</password><networks><ip>127.0.0.1</ip></networks><profile>writer</profile><quota>default</quota></writer>", 1)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		pid := srv.PID()
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil { // users are read at the start
			t.Fatal(err)
		}
		within(t, time.Minute, "the server is started again", func() bool { return srv.PID() != pid && srv.Ready() == nil })
	}
	readOnly("0")
	u, err := url.Parse(srv.DSN())
	if err != nil {
		t.Fatal(err)
	}
	u.Host, u.User = gate.addr(), url.UserPassword("writer", "w")
	cfg := clickhouse.DefaultConfig()
	cfg.DSN = daemon.NewSecret(u.String())
	if f.store, err = clickhouse.Open(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.store.Close() })
	s, _ := f.run(Config{})
	f.many(10)
	f.storedOnce(t, 10)
	state(t, s, clickhouse.StateOK)
	readOnly("1")
	f.many(10)
	if got := state(t, s, clickhouse.StateReadOnly); got.Code != 164 || got.Remedy == "" {
		t.Errorf("%+v", got)
	}
	if err := s.StoreReady(); err == nil || !strings.Contains(err.Error(), "read_only since") {
		t.Errorf("ready: %v", err)
	}
	readOnly("0")
	state(t, s, clickhouse.StateOK)
	f.storedOnce(t, 20)
}

// TestStoreRefusesRows: rows that the server refuses, by an error that is known to be about rows or by any other, go to DEAD with the
// reason, and keep no other back.
func TestStoreRefusesRows(t *testing.T) {
	f := newFixture(t)
	srv, store, _ := startClickHouse(t)
	if err := store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	change(t, srv, "ALTER TABLE alerts_raw ADD CONSTRAINT no_poison CHECK rule_id != 'poison', ADD CONSTRAINT no_venom CHECK throwIf(rule_id = 'venom') = 0")
	f.store = store
	for i := range 300 {
		switch i {
		case 7, 150:
			f.publish(f.alert("poison", alertv1.Warning))
		case 299:
			f.publish(f.alert("venom", alertv1.Warning))
		default:
			f.many(1)
		}
	}
	s, _ := f.run(Config{})
	f.storedOnce(t, 297)
	state(t, s, clickhouse.StateOK)
	if got := f.unstored(t); len(got) != 3 {
		t.Errorf("dead letters: %q", got)
	}
	f.publish(f.alert("poison", alertv1.Warning)) // alone
	f.settledWithin(time.Minute, clickHouseName)
	if got := f.unstored(t); len(got) != 4 {
		t.Errorf("dead letters: %q", got)
	}
}

// unstored returns the ids of the dead letters of storing.
func (f *fixture) unstored(t testing.TB) []string {
	t.Helper()
	var out []string
	if err := f.bus.Tail(t.Context(), bus.TailConfig{Stream: bus.StreamDead, Filter: subject.Dead(DurablePrefix + clickHouseName), ToEnd: true}, func(m bus.Stored) error {
		out = append(out, m.ID)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestTableRefusesAll: a table that takes no row at all is not the rows' fault: they wait.
func TestTableRefusesAll(t *testing.T) {
	f := newFixture(t)
	srv, store, _ := startClickHouse(t)
	if err := store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	change(t, srv, "ALTER TABLE alerts_raw ADD CONSTRAINT nothing CHECK rule_id = ''")
	f.store = store
	f.many(100)
	s, _ := f.run(Config{})
	state(t, s, clickhouse.StateFailing)
	change(t, srv, "ALTER TABLE alerts_raw DROP CONSTRAINT nothing")
	state(t, s, clickhouse.StateOK)
	f.storedOnce(t, 100)
	if got := f.unstored(t); len(got) != 0 {
		t.Errorf("dead letters: %q", got)
	}
}

// TestStoreDiskFull: alerts wait while the disk is full, and are all stored when there is room again.
func TestStoreDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=96m"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("mount a small file system: %v", err)
		}
		t.Skipf("SKIPPED: a small file system to fill needs root: %v", err)
	}
	t.Cleanup(func() { // after the server has ended
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	f := newFixture(t)
	_, store, _ := startClickHouseIn(t, dir)
	f.store = store
	s, _ := f.run(Config{})
	f.many(10)
	f.storedOnce(t, 10)
	filler := filepath.Join(dir, "filler")
	fill(t, filler)
	f.many(200)
	if got := state(t, s, clickhouse.StateDiskFull); got.Remedy == "" || got.Code == 0 {
		t.Errorf("%+v", got)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	state(t, s, clickhouse.StateOK)
	f.storedOnce(t, 210)
	if got := f.unstored(t); len(got) != 0 {
		t.Errorf("dead letters: %q", got)
	}
}

// fill writes a file until its file system has no room.
func fill(t testing.TB, path string) {
	t.Helper()
	w, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Close() }()
	for block := make([]byte, 64<<10); len(block) > 0; {
		switch _, err := w.Write(block); {
		case errors.Is(err, syscall.ENOSPC):
			block = block[:len(block)/2]
		case err != nil:
			t.Fatal(err)
		}
	}
}
