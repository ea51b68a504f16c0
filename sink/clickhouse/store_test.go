package clickhouse_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/schemas/alertv1"
	"github.com/gyre-sec/gyre/sink/clickhouse"
	"github.com/gyre-sec/gyre/sink/clickhouse/chtest"
	"github.com/gyre-sec/gyre/sink/clickhouse/embedded"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == embedded.ChildArg {
		os.Exit(embedded.ChildMain(os.Args[2:]))
	}
	os.Exit(m.Run())
}

func server(t testing.TB) *embedded.Server { t.Helper(); return chtest.Server(t, "") }

func open(t testing.TB, srv *embedded.Server) *clickhouse.Store {
	t.Helper()
	cfg := clickhouse.DefaultConfig()
	cfg.DSN = daemon.NewSecret(srv.DSN())
	s, err := clickhouse.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

func alerts(from, to int) []alertv1.Alert {
	var out []alertv1.Alert
	for i := from; i < to; i++ {
		out = append(out, alertv1.Alert{
			ID: alertv1.EventID("r", "n", "b", uint64(i)), Time: time.Now().Add(-time.Minute).Truncate(time.Minute).UnixNano() + int64(i), RuleID: "r", Rule: "Rule", Priority: alertv1.Warning,
			Source: "syscall", Node: "n", BootID: "b", Seq: uint64(i), Event: "openat", Output: fmt.Sprintf("number %d", i), Tags: []string{"t"}, MITRE: []string{"T1003"}, Ruleset: "d",
			Fields:  []alertv1.Field{{Name: "fd.name", Value: "/etc/shadow"}, {Name: "proc.pid", Value: "7"}},
			Lineage: []alertv1.Process{{ExecID: "x", PID: 7, Name: "cat", Exe: "/bin/cat", Cmdline: "cat \xff", Cwd: "/", User: "root", Start: 1_700_000_000_000_000_005}},
			User:    alertv1.User{Name: "root", LoginUID: 1<<32 - 1},
		})
	}
	return out
}

func one(t *testing.T, s *clickhouse.Store, sql string) string {
	t.Helper()
	r, err := s.Query(t.Context(), sql)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := r.WriteCSV(&b, true); err != nil {
		t.Fatal(err)
	}
	_, body, _ := strings.Cut(b.String(), "\n")
	return strings.TrimSpace(body)
}

func TestExactlyOnceInEffect(t *testing.T) {
	s := open(t, server(t))
	for _, part := range [][2]int{{0, 50}, {0, 50}, {25, 75}, {0, 100}, {99, 100}} { // repeated and regrouped
		if err := s.InsertAlerts(t.Context(), alerts(part[0], part[1])); err != nil {
			t.Fatal(err)
		}
	}
	if got := one(t, s, "SELECT count(), uniqExact(id) FROM alerts"); got != "100,100" {
		t.Errorf("alerts: %s", got)
	}
	if got := one(t, s, "SELECT sum(alerts) FROM alerts_per_minute"); got != "100" {
		t.Errorf("rollup: %s", got)
	}
	want := alerts(7, 8)[0]
	got, err := s.Alerts(t.Context(), clickhouse.Filter{ID: want.ID.String()})
	if err != nil || len(got) != 1 {
		t.Fatalf("%d alerts, %v", len(got), err)
	}
	want.Time = got[0].Time // truncated to another minute, perhaps
	if d := cmp.Diff(want, got[0]); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	if list, err := s.Alerts(t.Context(), clickhouse.Filter{Rule: "Rule", Node: "n", Priority: []string{"warning"}, Limit: 5, Since: time.Now().Add(-time.Hour)}); err != nil || len(list) != 5 {
		t.Errorf("%d alerts, %v", len(list), err)
	}
	if list, err := s.Alerts(t.Context(), clickhouse.Filter{Rule: "'; DROP TABLE alerts_raw; --"}); err != nil || len(list) != 0 {
		t.Errorf("%d alerts, %v", len(list), err)
	}
}

func TestMigrationsAreGuarded(t *testing.T) {
	srv := server(t)
	s := open(t, srv)
	if err := s.Migrate(t.Context()); err != nil {
		t.Errorf("second time: %v", err)
	}
	other := clickhouse.DefaultConfig()
	other.DSN, other.Retention = daemon.NewSecret(srv.DSN()), 48*time.Hour
	o, err := clickhouse.Open(t.Context(), other)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	if err := o.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := one(t, o, "SELECT engine_full LIKE '%toIntervalSecond(172800)%' FROM system.tables WHERE name = 'alerts_raw'"); got != "1" {
		t.Errorf("retention was not changed: %s", got)
	}
	exec(t, srv, "INSERT INTO schema_migrations (number, name, checksum) VALUES (999, 'future', 'x')")
	if err := s.Migrate(t.Context()); !errors.Is(err, clickhouse.ErrSchema) || daemon.Remedy(err) == "" {
		t.Errorf("a newer schema: %v", err)
	}
	exec(t, srv, "ALTER TABLE schema_migrations DELETE WHERE number = 999 SETTINGS mutations_sync = 1")
	exec(t, srv, "INSERT INTO schema_migrations (number, name, checksum) VALUES (1, '0001_alerts', 'changed')")
	if err := s.Migrate(t.Context()); !errors.Is(err, clickhouse.ErrSchema) {
		t.Errorf("a changed migration: %v", err)
	}
}

// exec runs a statement that Query refuses, through a Store of its own.
func exec(t *testing.T, srv *embedded.Server, sql string) {
	t.Helper()
	if err := chtest.Exec(t.Context(), srv.DSN(), sql); err != nil {
		t.Fatal(err)
	}
}

func TestQueryIsReadOnlyAndFormats(t *testing.T) {
	s := open(t, server(t))
	if _, err := s.Query(t.Context(), "DROP TABLE alerts_raw"); !errors.Is(err, clickhouse.ErrQuery) {
		t.Errorf("DROP: %v", err)
	}
	if _, err := s.Query(t.Context(), "SELEKT 1"); !errors.Is(err, clickhouse.ErrQuery) {
		t.Errorf("nonsense: %v", err)
	}
	r, err := s.Query(t.Context(), "SELECT 1 AS n, 'a\\x1b[31m\"b' AS s, [1,2] AS l, NULL AS z, toDateTime64('2026-01-02 03:04:05.5', 3, 'UTC') AS t, map('k','v') AS m;")
	if err != nil {
		t.Fatal(err)
	}
	for format, want := range map[string]string{
		"json":  `{"n":1,"s":"a\u001b[31m\"b","l":"AQI=","z":null,"t":"2026-01-02T03:04:05.5Z","m":{"k":"v"}}`,
		"csv":   "n,s,l,z,t,m",
		"table": `a\x1b[31m"b`,
	} {
		var b bytes.Buffer
		if err := r.Write(&b, format); err != nil {
			t.Fatal(err)
		}
		if format == "json" {
			want = strings.Replace(want, `"AQI="`, `[1,2]`, 1)
		}
		if !strings.Contains(b.String(), want) {
			t.Errorf("%s:\n%s\nwant %s", format, b.String(), want)
		}
	}
	if err := r.Write(io.Discard, "xml"); err == nil {
		t.Error("xml was accepted")
	}
}

// TestKilledServerLosesNothing kills the server with SIGKILL between and during
// inserts; every insert that was acknowledged must be there after the restart.
func TestKilledServerLosesNothing(t *testing.T) {
	srv := server(t)
	s := open(t, srv)
	acked := 0
	for round := range 3 {
		kill := time.AfterFunc(50*time.Millisecond, func() { _ = syscall.Kill(srv.PID(), syscall.SIGKILL) })
		for i := range 200 {
			n := round*20000 + i*100
			if err := s.InsertAlerts(t.Context(), alerts(n, n+100)); err != nil {
				break
			}
			acked += 100
		}
		kill.Stop()
		deadline := time.Now().Add(30 * time.Second)
		for s.Ready() != nil {
			if time.Now().After(deadline) {
				t.Fatal("the server did not come back")
			}
		}
	}
	r, err := s.Query(t.Context(), "SELECT count() FROM alerts")
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Rows[0][0].(uint64); got < uint64(acked) || got%100 != 0 {
		t.Errorf("%d alerts stored, %d were acknowledged", got, acked)
	}
	t.Logf("%d acknowledged, %v stored", acked, r.Rows[0][0])
}

func BenchmarkInsert10k(b *testing.B) {
	s := open(b, server(b))
	batch := alerts(0, 10000)
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		n++
		for i := range batch {
			batch[i].ID = alertv1.EventID("r", "n", "b", uint64(n*len(batch)+i))
		}
		if err := s.InsertAlerts(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n*len(batch))/b.Elapsed().Seconds(), "rows/s")
}

// TestEventsOfAlerts: the events behind an alert are stored once, however often it is inserted, and read with it.
func TestEventsOfAlerts(t *testing.T) {
	s := open(t, server(t))
	a := alertv1.Alert{ID: alertv1.KeyID("r", "k", "w"), Time: time.Now().UnixNano(), RuleID: "r", Rule: "R", Node: "b", Fields: []alertv1.Field{{Name: "x", Value: "y"}}, Events: []alertv1.Event{
		{Step: "one", Time: 1_780_000_000_000_000_001, Node: "a", BootID: "boot", Seq: 7, Kind: "execve", ExecID: "e", PID: 9, Process: "p", Cmdline: "p q", Detail: "fd.name=/x"},
		{Step: "two", Time: 1_780_000_000_000_000_002, Node: "b", BootID: "boot", Seq: 8, Kind: "connect"},
	}}
	for range 2 {
		if err := s.InsertAlerts(t.Context(), []alertv1.Alert{a}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.Alerts(t.Context(), clickhouse.Filter{ID: a.ID.String()})
	if err != nil || len(got) != 1 {
		t.Fatalf("%d alerts, %v", len(got), err)
	}
	if d := cmp.Diff(a.Events, got[0].Events); d != "" {
		t.Error(d)
	}
}
