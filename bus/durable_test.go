package bus_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/bus/bustest"
	"github.com/gyre-sec/gyre/schemas/subject"
)

func TestDurablePauseAndAckSync(t *testing.T) {
	b := bustest.New(t)
	pub := b.NewPublisher(bus.PublisherConfig{Stage: "test"})
	send := func(id string) {
		t.Helper()
		if err := pub.Publish(t.Context(), bus.Message{Subject: subject.Alert("notice", "r", "n"), ID: id, Data: []byte(id)}); err != nil {
			t.Fatal(err)
		}
	}
	send("1")
	got := make(chan string, 10)
	w := b.NewWorker(bus.WorkerConfig{Stream: bus.StreamAlerts, Durable: "d", Stage: "d", Metadata: map[string]string{"k": "v"}}, func(ctx context.Context, d *bus.Delivery) error {
		d.Defer()
		if err := d.AckSync(ctx); err != nil {
			return err
		}
		got <- string(d.Data)
		return nil
	})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	if v := <-got; v != "1" {
		t.Fatalf("got %s", v)
	}
	if d, err := b.Durable(t.Context(), bus.StreamAlerts, "d"); err != nil || d.AckFloor != 1 || d.Metadata["k"] != "v" || d.Paused() {
		t.Errorf("%+v, %v", d, err)
	}
	if err := b.Pause(t.Context(), bus.StreamAlerts, "d", time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	send("2")
	if d, err := b.Durables(t.Context(), bus.StreamAlerts, "d"); err != nil || len(d) != 1 || !d[0].Paused() || d[0].Last != 2 {
		t.Errorf("%+v, %v", d, err)
	}
	if err := b.Resume(t.Context(), bus.StreamAlerts, "d"); err != nil {
		t.Fatal(err)
	}
	if v := <-got; v != "2" {
		t.Errorf("got %s", v)
	}
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := b.DeleteDurable(t.Context(), bus.StreamAlerts, "d"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Durable(t.Context(), bus.StreamAlerts, "d"); !errors.Is(err, bus.ErrNotFound) {
		t.Errorf("after the deletion: %v", err)
	}
}

func TestAsk(t *testing.T) {
	b := bustest.New(t)
	if _, err := b.Ask(t.Context(), "gyre.ctl.x", nil); !errors.Is(err, bus.ErrNobody) {
		t.Errorf("nobody there: %v", err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- b.Answer(ctx, "gyre.ctl.x", "", func(_ context.Context, data []byte) ([]byte, error) {
			if string(data) == "bad" {
				return nil, errors.New("no\nsuch thing")
			}
			return append([]byte("re:"), data...), nil
		})
	}()
	var out []byte
	var err error
	for out, err = b.Ask(t.Context(), "gyre.ctl.x", []byte("a")); errors.Is(err, bus.ErrNobody); out, err = b.Ask(t.Context(), "gyre.ctl.x", []byte("a")) {
	}
	if err != nil || string(out) != "re:a" {
		t.Errorf("%s, %v", out, err)
	}
	if _, err := b.Ask(t.Context(), "gyre.ctl.x", []byte("bad")); err == nil || err.Error() != "no such thing" {
		t.Errorf("an error: %v", err)
	}
	if all, err := b.AskAll(t.Context(), "gyre.ctl.x", []byte("a"), 200*time.Millisecond); err != nil || len(all) != 1 {
		t.Errorf("%d answers, %v", len(all), err)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestPlain(t *testing.T) {
	srv := bustest.Start(t)
	b := srv.Connect()
	cfg := bus.DefaultConfig()
	cfg.URL = "nats://" + srv.Token() + "@" + srv.URL()[len("nats://"):]
	for _, js := range []bool{false, true} {
		p, err := bus.Dial(cfg, js)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second is dropped as a repetition
			if err := p.Publish(t.Context(), bus.Message{Subject: "gyre.signals.0.r", ID: map[bool]string{true: "js", false: "plain"}[js], Data: []byte("x")}); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
	n := 0
	if err := b.Tail(t.Context(), bus.TailConfig{Stream: bus.StreamSignals, ToEnd: true}, func(bus.Stored) error { n++; return nil }); err != nil || n != 2 {
		t.Errorf("%d messages, %v", n, err)
	}
}
