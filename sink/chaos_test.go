package sink

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/schemas/alertv1"
	"github.com/gyre-sec/gyre/schemas/subject"
	"github.com/gyre-sec/gyre/sink/notify/webhook"
)

// chaosTime is how long alerts come; GYRE_CHAOS=2m makes it the full proof.
func chaosTime(t *testing.T) time.Duration {
	t.Helper()
	v := os.Getenv("GYRE_CHAOS")
	if v == "" {
		return 5 * time.Second
	}
	d, err := time.ParseDuration(v)
	if err != nil {
		t.Fatalf("GYRE_CHAOS: %v", err)
	}
	return d
}

// TestChaos has three outputs go up and down and the sink stop and start while alerts come, and then audits by id:
// each alert was taken by each output, and once.
func TestChaos(t *testing.T) {
	const rate, step = 5000, 100
	f := newFixture(t)
	recv := []*receiver{newReceiver(t), newReceiver(t), newReceiver(t)}
	var outputs []Output
	for i, r := range recv {
		o := hook(fmt.Sprint("out", i), r.URL)
		c := o.Settings.(*webhook.Config)
		c.Array, c.ArrayMax = true, 500
		o.BatchMax, o.BatchWait, o.Pending = 500, 50*time.Millisecond, 5000
		outputs = append(outputs, o)
	}
	d := chaosTime(t)
	seed := rand.Uint64()
	t.Logf("seed %d, %s", seed, d)
	_, stop := f.run(Config{Outputs: outputs})
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	var g errgroup.Group
	sent := 0
	g.Go(func() error {
		tick := time.NewTicker(time.Second * step / rate)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return f.pub.Flush(t.Context())
			case <-tick.C:
			}
			for range step {
				sent++
				a := alertv1.Alert{
					ID: alertv1.EventID("chaos", "n", "b", uint64(sent)), Time: time.Now().UnixNano(), RuleID: "chaos", Rule: "Chaos", Priority: alertv1.Warning, Node: "n", Output: "o", Tags: []string{}, MITRE: []string{},
				}
				data, err := a.Marshal()
				if err != nil {
					return err
				}
				if err := f.pub.PublishAsync(t.Context(), bus.Message{Subject: subject.Alert("warning", "chaos", "n"), ID: a.ID.String(), Data: data}, func(err error) {
					if err != nil {
						t.Errorf("publish: %v", err)
					}
				}); err != nil {
					return err
				}
			}
		}
	})
	for i, r := range recv {
		g.Go(func() error {
			rng := rand.New(rand.NewPCG(seed, uint64(i))) //nolint:gosec // a test's dice
			for up := true; ; up = !up {
				pause(ctx, time.Duration(50+rng.IntN(900))*time.Millisecond)
				if ctx.Err() != nil {
					r.answer(nil)
					return nil
				}
				if r.answer(nil); up {
					r.answer(func(map[string]any) int { return 503 })
				}
			}
		})
	}
	rng := rand.New(rand.NewPCG(seed, 99)) //nolint:gosec // a test's dice
	restarts := 0
	for ctx.Err() == nil {
		pause(ctx, time.Duration(500+rng.IntN(2000))*time.Millisecond)
		stop()
		_, stop = f.run(Config{Outputs: outputs})
		restarts++
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	behind := time.Now()
	for i := range recv {
		f.settledWithin(20*time.Second+2*d, fmt.Sprint("out", i))
	}
	t.Logf("caught up in %s", time.Since(behind).Round(time.Millisecond))
	for i, r := range recv {
		ids, total := r.counts()
		t.Logf("output %d: %d alerts of %d in %d deliveries over %d restarts", i, ids, sent, total, restarts)
		if ids != sent {
			t.Errorf("output %d has %d of %d alerts", i, ids, sent)
		}
		if total != ids {
			t.Errorf("output %d took %d alerts more than once", i, total-ids)
		}
	}
}
