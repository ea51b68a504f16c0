package sink

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/schemas/eventv1"
	"github.com/gyre-sec/gyre/schemas/eventv1/eventtest"
	"github.com/gyre-sec/gyre/schemas/subject"
	"github.com/gyre-sec/gyre/sink/clickhouse"
)

// enriched is a batch of n events of now, as an enricher makes it.
func enriched(t testing.TB, node string, first uint64, n int, now time.Time) *eventv1.Batch {
	t.Helper()
	b := eventv1.NewBuilder()
	eventtest.Sample(b, node, first, n)
	var x eventv1.Batch
	if err := eventv1.NewDecoder().Decode(bytes.Clone(b.Encode()), &x); err != nil {
		t.Fatal(err)
	}
	x.BaseTime = now.UnixNano()
	x.Users = append(x.Users, eventv1.User{UID: 1000, Container: -1, Name: x.AddString("ada")})
	for i := range x.Procs {
		x.Procs[i].User = 0
	}
	c := &x.Containers[0]
	c.Name, c.Image, c.PodNamespace, c.PodName = x.AddString("web"), x.AddString("nginx:1"), x.AddString("shop"), x.AddString("web-0")
	return &x
}

// some are the events of a batch whose positions are a multiple of every.
func some(t testing.TB, b *eventv1.Batch, every int) []byte {
	t.Helper()
	keep := make([]bool, b.Count)
	for i := 0; i < len(keep); i += every {
		keep[i] = true
	}
	data, err := eventv1.NewSelector().Select(b, keep)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Clone(data)
}

func (f *fixture) toStore(id string, data []byte) {
	f.t.Helper()
	if err := f.pub.Publish(f.t.Context(), bus.Message{Subject: subject.Stored("syscall", "n"), ID: id, Data: data}); err != nil {
		f.t.Fatal(err)
	}
}

// eventsSettled waits until the consumer of events has nothing left.
func (f *fixture) eventsSettled(limit time.Duration) {
	f.t.Helper()
	poll(f.t, limit, 50*time.Millisecond, "events settled", func() bool {
		d, err := f.bus.Durable(f.t.Context(), bus.StreamStored, durableEvents)
		return err == nil && d.Lag == 0 && d.AckPending == 0 && d.AckFloor == d.Last
	})
}

// table is what a question answers, as text.
func table(t testing.TB, s *clickhouse.Store, sql string) string {
	t.Helper()
	r, err := s.Query(t.Context(), sql)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := r.Write(&b, "json"); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// scalar is the one value that answers a question.
func scalar(t testing.TB, s *clickhouse.Store, sql string) string {
	t.Helper()
	r, err := s.Query(t.Context(), sql)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Rows) != 1 || len(r.Rows[0]) != 1 {
		t.Fatalf("%s: %v", sql, r.Rows)
	}
	return fmt.Sprint(r.Rows[0][0])
}

const everyRow = "SELECT * EXCEPT inserted_at FROM events ORDER BY node, boot_id, seq"

// TestEventsAreStoredOnce stores events that come again: in the same message, in other company, and after a sink ended with them in hand.
func TestEventsAreStoredOnce(t *testing.T) {
	f := newFixture(t)
	_, store, gate := startClickHouse(t)
	f.store = store
	now := time.Now().UTC().Truncate(time.Second)
	b := enriched(t, "n", 100, 64, now)
	_, stop := f.run(Config{})
	f.toStore("a", some(t, b, 4))
	f.eventsSettled(time.Minute)
	count := func() string { return scalar(t, store, "SELECT count() FROM events") }
	if n := count(); n != "16" {
		t.Fatalf("got %s rows, want 16", n)
	}
	first := table(t, store, everyRow)
	f.toStore("b", some(t, b, 4))         // again, as after a lost acknowledgement
	f.toStore("c", []byte("not a batch")) // goes to DEAD and is in nobody's way
	f.eventsSettled(time.Minute)
	if d := cmp.Diff(first, table(t, store, everyRow)); d != "" {
		t.Errorf("after the same message again (-first +now):\n%s", d)
	}
	gate.set(false)
	f.toStore("d", some(t, b, 2)) // half of these are stored already
	poll(t, time.Minute, 50*time.Millisecond, "the message in hand", func() bool {
		d, err := f.bus.Durable(t.Context(), bus.StreamStored, durableEvents)
		return err == nil && d.AckPending == 1
	})
	stop()
	gate.set(true)
	f.run(Config{})
	f.eventsSettled(time.Minute)
	if n, ids := count(), scalar(t, store, "SELECT uniqExact(seq) FROM events"); n != "32" || ids != "32" {
		t.Errorf("got %s rows of %s events, want 32", n, ids)
	}
	if n := scalar(t, store, "SELECT count() FROM events WHERE seq = 100 AND event_type = 'clone' AND fields['evt.arg.flags'] != '' AND exec_id LIKE 'n:%'"); n != "1" {
		t.Errorf("%s rows of the first event", n)
	}
	if n := scalar(t, store, "SELECT count() FROM system.tables WHERE database = currentDatabase() AND name = 'events_raw' AND engine_full LIKE '%TTL toDateTime(time) + toIntervalSecond(604800)%'"); n != "1" {
		t.Error("the table has not the retention of the default")
	}
	if n := len(f.dead()); n != 1 {
		t.Errorf("%d dead letters, want that of the message which is no batch", n)
	}
}

// dead are the messages of the DEAD stream.
func (f *fixture) dead() []bus.Stored {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), 20*time.Second)
	defer cancel()
	var got []bus.Stored
	_ = f.bus.Tail(ctx, bus.TailConfig{Stream: bus.StreamDead, Seq: 1}, func(m bus.Stored) error {
		got = append(got, m)
		cancel() // one is awaited
		return nil
	})
	return got
}

// TestEventColumns compares a connection and an open in a container with what went in.
func TestEventColumns(t *testing.T) {
	now := time.Now().UTC().Truncate(time.Second)
	rows, _, err := newEventRows().rows(some(t, enriched(t, "n", 100, 64, now), 1))
	if err != nil || len(rows) != 64 {
		t.Fatalf("%d rows: %v", len(rows), err)
	}
	cc, web := rows[2], rows[14]
	want := clickhouse.Event{
		Time: now.Add(2 * 37 * time.Microsecond), Node: "n", BootID: eventtest.BootID, Seq: 102, Type: "connect", Source: "syscall", PID: 1300, TID: 1002,
		Process: "cc1", Exe: "/usr/lib/gcc/x86_64-linux-gnu/12/cc1", Cmdline: "cc1 -quiet -O2 -o /tmp/ccX.s main.c", ExecID: "n:0b7d3c52:1300000009100:1300:1",
		PPID: 1200, Parent: "make", ParentExecID: "n:0b7d3c52:1200000008400:1200:1", UID: 1000, User: "ada",
		Path: "10.0.0.5:40002->8.8.8.8:443", Proto: "tcp", LocalIP: "10.0.0.5", RemoteIP: "8.8.8.8", LocalPort: 40002, RemotePort: 443, Result: -115, Errno: "EINPROGRESS",
	}
	fields := cc.Fields
	cc.Fields = nil
	if d := cmp.Diff(want, cc); d != "" {
		t.Errorf("connect (-want +got):\n%s", d)
	}
	if fields["evt.arg.fd"] != "7" || fields["fd.type"] != "ipv4" {
		t.Errorf("fields of connect: %v", fields)
	}
	if web.Type != "openat" || web.ContainerID == "" || web.ContainerName != "web" || web.Image != "nginx:1" || web.K8sNamespace != "shop" || web.K8sPod != "web-0" ||
		web.Path != "/usr/include/x86_64-linux-gnu/bits/types/file14.h" || web.Errno != "" || web.Fields["evt.arg.flags"] == "" {
		t.Errorf("open in a container: %+v", web)
	}
}

// BenchmarkEvents stores events that wait in the stream.
func BenchmarkEvents(b *testing.B) {
	f := newFixture(b)
	_, store, _ := startClickHouse(b)
	f.store = store
	now := time.Now()
	const per = 256
	for n := 0; n*per < b.N; n++ {
		data := some(b, enriched(b, "n", uint64(1+n*per), per, now), 1)
		if err := f.pub.PublishAsync(b.Context(), bus.Message{Subject: subject.Stored("syscall", "n"), ID: fmt.Sprint(n), Data: data}, func(error) {}); err != nil {
			b.Fatal(err)
		}
	}
	if err := f.pub.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	f.run(Config{})
	f.eventsSettled(10 * time.Minute)
	rows := float64((b.N + per - 1) / per * per)
	b.ReportMetric(rows/b.Elapsed().Seconds(), "rows/s")
	for unit, table := range map[string]string{"B/row": "events_raw", "batch-B/row": "event_batches"} {
		size, err := strconv.ParseFloat(scalar(b, store, "SELECT sum(data_compressed_bytes) FROM system.parts WHERE database = currentDatabase() AND active AND table = '"+table+"'"), 64)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(size/rows, unit)
	}
}
