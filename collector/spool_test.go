package collector

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/bus/bustest"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/schemas/eventv1"
)

// going plays a recording at once, tells when that is over, and goes on without events until ctx ends.
type going struct {
	Source
	played chan struct{}
}

func (s *going) Read(ctx context.Context, record func([]byte), idle func()) error {
	err := s.Source.Read(ctx, record, idle)
	idle()
	close(s.played)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for err == nil {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			idle()
		}
	}
	return err
}

// outage is a collector on a spool in a directory, and the server it sends to.
type outage struct {
	t    *testing.T
	cfg  Config
	srv  *bustest.Server
	reg  *prometheus.Registry
	coll *Collector
	stop context.CancelFunc
	done chan error
	src  *going
}

func newOutage(t *testing.T) *outage {
	cfg := testConfig()
	cfg.BatchEvents, cfg.Spool, cfg.StopTimeout = 16, daemon.MiB, 100*time.Millisecond
	cfg.SpoolDir, cfg.SpoolDisk, cfg.SpoolSync = t.TempDir(), 64*daemon.MiB, "never"
	return &outage{t: t, cfg: cfg, srv: bustest.Start(t)}
}

// run starts a collector that plays so many events.
func (o *outage) run(b *bus.Bus, opens int) {
	o.t.Helper()
	o.src = &going{Source: play(o.t, handmade(o.t, opens)), played: make(chan struct{})}
	o.reg = prometheus.NewRegistry()
	c, err := New(o.cfg, o.src, b, bustest.Log(), o.reg)
	if err != nil {
		o.t.Fatal(err)
	}
	var ctx context.Context
	ctx, o.stop = context.WithCancel(o.t.Context())
	o.coll, o.done = c, make(chan error, 1)
	go func() { o.done <- c.Run(ctx) }()
	select {
	case <-o.src.played:
	case err := <-o.done:
		o.t.Fatalf("the collector ended: %v", err)
	}
}

func (o *outage) end() {
	o.t.Helper()
	o.stop()
	if err := <-o.done; err != nil {
		o.t.Fatal(err)
	}
}

// metric sums a metric over all labels but those that are named in only, as name=value.
func (o *outage) metric(name string, only ...string) int {
	o.t.Helper()
	families, err := o.reg.Gather()
	if err != nil {
		o.t.Fatal(err)
	}
	sum := 0.0
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			if matches(m, only) {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return int(sum)
}

func matches(m *dto.Metric, only []string) bool {
	have := ""
	for _, l := range m.GetLabel() {
		have += " " + l.GetName() + "=" + l.GetValue() + " "
	}
	for _, o := range only {
		if !strings.Contains(have, " "+o+" ") {
			return false
		}
	}
	return true
}

// arrived reads the stream until there are so many events, told as lost or not.
type arrived struct {
	events, lost int
	ids          map[string]int
	seqs         map[string]map[uint64]int // of each boot
}

func arrivals(t *testing.T, b *bus.Bus, want int) *arrived {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	a := &arrived{ids: map[string]int{}, seqs: map[string]map[uint64]int{}}
	dec, r, e := eventv1.NewDecoder(), eventv1.NewReader(), eventv1.Event{}
	enough := errors.New("enough")
	err := b.Tail(ctx, bus.TailConfig{Stream: bus.StreamEvents, Seq: 1}, func(m bus.Stored) error {
		var batch eventv1.Batch
		if err := dec.Decode(append([]byte(nil), m.Data...), &batch); err != nil {
			return err
		}
		if a.seqs[batch.BootID] == nil {
			a.seqs[batch.BootID] = map[uint64]int{}
		}
		a.ids[m.ID]++
		for r.Reset(&batch); r.Next(&e); {
			a.events++
			a.seqs[batch.BootID][e.Seq]++
		}
		for _, l := range batch.Lost {
			a.lost += int(l.Count)
		}
		if a.events+a.lost >= want {
			return enough
		}
		return r.Err()
	})
	if !errors.Is(err, enough) {
		t.Fatalf("read EVENTS: %v after %d events and %d lost, want %d", err, a.events, a.lost, want)
	}
	for id, n := range a.ids {
		if n != 1 {
			t.Errorf("batch %s is in the stream %d times", id, n)
		}
	}
	return a
}

// whole checks that the numbers of a boot have no holes but for so many lost ones.
func (a *arrived) whole(t *testing.T, boots, lost int) {
	t.Helper()
	if len(a.seqs) != boots {
		t.Errorf("%d boots, want %d", len(a.seqs), boots)
	}
	holes := 0
	for _, seqs := range a.seqs {
		low, high := ^uint64(0), uint64(0)
		for seq, n := range seqs {
			low, high = min(low, seq), max(high, seq)
			if n != 1 {
				t.Errorf("event %d came %d times", seq, n)
			}
		}
		holes += int(high-low+1) - len(seqs)
	}
	if holes != lost {
		t.Errorf("%d numbers are missing, want %d", holes, lost)
	}
}

// TestOutageLongerThanMemory: what is made while NATS is away is many times what memory holds; all of it arrives, once.
func TestOutageLongerThanMemory(t *testing.T) {
	o := newOutage(t)
	b := o.srv.Connect()
	o.srv.Down()
	const opens = 120_000
	o.run(b, opens)
	onDisk := o.metric("gyre_collector_spool_disk_bytes")
	if inMemory := o.coll.spool.Bytes(); onDisk < 4*int(o.cfg.Spool) || inMemory > int(o.cfg.Spool) {
		t.Fatalf("%d bytes on disk, %d in memory: this is no test", onDisk, inMemory)
	}
	o.srv.Up()
	arrivals(t, o.srv.Connect(), opens+3).whole(t, 1, 0)
	o.end()
	if n := o.metric("gyre_collector_lost_events_total"); n != 0 {
		t.Errorf("%d lost", n)
	}
}

// TestRestartDuringOutage: a collector that ends while NATS is away leaves what it has to the next one.
func TestRestartDuringOutage(t *testing.T) {
	o := newOutage(t)
	b := o.srv.Connect()
	const opens = 20_000
	o.run(b, 100) // stored, and sent again by each run that follows soon
	arrivals(t, b, 103)
	o.end()
	o.srv.Down()
	for range 2 {
		o.run(b, opens)
		o.end()
		if n := o.metric("gyre_collector_lost_events_total"); n != 0 {
			t.Fatalf("%d lost", n)
		}
	}
	o.srv.Up()
	b2 := o.srv.Connect()
	o.run(b2, opens)
	arrivals(t, b2, 100+3+3*(opens+3)).whole(t, 4, 0)
	o.end()
}

// TestBoundOfTheDisk: with too little room, what arrives and what is told as lost is what was made.
func TestBoundOfTheDisk(t *testing.T) {
	o := newOutage(t)
	o.cfg.SpoolDisk = minSpoolDisk
	b := o.srv.Connect()
	o.srv.Down()
	const opens = 250_000
	o.run(b, opens)
	if n := o.metric("gyre_collector_spool_disk_bytes"); n > int(minSpoolDisk) {
		t.Errorf("%d bytes on disk", n)
	}
	o.srv.Up()
	a := arrivals(t, o.srv.Connect(), opens+3)
	o.end()
	lost := o.metric("gyre_collector_lost_events_total", "reason=spool_full")
	if lost == 0 || a.lost != lost || a.events+a.lost != opens+3 || o.metric("gyre_collector_lost_events_total") != lost {
		t.Errorf("%d arrived, %d told as lost, %d counted as lost, %d made", a.events, a.lost, lost, opens+3)
	}
	t.Logf("%d arrived, %d told as lost", a.events, a.lost)
}

func TestSpoolConfig(t *testing.T) {
	for _, tc := range []struct {
		change func(*Config)
		want   string
	}{
		{func(c *Config) { c.SpoolSync = "sometimes" }, "spool_sync"},
		{func(c *Config) { c.SpoolSync = "1us" }, "spool_sync"},
		{func(c *Config) { c.SpoolDisk = daemon.MiB }, "spool_disk"},
		{func(c *Config) { c.SpoolKeep = -1 }, "spool_keep"},
	} {
		c := DefaultConfig()
		if tc.change(&c); !errors.Is(c.Validate(), ErrConfig) || !strings.Contains(c.Validate().Error(), tc.want) {
			t.Errorf("%s: %v", tc.want, c.Validate())
		}
	}
	for text, want := range map[string]time.Duration{"always": 0, "never": -1, "250ms": 250 * time.Millisecond} {
		if got, err := (Config{SpoolSync: text}).spoolSync(); got != want || err != nil {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
}

// TestSpoolDirInUse: two collectors cannot have one directory.
func TestSpoolDirInUse(t *testing.T) {
	o := newOutage(t)
	b := o.srv.Connect()
	o.run(b, 1)
	c, err := New(o.cfg, play(t, handmade(t, 1)), b, bustest.Log(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Run(t.Context()); err == nil || daemon.Remedy(err) == "" {
		t.Errorf("second collector: %v", err)
	}
	o.end()
}
