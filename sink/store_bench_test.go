package sink

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/schemas/alertv1"
	"github.com/gyre-sec/gyre/schemas/subject"
	"github.com/gyre-sec/gyre/sink/clickhouse"
)

var benchRows = flag.Int("store.rows", 500_000, "alerts that BenchmarkStore stores in an iteration")

// BenchmarkStore stores alerts that wait in a JetStream stream: fetch, decode, insert into a real ClickHouse, acknowledge. This process holds
// the sink, the NATS server and its client; ClickHouse is another. Run it with -benchtime 1x.
func BenchmarkStore(b *testing.B) {
	f := newFixture(b)
	srv, _, _ := startClickHouse(b)
	cfg := clickhouse.DefaultConfig()
	cfg.DSN = daemon.NewSecret(srv.DSN()) // not through the gate
	store, err := clickhouse.Open(b.Context(), cfg)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = store.Close() })
	if err := store.Migrate(b.Context()); err != nil {
		b.Fatal(err)
	}
	f.store = store
	for n := range *benchRows {
		f.sample(b, uint64(n))
	}
	if err := f.pub.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
	self, server := cpuOf(b, os.Getpid()), cpuOf(b, srv.PID())
	b.ResetTimer()
	_, stop := f.run(Config{})
	f.settledWithin(10*time.Minute, clickHouseName)
	took := b.Elapsed()
	b.StopTimer()
	self, server = cpuOf(b, os.Getpid())-self, cpuOf(b, srv.PID())-server
	stop()
	n := float64(*benchRows)
	b.ReportMetric(n/took.Seconds(), "rows/s")
	b.ReportMetric(float64(self.Nanoseconds())/n, "sink+nats-cpu-ns/row")
	b.ReportMetric(float64(server.Nanoseconds())/n, "clickhouse-cpu-ns/row")
	var rows uint64
	if rows = f.count(b); rows != uint64(*benchRows) {
		b.Errorf("%d rows, want %d", rows, *benchRows)
	}
}

// sample publishes an alert as a shipped rule makes them.
func (f *fixture) sample(t testing.TB, n uint64) {
	t.Helper()
	node, pid := fmt.Sprint("node-", n%50), uint32(1000+n%30000)
	cmd := fmt.Sprintf("cat /etc/shadow --job %d", n%5000)
	a := alertv1.Alert{
		ID: alertv1.EventID("sensitive_read", node, "boot", n), Time: time.Now().UnixNano(), RuleID: "sensitive_read", Rule: "Sensitive file read", Priority: alertv1.Warning, Source: "syscall",
		Node: node, BootID: "8a7c6a52-3b7c-4f3e-9f5e-3c1b5c1f0d11", Seq: n, Event: "openat", Output: "Sensitive file opened (file=/etc/shadow user=root command=" + cmd + ")",
		Tags: []string{"filesystem", "host"}, MITRE: []string{"T1003.008"}, Ruleset: "sha256:0123456789abcdef",
		Fields: []alertv1.Field{{Name: "fd.name", Value: "/etc/shadow"}, {Name: "user.name", Value: "root"}, {Name: "proc.cmdline", Value: cmd}, {Name: "proc.pid", Value: int64(pid)}},
		Lineage: []alertv1.Process{
			{ExecID: fmt.Sprintf("%s:%d:1", node, pid), PID: pid, Name: "cat", Exe: "/usr/bin/cat", Cmdline: cmd, Cwd: "/root", User: "root", Start: time.Now().UnixNano()},
			{ExecID: node + ":900:1", PID: 900, Name: "bash", Exe: "/usr/bin/bash", Cmdline: "-bash", Cwd: "/root", User: "root", Start: 1_780_000_000_000_000_000},
			{ExecID: node + ":1:1", PID: 1, Name: "systemd", Exe: "/usr/lib/systemd/systemd", Cmdline: "/sbin/init", Cwd: "/", User: "root", Start: 1_770_000_000_000_000_000},
		},
		User: alertv1.User{Name: "root", LoginUID: 1000, LoginName: "admin"}, Container: alertv1.Container{ID: "3f2a9c1b7d60", Name: "web", Image: "docker.io/library/nginx"},
		K8s: alertv1.K8s{Namespace: "default", Pod: fmt.Sprint("web-", n%200)},
	}
	data, err := a.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if err := f.pub.PublishAsync(t.Context(), bus.Message{Subject: subject.Alert("warning", a.RuleID, node), ID: a.ID.String(), Data: data}, func(err error) {
		if err != nil {
			t.Errorf("publish: %v", err)
		}
	}); err != nil {
		t.Fatal(err)
	}
}

// count is how many alerts readers see.
func (f *fixture) count(t testing.TB) uint64 {
	t.Helper()
	r, err := f.store.Query(t.Context(), "SELECT count() FROM alerts")
	if err != nil {
		t.Fatal(err)
	}
	n, _ := r.Rows[0][0].(uint64)
	return n
}

// cpuOf is the CPU time that a process has used, in clock ticks of 10 ms; that of this process is exact.
func cpuOf(t testing.TB, pid int) time.Duration {
	t.Helper()
	if pid == os.Getpid() {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			t.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	var ticks int64
	for _, s := range fields[11:13] {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}
