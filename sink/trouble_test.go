package sink

import (
	"testing"
	"time"

	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/clickhouse"
	"github.com/gyre-sec/gyre/sink/clickhouse/chtest"
	"github.com/gyre-sec/gyre/sink/clickhouse/embedded"
)

// change runs a statement that changes the database of a server, as the user of its DSN.
func change(t testing.TB, srv *embedded.Server, sql string) {
	t.Helper()
	if err := chtest.Exec(t.Context(), srv.DSN(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
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
