// Package eventstable tests the way of events from the evaluator into ClickHouse.
package eventstable

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/bus/bustest"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/evaluator"
	"github.com/gyre-sec/gyre/schemas/eventv1"
	"github.com/gyre-sec/gyre/schemas/eventv1/eventtest"
	"github.com/gyre-sec/gyre/schemas/subject"
	"github.com/gyre-sec/gyre/sink"
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

func store(t *testing.T) *clickhouse.Store {
	t.Helper()
	srv := chtest.Server(t, "")
	cfg := clickhouse.DefaultConfig()
	cfg.DSN = daemon.NewSecret(srv.DSN())
	s, err := clickhouse.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// run runs a worker and returns what stops it.
func run(t *testing.T, worker func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- worker(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// until waits until a question has an answer, and fails with the last other one.
func until(t *testing.T, s *clickhouse.Store, sql, want string) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(time.Minute)
	for got := ""; got != want; {
		if r, err := s.Query(t.Context(), sql); err != nil {
			got = err.Error()
		} else {
			got = fmt.Sprint(r.Rows)
		}
		select {
		case <-deadline:
			t.Fatalf("%s: got %s, want %s", sql, got, want)
		case <-tick.C:
		}
	}
}

// TestPickedEventsAreRows: of batches that are evaluated, some of them twice and by another evaluator, the table has the events that match, once.
func TestPickedEventsAreRows(t *testing.T) {
	b, s := bustest.New(t), store(t)
	cfg := sink.DefaultConfig()
	storing, err := sink.New(cfg, b, s, t.Output(), bustest.Log(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	run(t, storing.Run)
	evaluating := func() func() {
		ev := evaluator.DefaultConfig()
		ev.Builtin, ev.StoreEvents = false, `evt.type == "connect" && fd.sport == 443`
		e, err := evaluator.New(ev, b, bustest.Log(), prometheus.NewRegistry())
		if err != nil {
			t.Fatal(err)
		}
		return run(t, e.Run)
	}
	pub := b.NewPublisher(bus.PublisherConfig{Stage: "test"})
	now := time.Now()
	send := func(id string, first uint64) {
		t.Helper()
		builder := eventv1.NewBuilder()
		eventtest.Sample(builder, "n", first, 160)
		var x eventv1.Batch
		if err := eventv1.NewDecoder().Decode(bytes.Clone(builder.Encode()), &x); err != nil {
			t.Fatal(err)
		}
		x.BaseTime = now.UnixNano()
		if err := pub.Publish(t.Context(), bus.Message{Subject: subject.Enriched("syscall", "n"), ID: id, Data: eventv1.NewEncoder().Encode(&x)}); err != nil {
			t.Fatal(err)
		}
	}
	stop := evaluating()
	send("1", 1)
	send("2", 1001)
	const rows = "SELECT count(), uniqExact(seq), countIf(seq % 16 = 3 OR (seq - 1001) % 16 = 2), groupUniqArray(remote_port) FROM events WHERE event_type = 'connect'"
	until(t, s, rows, "[[20 20 20 [443]]]")
	stop()
	evaluating()
	send("1 again", 1) // ENRICHED takes it under another id; what comes of it has the same one
	send("3", 2001)
	until(t, s, "SELECT count(), uniqExact(seq), max(seq) FROM events", "[[30 30 2147]]")
	if raw, err := s.Query(t.Context(), "SELECT count() FROM events_raw"); err != nil || fmt.Sprint(raw.Rows) != "[[30]]" {
		t.Errorf("the table has %v rows (%v): the stream of events to store took a repetition", raw.Rows, err)
	}
}
