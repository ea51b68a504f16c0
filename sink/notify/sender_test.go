package notify_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/bus/bustest"
	"github.com/gyre-sec/gyre/schemas/alertv1"
	"github.com/gyre-sec/gyre/sink/notify"
)

type notifier func(ctx context.Context, batch []notify.Message) error

// Notify calls the function.
func (f notifier) Notify(ctx context.Context, batch []notify.Message) error { return f(ctx, batch) }

// batch makes messages whose rules are the given names.
func batch(rules ...string) []notify.Message {
	var out []notify.Message
	for _, r := range rules {
		out = append(out, notify.Message{Alert: &alertv1.Alert{Rule: r}})
	}
	return out
}

// results collects what was settled.
type results struct {
	mu  sync.Mutex
	got map[string]string
}

func (r *results) job(rules ...string) notify.Job {
	return notify.Job{Batch: batch(rules...), Settle: func(i int, err error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		what := "sent"
		switch {
		case bus.IsPermanent(err):
			what = "dead"
		case err != nil:
			what = "back"
		}
		if was := r.got[rules[i]]; was != "" {
			what = was + " " + what
		}
		r.got[rules[i]] = what
	}}
}

// run runs a sender in a bubble of virtual time for d.
func run(t *testing.T, cfg notify.SenderConfig, n notifier, d time.Duration, jobs func(r *results, s *notify.Sender)) (map[string]string, notify.State) {
	t.Helper()
	r := &results{got: map[string]string{}}
	var state notify.State
	synctest.Test(t, func(t *testing.T) {
		if cfg.Timeout == 0 {
			cfg.Timeout = time.Second
		}
		if cfg.MaxBackoff == 0 {
			cfg.MaxBackoff = time.Minute
		}
		s, err := notify.NewSender("out", n, cfg, bustest.Log(), prometheus.NewRegistry())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		jobs(r, s)
		time.Sleep(d) // virtual
		synctest.Wait()
		state = s.State()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		s.Put(r.job("after the end"))
	})
	return r.got, state
}

func check(t *testing.T, got map[string]string, want map[string]string) {
	t.Helper()
	want["after the end"] = "back"
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestBadAlertKeepsNoneBack(t *testing.T) {
	got, state := run(t, notify.SenderConfig{GiveUp: 10 * time.Minute}, func(_ context.Context, b []notify.Message) error {
		if b[0].Alert.Rule == "bad" {
			return errors.New("busy")
		}
		return nil
	}, time.Hour, func(r *results, s *notify.Sender) {
		s.Put(r.job("bad"))
		for i := range 5 {
			s.Put(r.job(fmt.Sprint(i)))
		}
	})
	check(t, got, map[string]string{"bad": "dead", "0": "sent", "1": "sent", "2": "sent", "3": "sent", "4": "sent"})
	if state.Sent != 5 || state.Dead != 1 || state.Queued != 0 || state.Failed < 5 {
		t.Errorf("state %+v", state)
	}
}

func TestRefusedBatchIsHalved(t *testing.T) {
	got, _ := run(t, notify.SenderConfig{}, func(_ context.Context, b []notify.Message) error {
		for _, m := range b {
			if m.Alert.Rule == "bad" {
				return bus.Permanent(errors.New("400"))
			}
		}
		return nil
	}, time.Minute, func(r *results, s *notify.Sender) { s.Put(r.job("a", "b", "bad", "c", "d")) })
	check(t, got, map[string]string{"a": "sent", "b": "sent", "c": "sent", "d": "sent", "bad": "dead"})
}

func TestPartial(t *testing.T) {
	calls := 0
	got, _ := run(t, notify.SenderConfig{}, func(_ context.Context, b []notify.Message) error {
		if calls++; calls == 1 {
			return &notify.Partial{Errs: []error{nil, bus.Permanent(errors.New("400")), errors.New("429")}}
		}
		if len(b) != 1 || b[0].Alert.Rule != "later" {
			t.Errorf("the second attempt has %d alerts", len(b))
		}
		return nil
	}, time.Minute, func(r *results, s *notify.Sender) { s.Put(r.job("a", "bad", "later")) })
	check(t, got, map[string]string{"a": "sent", "bad": "dead", "later": "sent"})
}

func TestPauses(t *testing.T) {
	var at []time.Duration
	var start time.Time
	got, state := run(t, notify.SenderConfig{MaxBackoff: 10 * time.Second}, func(context.Context, []notify.Message) error {
		at = append(at, time.Since(start))
		switch {
		case len(at) == 20:
			return &notify.RetryAfter{Err: errors.New("429"), After: 90 * time.Second}
		case len(at) < 22:
			return errors.New("503")
		}
		return nil
	}, time.Hour, func(r *results, s *notify.Sender) {
		start = time.Now()
		s.Put(r.job("a"))
	})
	check(t, got, map[string]string{"a": "sent"})
	for i := 1; i < len(at); i++ {
		pause, most := at[i]-at[i-1], 15*time.Second // half as much again for the jitter
		if i == 20 {
			if pause < 90*time.Second {
				t.Errorf("a pause of %s after Retry-After: 90", pause)
			}
			continue
		}
		if pause <= 0 || pause > most {
			t.Errorf("pause %d is %s", i, pause)
		}
	}
	if !state.Down.IsZero() || state.Error != "" || state.LastSuccess.IsZero() {
		t.Errorf("state %+v", state)
	}
}

func TestRate(t *testing.T) {
	n := 0
	_, _ = run(t, notify.SenderConfig{Rate: 2}, func(context.Context, []notify.Message) error { n++; return nil }, 5*time.Second, func(r *results, s *notify.Sender) {
		for i := range 100 {
			s.Put(r.job(fmt.Sprint(i)))
		}
	})
	if n < 10 || n > 12 { // the burst of 2, then 2 a second
		t.Errorf("%d in 5 s", n)
	}
}

func TestTimeoutPanicAndStop(t *testing.T) {
	got, state := run(t, notify.SenderConfig{Concurrency: 2, GiveUp: 5 * time.Second}, func(ctx context.Context, b []notify.Message) error {
		switch b[0].Alert.Rule {
		case "slow":
			<-ctx.Done()
			return ctx.Err()
		case "panic":
			panic("no")
		}
		return nil
	}, time.Minute, func(r *results, s *notify.Sender) {
		s.Put(r.job("slow"))
		s.Put(r.job("panic"))
	})
	check(t, got, map[string]string{"slow": "dead", "panic": "dead"})
	if !strings.Contains(state.Error, "notify out") {
		t.Errorf("error %q", state.Error)
	}
	got, _ = run(t, notify.SenderConfig{}, func(context.Context, []notify.Message) error { return errors.New("down") }, time.Second, func(r *results, s *notify.Sender) {
		s.Put(r.job("a", "b"))
		s.Put(r.job("c"))
	})
	check(t, got, map[string]string{"a": "back", "b": "back", "c": "back"})
}

// TestAttemptMayFinish: an attempt that runs when the program ends counts if it succeeds.
func TestAttemptMayFinish(t *testing.T) {
	got, _ := run(t, notify.SenderConfig{Timeout: 10 * time.Second}, func(context.Context, []notify.Message) error {
		time.Sleep(2 * time.Second) // virtual
		return nil
	}, time.Second, func(r *results, s *notify.Sender) { s.Put(r.job("a")) })
	check(t, got, map[string]string{"a": "sent"})
}
