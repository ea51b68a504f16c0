package collector

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/bus/bustest"
)

// runLive runs a collector on this kernel until the returned function is called, which waits for all that it captured to be sent.
func runLive(t testing.TB, b *bus.Bus, cfg Config) (stop func()) {
	t.Helper()
	src, err := Open(cfg)
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("live capture: %v", err)
		}
		t.Skipf("SKIPPED, NOT TESTED: live capture needs root and a kernel with BTF: %v", err)
	}
	c, err := New(cfg, src, b, bustest.Log(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	ended := false
	stop = func() {
		if ended {
			return
		}
		ended = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("stop: %v", err)
		}
	}
	t.Cleanup(stop)
	for c.Ready() != nil {
		select {
		case err := <-done:
			t.Fatalf("the collector ended: %v", err)
		case <-time.After(time.Millisecond):
		}
	}
	return stop
}
