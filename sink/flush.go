package sink

import (
	"context"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/sink/clickhouse"
)

// flush stores a batch, trying again until ctx ends; then the alerts that are not stored are given back. An alert whose content the server
// refuses goes to DEAD.
func (s *storage) flush(ctx context.Context, b *batch) {
	policy := backoff.NewExponentialBackOff()
	policy.InitialInterval, policy.MaxInterval = 100*time.Millisecond, 10*time.Second
	tries := 0
	_, _ = backoff.Retry(ctx, func() (struct{}, error) { // the only error left is that ctx has ended
		tries++
		var err error
		b, err = s.attempt(ctx, b, tries)
		if ctx.Err() == nil {
			s.set(err)
		}
		return struct{}{}, err
	}, backoff.WithBackOff(policy), backoff.WithMaxElapsedTime(0), backoff.WithMaxTries(0))
	if b != nil {
		b.retry()
	}
}

const (
	// splitTries is how often in a row a whole batch must fail for a reason that may pass before it is tried in parts.
	splitTries = 3
	// heldRows is how many rows must be refused, and none taken, for the table to be the cause rather than the rows.
	heldRows = 16
)

// attempt stores what it can of a batch, and returns what is left, nil for nothing, with the reason.
func (s *storage) attempt(ctx context.Context, b *batch, tries int) (*batch, error) {
	err := s.insert(ctx, b)
	t := clickhouse.Diagnose(err)
	switch {
	case err == nil:
		return nil, nil
	case !t.Split, !t.Row && tries < splitTries && t.State != clickhouse.StateSlow:
		return b, err
	}
	p := parts{s: s}
	if b.len() == 1 {
		p.single(b, err, t)
	} else {
		p.halves(ctx, b)
	}
	p.settle(ctx)
	if p.left.len() == 0 {
		return nil, nil
	}
	return &p.left, p.err
}

// insert stores alerts and acknowledges them.
func (s *storage) insert(ctx context.Context, b *batch) error {
	if err := s.store.InsertAlerts(ctx, b.alerts); err != nil {
		s.failed.Inc()
		return err
	}
	for _, d := range b.deliveries {
		d.Ack()
	}
	s.stored.Add(float64(b.len()))
	return nil
}

// parts stores a batch that is refused as a whole, in ever smaller parts, to find the alerts that are the cause.
type parts struct {
	s       *storage
	taken   int
	refused []refusal
	left    batch
	err     error // why the rest is left
}

// refusal is a batch of one alert that was refused.
type refusal struct {
	*batch
	err     error
	unknown bool
}

func (p *parts) halves(ctx context.Context, b *batch) {
	mid := b.len() / 2
	p.part(ctx, b.part(0, mid))
	p.part(ctx, b.part(mid, b.len()))
}

func (p *parts) part(ctx context.Context, b *batch) {
	if p.err != nil {
		p.left.add(b)
		return
	}
	err := p.s.insert(ctx, b)
	t := clickhouse.Diagnose(err)
	switch {
	case err == nil:
		p.taken += b.len()
	case !t.Split:
		p.leave(b, err)
	case b.len() > 1:
		p.halves(ctx, b)
	default:
		p.single(b, err, t)
	}
}

func (p *parts) leave(b *batch, err error) {
	p.left.add(b)
	p.err = err
}

// single notes that an alert was refused alone.
func (p *parts) single(b *batch, err error, t clickhouse.Trouble) {
	if !t.Row && !t.Unknown {
		p.leave(b, err)
		return
	}
	if p.refused = append(p.refused, refusal{b, err, t.Unknown}); p.taken == 0 && len(p.refused) >= heldRows {
		p.err = err
	}
}

// settle dead-letters the refused alerts, unless nothing tells that the server takes others: those are left.
func (p *parts) settle(ctx context.Context) {
	for _, r := range p.refused {
		err := r.err
		if p.taken > 0 && r.unknown { // once more, now that others are taken
			if err = p.s.insert(ctx, r.batch); err == nil {
				continue
			}
		}
		t := clickhouse.Diagnose(err)
		if t.Row && (p.taken > 0 || len(p.refused) < heldRows) || t.Unknown && p.taken > 0 {
			r.deliveries[0].Fail(ctx, bus.Permanent(fmt.Errorf("clickhouse refuses the alert: %w", err)))
			continue
		}
		p.leave(r.batch, err)
	}
}
