package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/bus/bustest"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/schemas/eventv1/eventtest"
	"github.com/gyre-sec/gyre/sink"
	"github.com/gyre-sec/gyre/sink/clickhouse"
	"github.com/gyre-sec/gyre/sink/clickhouse/chtest"
)

// TestRecordStored records what ClickHouse holds when the stream holds nothing any more; its replay gives the live alerts, to the last byte.
func TestRecordStored(t *testing.T) {
	p := newPastStoring(t, `evt.type in ["unlinkat", "connect"]`)
	srv := chtest.Server(t, "")
	cfg := clickhouse.DefaultConfig()
	cfg.DSN, cfg.Retention, cfg.RetentionEvents = daemon.NewSecret(srv.DSN()), 0, 0 // the events are old
	store, err := clickhouse.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	storing, err := sink.New(sink.DefaultConfig(), p.b, store, t.Output(), bustest.Log(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- storing.Run(ctx) }()
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) { // its position can only be asked for
		d, err := p.b.Durable(t.Context(), bus.StreamStored, "events")
		if err == nil && d.Last > 0 && d.AckFloor == d.Last {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the sink is not done: %+v, %v", d, err)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "r.gyre")
	since := (time.Since(time.Unix(0, eventtest.BaseTime)) + time.Hour).String()
	record := func(args ...string) (int, string, string) {
		return gyre(append([]string{"record", "--stored", "--clickhouse", srv.DSN(), "--since", since, "-o", file, "-q"}, args...)...)
	}
	code, out, errs := record()
	want := fmt.Sprintf("%d events of %d nodes in %d batches", 8*pastNodes*pastBatches, pastNodes, pastNodes*pastBatches)
	if code != 0 || !strings.Contains(out, want) || strings.Contains(out, "no batch") || strings.Contains(out, "INCOMPLETE") {
		t.Fatalf("%d %s%s, want %s", code, out, errs, want)
	}
	if !strings.Contains(errs, "the recording starts there") {
		t.Errorf("nothing says that ClickHouse holds less: %s", errs)
	}
	for _, workers := range []string{"1", "4"} {
		p.same(t, workers+" workers", p.replay(t, 0, "--from-file", file, "--alerts", "--workers", workers))
	}
	if code, out, errs := record("--force", "--node", "web-1"); code != 0 || !strings.Contains(out, fmt.Sprintf("of 1 nodes in %d batches", pastBatches)) {
		t.Errorf("of one node: %d %s%s", code, out, errs)
	}
	if code, out, errs := record("--force", "--source", "internal"); code != 0 || !strings.Contains(out, "0 events") {
		t.Errorf("of another source: %d %s%s", code, out, errs)
	}
	if code, _, errs := record("--force", "--for", "1m"); code != 1 || !strings.Contains(errs, "store_events") {
		t.Errorf("before the oldest event: %d %s", code, errs)
	}
	if code, _, errs := gyre("record", "--stored", "--clickhouse", srv.DSN(), "--for", "1m", "-o", file); code != 1 || !strings.Contains(errs, "--since") {
		t.Errorf("without a start: %d %s", code, errs)
	}
}
