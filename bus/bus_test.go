package bus_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/bus/bustest"
	"github.com/gyre-sec/gyre/bus/embedded"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/schemas/subject"
)

// run starts a worker and returns a function that stops it and waits.
func run(t *testing.T, w *bus.Worker) func() {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	return sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("worker: %v", err)
		}
	})
}

func await[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(30 * time.Second):
		t.Fatalf("%s did not happen in 30 s", what)
		panic("unreachable")
	}
}

func publish(t *testing.T, b *bus.Bus, n int, size int) {
	t.Helper()
	p := b.NewPublisher(bus.PublisherConfig{Stage: "test"})
	for i := range n {
		data := []byte(fmt.Sprintf("%d:%s", i, strings.Repeat("x", size)))
		m := bus.Message{Subject: subject.Event("syscall", "n"), ID: fmt.Sprintf("n/b/%d", i), Data: data}
		if err := p.PublishAsync(t.Context(), m, func(err error) {
			if err != nil {
				t.Errorf("publish: %v", err)
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestEnsureIsIdempotentAndRefusesLoss(t *testing.T) {
	s := bustest.Start(t)
	b := s.Connect()
	if err := b.Ensure(t.Context()); err != nil {
		t.Fatalf("second time: %v", err)
	}
	publish(t, b, 50, 4000)
	small := bus.DefaultConfig()
	small.Codec = bus.None
	small.Streams.Events.MaxBytes = 100
	c, err := bus.ConnectInProcess(t.Context(), s, small, bustest.Log(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	err = c.Ensure(t.Context())
	if !errors.Is(err, bus.ErrTopology) || !strings.Contains(err.Error(), "EVENTS") || !strings.Contains(err.Error(), "max_bytes") {
		t.Errorf("a limit under what is held: %v", err)
	}
	if daemon.Remedy(err) == "" {
		t.Error("no remedy")
	}
}

func TestWorkersShareADurable(t *testing.T) {
	b := bustest.New(t)
	const n = 500
	publish(t, b, n, 10)
	publish(t, b, n, 10) // same ids: dropped by the stream
	var mu sync.Mutex
	seen, by := map[string]int{}, map[string]int{}
	all := make(chan struct{})
	worker := func(name string) *bus.Worker {
		return b.NewWorker(bus.WorkerConfig{Stream: bus.StreamEvents, Durable: "d", Stage: "test", Concurrency: 2, PullMessages: 8}, func(_ context.Context, d *bus.Delivery) error {
			mu.Lock()
			defer mu.Unlock()
			seen[d.ID()]++
			by[name]++
			if len(seen) == n {
				select {
				case <-all:
				default:
					close(all)
				}
			}
			return nil
		})
	}
	defer run(t, worker("a"))()
	defer run(t, worker("b"))()
	await(t, all, "delivery of all messages")
	mu.Lock()
	defer mu.Unlock()
	for id, times := range seen {
		if times != 1 {
			t.Errorf("%s was delivered %d times", id, times)
		}
	}
	if by["a"] == 0 || by["b"] == 0 {
		t.Errorf("one worker got everything: %v", by)
	}
}

func TestPermanentGoesToDead(t *testing.T) {
	b := bustest.New(t)
	publish(t, b, 3, 5)
	w := b.NewWorker(bus.WorkerConfig{Stream: bus.StreamEvents, Durable: "d", Stage: "stage"}, func(_ context.Context, d *bus.Delivery) error {
		switch d.ID() {
		case "n/b/0":
			return bus.Permanent(errors.New("cannot\nbe"))
		case "n/b/1":
			panic("boom")
		}
		return nil
	})
	defer run(t, w)()
	got := make(chan bus.Stored, 2)
	go func() {
		_ = b.Tail(t.Context(), bus.TailConfig{Stream: bus.StreamDead, Seq: 1}, func(m bus.Stored) error { got <- m; return nil })
	}()
	for range 2 {
		m := await(t, got, "a dead letter")
		if m.Subject != subject.Dead("stage") || !strings.HasSuffix(string(m.Data), ":xxxxx") {
			t.Errorf("dead letter %s %q", m.Subject, m.Data)
		}
	}
}

func TestTransientIsTriedAgain(t *testing.T) {
	b := bustest.New(t)
	publish(t, b, 1, 5)
	done := make(chan uint64, 1)
	w := b.NewWorker(bus.WorkerConfig{Stream: bus.StreamEvents, Durable: "d", Stage: "stage"}, func(_ context.Context, d *bus.Delivery) error {
		if d.Delivered < 3 {
			return errors.New("not now")
		}
		done <- d.Delivered
		return nil
	})
	defer run(t, w)()
	if n := await(t, done, "third delivery"); n != 3 {
		t.Errorf("delivered %d times", n)
	}
}

func TestDeferredAck(t *testing.T) {
	b := bustest.New(t)
	publish(t, b, 10, 5)
	held := make(chan *bus.Delivery, 10)
	w := b.NewWorker(bus.WorkerConfig{Stream: bus.StreamEvents, Durable: "d", Stage: "stage"}, func(_ context.Context, d *bus.Delivery) error {
		d.Defer()
		held <- d
		return nil
	})
	stop := run(t, w)
	var ds []*bus.Delivery
	for range 10 {
		ds = append(ds, await(t, held, "a delivery"))
	}
	if p := consumer(t, b, "d").AckPending; p != 10 {
		t.Errorf("%d unacknowledged, want 10", p)
	}
	for _, d := range ds {
		d.Ack()
		d.Retry(0) // settled already: nothing happens
	}
	for consumer(t, b, "d").AckPending != 0 {
		time.Sleep(5 * time.Millisecond)
	}
	stop()
}

func consumer(t *testing.T, b *bus.Bus, name string) bus.ConsumerStatus {
	t.Helper()
	st, err := b.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range st {
		for _, c := range s.Consumers {
			if c.Name == name {
				return c
			}
		}
	}
	t.Fatalf("no consumer %s", name)
	panic("unreachable")
}

func TestServerRestartLosesNothing(t *testing.T) {
	s := bustest.Start(t)
	s.Connect()
	cfg := bus.DefaultConfig()
	cfg.URL, cfg.PublishTimeout = s.URL(), time.Second
	cfg.Token = daemon.NewSecret(s.Token())
	b, err := bus.Connect(t.Context(), cfg, bustest.Log(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	p := b.NewPublisher(bus.PublisherConfig{Stage: "test", MaxMessages: 400})
	send := func(from, to int) {
		for i := from; i < to; i++ {
			m := bus.Message{Subject: subject.Event("syscall", "n"), ID: fmt.Sprint(i), Data: []byte(fmt.Sprint(i))}
			if err := p.PublishAsync(t.Context(), m, func(err error) {
				if err != nil {
					t.Errorf("publish: %v", err)
				}
			}); err != nil {
				t.Fatal(err)
			}
		}
	}
	send(0, 100)
	s.Down()
	send(100, 300)
	s.Up()
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	if err := b.Tail(t.Context(), bus.TailConfig{Stream: bus.StreamEvents, ToEnd: true}, func(m bus.Stored) error { seen[m.ID]++; return nil }); err != nil {
		t.Fatal(err)
	}
	if len(seen) != 300 {
		t.Errorf("%d of 300 messages are stored", len(seen))
	}
	for id, n := range seen {
		if n != 1 {
			t.Errorf("message %s is stored %d times", id, n)
		}
	}
}

func TestKV(t *testing.T) {
	b := bustest.New(t)
	kv, err := b.KV(t.Context(), bus.BucketRules)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Get(t.Context(), "x"); !errors.Is(err, bus.ErrNotFound) {
		t.Errorf("missing key: %v", err)
	}
	rev, err := kv.Update(t.Context(), "x", []byte("1"), 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Update(t.Context(), "x", []byte("2"), rev+7); !errors.Is(err, bus.ErrConflict) {
		t.Errorf("stale revision: %v", err)
	}
	got, current := make(chan bus.Entry, 4), make(chan struct{})
	go func() {
		if err := kv.Watch(t.Context(), ">", func(e bus.Entry) { got <- e }, func() { close(current) }); err != nil {
			t.Errorf("watch: %v", err)
		}
	}()
	if e := await(t, got, "present value"); string(e.Value) != "1" {
		t.Errorf("present value %q", e.Value)
	}
	await(t, current, "end of present values")
	if _, err := kv.Put(t.Context(), "x", []byte("3")); err != nil {
		t.Fatal(err)
	}
	if e := await(t, got, "change"); string(e.Value) != "3" {
		t.Errorf("change %q", e.Value)
	}
	if err := kv.Delete(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	if e := await(t, got, "deletion"); !e.Deleted {
		t.Errorf("deletion %+v", e)
	}
	if h, err := kv.History(t.Context(), "x"); err != nil || len(h) != 3 {
		t.Errorf("history %v, %v", h, err)
	}
}

func TestTailReadsThePastAndEnds(t *testing.T) {
	b := bustest.New(t)
	publish(t, b, 300, 100)
	n := 0
	err := b.Tail(t.Context(), bus.TailConfig{Stream: bus.StreamEvents, ToEnd: true}, func(m bus.Stored) error {
		if want := fmt.Sprintf("%d:", n); !strings.HasPrefix(string(m.Data), want) {
			t.Fatalf("message %d is %.10q", n, m.Data)
		}
		n++
		return nil
	})
	if err != nil || n != 300 {
		t.Errorf("%d messages, %v", n, err)
	}
	if err := b.Tail(t.Context(), bus.TailConfig{Stream: bus.StreamAlerts, ToEnd: true}, func(bus.Stored) error { return errors.New("none expected") }); err != nil {
		t.Errorf("empty stream: %v", err)
	}
}

// TestReadersLeaveNothingBehind reads messages, for none of which a goroutine may stay.
func TestReadersLeaveNothingBehind(t *testing.T) {
	b := bustest.New(t)
	publish(t, b, 400, 100)
	for what, read := range map[string]func(each func()) error{
		"tail": func(each func()) error {
			return b.Tail(t.Context(), bus.TailConfig{Stream: bus.StreamEvents, ToEnd: true}, func(bus.Stored) error { each(); return nil })
		},
		"read": func(each func()) error {
			return b.Read(t.Context(), bus.ReadConfig{Stream: bus.StreamEvents}, func(bus.Packed) error { each(); return nil })
		},
	} {
		n, first, last := 0, 0, 0
		err := read(func() {
			if n++; n == 10 {
				first = runtime.NumGoroutine()
			}
			last = runtime.NumGoroutine()
		})
		if err != nil || n != 400 || last-first > 50 {
			t.Errorf("%s: %d messages, %d goroutines at the tenth, %d at the last: %v", what, n, first, last, err)
		}
	}
}

func TestTooLargeIsPermanent(t *testing.T) {
	b := bustest.New(t)
	p := b.NewPublisher(bus.PublisherConfig{Stage: "test", Codec: bus.None})
	err := p.Publish(t.Context(), bus.Message{Subject: subject.Event("s", "n"), Data: make([]byte, b.MaxPayload()+1)})
	if !bus.IsPermanent(err) {
		t.Errorf("a message over the limit: %v", err)
	}
}

func TestEmbeddedRefusesSecondServer(t *testing.T) {
	s := bustest.Start(t)
	cfg := embedded.DefaultConfig()
	cfg.Dir = t.TempDir()
	cfg.Listen = strings.TrimPrefix(s.URL(), "nats://")
	if _, err := embedded.Start(cfg, bustest.Log()); !errors.Is(err, embedded.ErrPort) {
		t.Errorf("taken port: %v", err)
	}
	cfg.Listen = ""
	first, err := embedded.Start(cfg, bustest.Log())
	if err != nil {
		t.Fatal(err)
	}
	defer first.Stop()
	if _, err := embedded.Start(cfg, bustest.Log()); !errors.Is(err, embedded.ErrInUse) {
		t.Errorf("directory in use: %v", err)
	}
}
