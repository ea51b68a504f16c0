package sink

import (
	"context"
	"fmt"
	"time"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/schemas/alertv1"
)

// Bounds of what is in memory: a batch for each insert loop, one for each handler that waits for a loop, and the one that is being gathered.
const (
	// batchBytes bounds the alerts of one insert, in bytes as they came.
	batchBytes = 32 << 20
	// decoders is how many handlers decode alerts at once.
	decoders = 2
)

// batch is what one insert stores: alerts and their deliveries, in the same order.
type batch struct {
	alerts     []alertv1.Alert
	deliveries []*bus.Delivery
	bytes      int
	begun      time.Time
}

func (b *batch) len() int { return len(b.alerts) }

// part is the batch from one alert up to another.
func (b *batch) part(from, to int) *batch {
	return &batch{alerts: b.alerts[from:to], deliveries: b.deliveries[from:to]}
}

// retry gives everything back to the stream.
func (b *batch) retry() {
	for _, d := range b.deliveries {
		d.Retry(0)
	}
}

// add appends all of another batch.
func (b *batch) add(o *batch) {
	b.alerts, b.deliveries = append(b.alerts, o.alerts...), append(b.deliveries, o.deliveries...)
}

// collect decodes an alert and adds it to the batch that is being gathered; its insert settles it.
func (s *storage) collect(ctx context.Context, d *bus.Delivery) error {
	a, err := alertv1.Unmarshal(d.Data)
	if err != nil {
		return bus.Permanent(fmt.Errorf("decode alert: %w", err))
	}
	d.Defer()
	s.mu.Lock()
	b := s.gathering
	if b == nil {
		b = s.empty()
		s.gathering = b
	}
	b.alerts, b.deliveries, b.bytes = append(b.alerts, a), append(b.deliveries, d), b.bytes+len(d.Data)
	if b.len() < s.cfg.BatchRows && b.bytes < batchBytes {
		s.mu.Unlock()
		return nil
	}
	s.gathering = nil
	s.mu.Unlock()
	s.hand(ctx, b)
	return nil
}

// empty returns a batch to fill, a used one if there is one.
func (s *storage) empty() *batch {
	select {
	case b := <-s.used:
		b.begun = time.Now()
		return b
	default:
		return &batch{begun: time.Now()}
	}
}

// recycle keeps a batch that is settled for another.
func (s *storage) recycle(b *batch) {
	clear(b.alerts)
	clear(b.deliveries)
	b.alerts, b.deliveries, b.bytes = b.alerts[:0], b.deliveries[:0], 0
	select {
	case s.used <- b:
	default:
	}
}

// hand gives a batch to an insert loop, and waits for one that is free.
func (s *storage) hand(ctx context.Context, b *batch) {
	select {
	case s.full <- b:
	case <-ctx.Done():
		b.retry()
	}
}

// flushLoop hands over what waits for too long, until ctx ends; then what waits is given back.
func (s *storage) flushLoop(ctx context.Context) {
	tick := time.NewTicker(max(s.cfg.BatchWait/4, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			if b := s.take(0); b != nil {
				b.retry()
			}
			return
		case <-tick.C:
			if b := s.take(s.cfg.BatchWait); b != nil {
				s.hand(ctx, b)
			}
		}
	}
}

// take returns the batch that is being gathered if it is as old as that, and else nil.
func (s *storage) take(age time.Duration) *batch {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.gathering
	if b == nil || time.Since(b.begun) < age {
		return nil
	}
	s.gathering = nil
	return b
}
