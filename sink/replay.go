package sink

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/schemas/alertv1"
	"github.com/gyre-sec/gyre/schemas/subject"
	"github.com/gyre-sec/gyre/sink/notify"
)

// replay is a durable that ends at a message. It goes on after a restart.
type replay struct {
	stream, durable string
	until           uint64
	since           time.Time
}

const (
	replayPart  = "-replay-"
	replayUntil = "gyre_until" // key of the metadata that says where it ends
)

// startReplay begins a replay and returns its name.
func (d *delivery) startReplay(ctx context.Context, r Replay) (string, error) {
	if r.Since.IsZero() || r.Since.After(time.Now()) {
		return "", fmt.Errorf("since is %s, want a time in the past", r.Since.Format(time.RFC3339))
	}
	p := replay{stream: bus.StreamAlerts, since: r.Since, durable: d.durable() + replayPart + strconv.FormatInt(time.Now().UnixNano(), 36)}
	if r.Dead {
		p.stream = bus.StreamDead
	}
	var err error
	if p.until, err = d.b.LastSeq(ctx, p.stream); err != nil {
		return "", err
	}
	select {
	case d.replays <- p:
		return p.durable, nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// runReplays continues the replays that a restart interrupted, and runs new ones, until ctx ends.
func (d *delivery) runReplays(ctx context.Context) error {
	var g errgroup.Group
	for _, stream := range []string{bus.StreamAlerts, bus.StreamDead} {
		untilDone(ctx, d.env.Log, "replays of the output", func() error {
			list, err := d.b.Durables(ctx, stream, d.durable()+replayPart)
			for _, at := range list {
				until, perr := strconv.ParseUint(at.Metadata[replayUntil], 10, 64)
				if perr != nil {
					continue // not ours
				}
				g.Go(func() error { return d.runReplay(ctx, replay{stream: stream, durable: at.Name, until: until}) })
			}
			return err
		})
	}
	for {
		select {
		case <-ctx.Done():
			return g.Wait()
		case p := <-d.replays:
			g.Go(func() error { return d.runReplay(ctx, p) })
		}
	}
}

// runReplay sends what the durable delivers up to its end, and then deletes it.
func (d *delivery) runReplay(ctx context.Context, p replay) error {
	cfg := bus.WorkerConfig{
		Stream: p.stream, Durable: p.durable, Stage: d.durable(), MaxAckPending: d.cfg.Pending, PullMessages: min(d.cfg.Pending, 256), Start: p.since,
		Metadata: map[string]string{replayUntil: strconv.FormatUint(p.until, 10)},
	}
	if p.stream == bus.StreamDead {
		cfg.Filter = subject.Dead(d.durable())
	}
	wctx, stop := context.WithCancel(ctx)
	defer stop()
	d.env.Log.Info("replay begins", "consumer", p.durable, "until", p.until)
	worker := d.b.NewWorker(cfg, func(ctx context.Context, m *bus.Delivery) error { return d.resend(ctx, p, m) })
	ended := make(chan error, 1)
	go func() { ended <- worker.Run(wctx) }()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case err := <-ended:
			return err
		case <-tick.C:
		}
		at, err := d.b.Durable(ctx, p.stream, p.durable)
		if err != nil || at.AckFloor < p.until && at.Lag+uint64(at.AckPending) > 0 {
			continue
		}
		stop()
		if err := <-ended; err != nil {
			return err
		}
		d.env.Log.Info("replay done", "consumer", p.durable)
		return d.b.DeleteDurable(ctx, p.stream, p.durable)
	}
}

// resend queues one alert of a replay. It passes the conditions and routes and no groups; that it was sent before is why it is here.
func (d *delivery) resend(ctx context.Context, p replay, m *bus.Delivery) error {
	if m.Seq > p.until {
		return nil
	}
	a, err := alertv1.Unmarshal(m.Data)
	if err != nil {
		return bus.Permanent(fmt.Errorf("decode alert: %w", err))
	}
	if !d.match.Match(&a) {
		return nil
	}
	if p.stream == bus.StreamAlerts {
		if _, why := d.routing.decide(&a, d.cfg.Name, time.Now()); why != "" {
			return nil
		}
	}
	m.Defer()
	f := &flight{a.ID, []*bus.Delivery{m}}
	d.sender.Put(notify.Job{Batch: []notify.Message{d.dress(&a)}, Settle: func(_ int, err error) { d.settle(ctx, f, err, true) }})
	return nil
}
