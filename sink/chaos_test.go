package sink

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/schemas/alertv1"
	"github.com/gyre-sec/gyre/schemas/subject"
	"github.com/gyre-sec/gyre/sink/clickhouse"
	"github.com/gyre-sec/gyre/sink/clickhouse/embedded"
	"github.com/gyre-sec/gyre/sink/notify/webhook"
)

// chaosTime is how long alerts come; GYRE_CHAOS=2m makes it the full proof.
func chaosTime(t *testing.T) time.Duration {
	t.Helper()
	v := os.Getenv("GYRE_CHAOS")
	if v == "" {
		return 20 * time.Second
	}
	d, err := time.ParseDuration(v)
	if err != nil {
		t.Fatalf("GYRE_CHAOS: %v", err)
	}
	return d
}

const chaosRate = 5000 // alerts in a second

// chaos is one run of [TestChaos].
type chaos struct {
	*fixture
	seed   uint64
	store  *clickhouse.Store
	server *embedded.Server
	gate   *gate
	recv   []*flaky
	seen   []*witness
	kills  int
	sent   atomic.Int64
}

// TestChaos has ClickHouse and three outputs go up and down, and the sink stop and start, while 5,000 alerts come in a
// second. Then it audits by id: each alert is stored once, each output has taken it, and none was sent again after the sink was told
// that the output has it.
func TestChaos(t *testing.T) {
	d := chaosTime(t)
	c := &chaos{fixture: newFixture(t), seed: rand.Uint64()}
	t.Logf("seed %d, %s", c.seed, d)
	c.server, c.store, c.gate = startClickHouse(t)
	c.fixture.store = c.store
	var outputs []Output
	for i := range 3 {
		r := newFlaky(t)
		c.recv = append(c.recv, r)
		o := hook(fmt.Sprint("out", i), r.URL)
		w := o.Settings.(*webhook.Config)
		w.Array, w.ArrayMax = true, 500
		o.BatchMax, o.BatchWait, o.Pending, o.Timeout = 500, 50*time.Millisecond, 5000, 2*time.Second
		c.seen = append(c.seen, newWitness(w))
		o.Settings = c.seen[i]
		outputs = append(outputs, o)
	}
	begun := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	watching, unwatch := context.WithCancel(t.Context())
	defer unwatch()
	go c.watch(watching)
	_, stop := c.run(Config{Outputs: outputs})
	var g errgroup.Group
	g.Go(func() error { return c.produce(ctx) })
	g.Go(func() error { return c.disturbStorage(ctx) })
	for i, r := range c.recv {
		g.Go(func() error { r.disturb(ctx, c.dice(i)); return nil })
	}
	rng, restarts := c.dice(99), 0
	for ctx.Err() == nil {
		pause(ctx, time.Duration(3000+rng.IntN(7000))*time.Millisecond)
		stop()
		_, stop = c.run(Config{Outputs: outputs})
		restarts++
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	took := time.Since(begun)
	behind := time.Now()
	for i := range c.recv {
		c.settledWithin(time.Minute+3*d, fmt.Sprint("out", i))
	}
	c.settledWithin(time.Minute+3*d, clickHouseName)
	t.Logf("%d alerts, %.0f in a second; the sink was started again %d times, ClickHouse killed %d times; caught up in %s",
		c.sent.Load(), float64(c.sent.Load())/took.Seconds(), restarts, c.kills, time.Since(behind).Round(time.Millisecond))
	c.audit(t)
}

// watch logs from time to time how far the consumers are.
func (c *chaos) watch(ctx context.Context) {
	for start := time.Now(); ; {
		if pause(ctx, 10*time.Second); ctx.Err() != nil {
			return
		}
		list, err := c.bus.Durables(ctx, bus.StreamAlerts, DurablePrefix)
		if err != nil {
			continue
		}
		line := fmt.Sprintf("%3.0f s: %d sent", time.Since(start).Seconds(), c.sent.Load())
		for _, d := range list {
			line += fmt.Sprintf("; %s behind %d, in flight %d", d.Name, d.Lag, d.AckPending)
		}
		c.t.Log(line)
	}
}

func (c *chaos) dice(n int) *rand.Rand {
	return rand.New(rand.NewPCG(c.seed, uint64(n))) //nolint:gosec // a test's dice
}

// produce publishes alerts until ctx ends, as many as are due by now each time.
func (c *chaos) produce(ctx context.Context) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for start := time.Now(); ; {
		select {
		case <-ctx.Done():
			return c.pub.Flush(c.t.Context())
		case <-tick.C:
		}
		for due := int64(time.Since(start).Seconds() * chaosRate); c.sent.Load() < due && ctx.Err() == nil; {
			if err := c.one(); err != nil {
				return err
			}
		}
	}
}

func (c *chaos) one() error {
	n := c.sent.Add(1)
	a := alertv1.Alert{
		ID: alertv1.EventID("chaos", "n", "b", uint64(n)), Time: time.Now().UnixNano(), RuleID: "chaos", Rule: "Chaos", Priority: alertv1.Warning, Node: "n", Output: "o", Tags: []string{}, MITRE: []string{},
	}
	data, err := a.Marshal()
	if err != nil {
		return err
	}
	return c.pub.PublishAsync(c.t.Context(), bus.Message{Subject: subject.Alert("warning", "chaos", "n"), ID: a.ID.String(), Data: data}, func(err error) {
		if err != nil {
			c.t.Errorf("publish: %v", err)
		}
	})
}

// disturbStorage cuts the connections to ClickHouse, and kills its process, until ctx ends.
func (c *chaos) disturbStorage(ctx context.Context) error {
	rng := c.dice(50)
	defer c.gate.set(true)
	kill := time.Now().Add(5 * time.Second) // seldom: its supervisor waits longer after each time
	for {
		pause(ctx, time.Duration(200+rng.IntN(2500))*time.Millisecond)
		if ctx.Err() != nil {
			return nil
		}
		if pid := c.server.PID(); pid > 0 && time.Now().After(kill) {
			kill = time.Now().Add(25 * time.Second)
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				return fmt.Errorf("kill ClickHouse: %w", err)
			}
			c.kills++
			continue
		}
		c.gate.set(false)
		pause(ctx, time.Duration(100+rng.IntN(1500))*time.Millisecond)
		c.gate.set(true)
	}
}

// audit compares what was sent with what ClickHouse and the outputs have.
func (c *chaos) audit(t *testing.T) {
	t.Helper()
	sent := uint64(c.sent.Load())
	rows, ids, raw, err := c.stored(t)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("ClickHouse: %d rows with %d ids of %d; %d rows before those of the same id are merged", rows, ids, sent, raw)
	if rows != sent || ids != sent {
		t.Errorf("ClickHouse has %d rows with %d ids of %d alerts", rows, ids, sent)
	}
	for i, r := range c.recv {
		missing, repeated, unexplained := 0, 0, 0
		w := c.seen[i]
		for n := range sent {
			id := alertv1.EventID("chaos", "n", "b", n+1)
			got := r.got[id.String()]
			if got.taken == 0 || w.told[id] == 0 {
				missing++
			}
			if got.acknowledged > 1 {
				repeated++
			}
			if got.acknowledged > 1+w.late[id] {
				unexplained++
			}
		}
		t.Logf("output %d: %d alerts of %d, taken %d times; %s; %d attempts ended by the timeout, %d alerts were acknowledged more than once",
			i, len(r.got), sent, r.taken, r.said(), w.ended, repeated)
		if missing > 0 || len(r.got) != int(sent) {
			t.Errorf("output %d misses %d alerts, and has %d others", i, missing, len(r.got)-int(sent)+missing)
		}
		if w.again > 0 || unexplained > 0 {
			t.Errorf("output %d was sent %d alerts again after the sink was told that it has them; %d were acknowledged more often than attempts that ended unheard explain", i, w.again, unexplained)
		}
	}
}

// stored returns how many rows and ids readers of the table see, and how many rows there are before ClickHouse merges repetitions.
func (c *chaos) stored(t *testing.T) (rows, ids, raw uint64, err error) {
	t.Helper()
	r, err := c.store.Query(t.Context(), "SELECT (SELECT count() FROM alerts), (SELECT uniqExact(id) FROM alerts), (SELECT count() FROM alerts_raw)")
	if err != nil {
		return 0, 0, 0, err
	}
	var n [3]uint64
	for i := range n {
		if _, err := fmt.Sscan(fmt.Sprint(deref(r.Rows[0][i])), &n[i]); err != nil {
			return 0, 0, 0, err
		}
	}
	return n[0], n[1], n[2], nil
}

// deref is what a nullable column's value points to.
func deref(v any) any {
	if p, ok := v.(*uint64); ok && p != nil {
		return *p
	}
	return v
}
