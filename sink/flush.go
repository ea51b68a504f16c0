package sink

import (
	"context"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/schemas/alertv1"
	"github.com/gyre-sec/gyre/sink/clickhouse"
)

// flush stores a batch, trying again until ctx ends; then the alerts that are not stored are given back. An alert whose content the server
// refuses goes to DEAD.
func (s *storage) flush(ctx context.Context, batch []item) {
	if len(batch) == 0 {
		return
	}
	policy := backoff.NewExponentialBackOff()
	policy.InitialInterval, policy.MaxInterval = 100*time.Millisecond, 10*time.Second
	tries := 0
	_, _ = backoff.Retry(ctx, func() (struct{}, error) { // the only error left is that ctx has ended
		tries++
		var err error
		batch, err = s.attempt(ctx, batch, tries)
		if ctx.Err() == nil {
			s.set(err)
		}
		return struct{}{}, err
	}, backoff.WithBackOff(policy), backoff.WithMaxElapsedTime(0), backoff.WithMaxTries(0))
	for _, it := range batch {
		it.d.Retry(0)
	}
}

const (
	// splitTries is how often in a row a whole batch must fail for a reason that may pass before it is tried in parts.
	splitTries = 3
	// heldRows is how many rows must be refused, and none taken, for the table to be the cause rather than the rows.
	heldRows = 16
)

// attempt stores what it can of a batch, and returns what is left with the reason.
func (s *storage) attempt(ctx context.Context, batch []item, tries int) ([]item, error) {
	err := s.insert(ctx, batch)
	t := clickhouse.Diagnose(err)
	switch {
	case err == nil:
		return nil, nil
	case !t.Split, !t.Row && tries < splitTries && t.State != clickhouse.StateSlow:
		return batch, err
	}
	p := parts{s: s}
	if len(batch) == 1 {
		p.single(batch[0], err, t)
	} else {
		p.halves(ctx, batch)
	}
	return p.settle(ctx)
}

// insert stores alerts and acknowledges them.
func (s *storage) insert(ctx context.Context, batch []item) error {
	alerts := make([]alertv1.Alert, len(batch))
	for i := range batch {
		alerts[i] = batch[i].a
	}
	if err := s.store.InsertAlerts(ctx, alerts); err != nil {
		s.failed.Inc()
		return err
	}
	for _, it := range batch {
		it.d.Ack()
	}
	s.stored.Add(float64(len(batch)))
	return nil
}

// parts stores a batch that is refused as a whole, in ever smaller parts, to find the rows that are the cause.
type parts struct {
	s       *storage
	taken   int
	refused []refusal
	left    []item
	err     error // why the rest is left
}

// refusal is a row that was refused alone.
type refusal struct {
	item
	err     error
	unknown bool
}

func (p *parts) halves(ctx context.Context, batch []item) {
	mid := len(batch) / 2
	p.part(ctx, batch[:mid])
	p.part(ctx, batch[mid:])
}

func (p *parts) part(ctx context.Context, batch []item) {
	if p.err != nil {
		p.left = append(p.left, batch...)
		return
	}
	err := p.s.insert(ctx, batch)
	t := clickhouse.Diagnose(err)
	switch {
	case err == nil:
		p.taken += len(batch)
	case !t.Split:
		p.left, p.err = append(p.left, batch...), err
	case len(batch) > 1:
		p.halves(ctx, batch)
	default:
		p.single(batch[0], err, t)
	}
}

// single notes that a row was refused alone.
func (p *parts) single(it item, err error, t clickhouse.Trouble) {
	if !t.Row && !t.Unknown {
		p.left, p.err = append(p.left, it), err
		return
	}
	if p.refused = append(p.refused, refusal{it, err, t.Unknown}); p.taken == 0 && len(p.refused) >= heldRows {
		p.err = err
	}
}

// settle dead-letters the refused rows, unless nothing tells that the server takes others; it returns what is left.
func (p *parts) settle(ctx context.Context) ([]item, error) {
	for _, r := range p.refused {
		err := r.err
		if p.taken > 0 && r.unknown { // once more, now that others are taken
			if err = p.s.insert(ctx, []item{r.item}); err == nil {
				continue
			}
		}
		t := clickhouse.Diagnose(err)
		if t.Row && (p.taken > 0 || len(p.refused) < heldRows) || t.Unknown && p.taken > 0 {
			r.d.Fail(ctx, bus.Permanent(fmt.Errorf("clickhouse refuses the alert: %w", err)))
			continue
		}
		p.left, p.err = append(p.left, r.item), err
	}
	return p.left, p.err
}
