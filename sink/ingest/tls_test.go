package ingest

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/bus/bustest"
	"github.com/gyre-sec/gyre/schemas/alertv1"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/format"
	"github.com/gyre-sec/gyre/sink/notify/notifytest"
	"github.com/gyre-sec/gyre/sink/notify/webhook"
)

// TestTLS: who has no certificate of the authority sends nothing, and what gyre sends in Falco's form, gyre takes.
func TestTLS(t *testing.T) {
	ca := notifytest.NewCA(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Listen: l.Addr().String(), ClientCA: ca.File}
	cfg.CertFile, cfg.KeyFile = ca.Issue("127.0.0.1")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	b := bustest.New(t)
	s, err := New(cfg, b, bustest.Log(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	send := func(set func(*webhook.Config)) error {
		c := webhook.Default()
		c.URL, c.Format, c.CAFile = "https://"+cfg.Listen+"/", format.Falco, ca.File
		set(c)
		return notifytest.Open(t, c, notifytest.Env(t.Output())).Notify(t.Context(), []notify.Message{notifytest.Message()})
	}
	good := func(c *webhook.Config) { c.CertFile, c.KeyFile = ca.Issue("node") }
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range 500 {
		if err = send(good); err == nil {
			break
		}
		<-tick.C
	}
	if err != nil {
		t.Fatalf("with a certificate: %v", err)
	}
	if err := send(func(*webhook.Config) {}); err == nil {
		t.Error("a client without a certificate was served")
	}
	other := notifytest.NewCA(t)
	if err := send(func(c *webhook.Config) { c.CertFile, c.KeyFile = other.Issue("node") }); err == nil {
		t.Error("a client of another authority was served")
	}
	n := 0
	err = b.Tail(t.Context(), bus.TailConfig{Stream: bus.StreamAlerts, ToEnd: true}, func(m bus.Stored) error {
		n++
		a, err := alertv1.Unmarshal(m.Data)
		want := notifytest.Message().Alert
		if a.Rule != want.Rule || a.Priority != want.Priority || a.Time != want.Time || a.Node != want.Node {
			t.Errorf("got %+v", a)
		}
		return err
	})
	if err != nil || n != 1 {
		t.Errorf("%d alerts in the stream, %v", n, err)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestTakenAddress: an address that is in use ends the program with its reason.
func TestTakenAddress(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	s, err := New(Config{Listen: l.Addr().String()}, bustest.New(t), bustest.Log(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Run(t.Context()); err == nil {
		t.Error("listens on an address that is in use")
	}
}
