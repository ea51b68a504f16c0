package sink

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/schemas/alertv1"
)

// recent remembers the last ids that were settled: at least those of the last recentTime and at least minRecent, unless that were
// more than maxRecent. An alert whose acknowledgement got lost comes again after the server's patience (bus.WorkerConfig.AckWait),
// at thousands of alerts in a second so after many others.
type recent struct {
	now, before map[alertv1.ID]struct{}
	since       time.Time // of now
}

const (
	minRecent  = 20_000
	maxRecent  = 200_000 // about 10 MB each for now and before
	recentTime = 30 * time.Second
)

func (r *recent) add(id alertv1.ID, at time.Time) {
	if n := len(r.now); r.now == nil || n >= maxRecent || n >= minRecent && at.Sub(r.since) >= recentTime {
		r.before, r.now, r.since = r.now, make(map[alertv1.ID]struct{}), at
	}
	r.now[id] = struct{}{}
}

func (r *recent) has(id alertv1.ID) bool {
	_, a := r.now[id]
	_, b := r.before[id]
	return a || b
}

// history reads the ids of a stretch of the stream, once for all outputs that ask for about the same when a sink starts.
type history struct {
	b  *bus.Bus
	mu sync.Mutex
	// ids of the messages from number first on, in their order; next is the number after the last that was read.
	ids         []numbered
	first, next uint64
}

type numbered struct {
	seq uint64
	id  alertv1.ID
}

// errEnough ends the reading of a stream.
var errEnough = errors.New("enough")

// read calls f with the ids of the messages from one number of the stream to another.
func (h *history) read(ctx context.Context, from, to uint64, f func(alertv1.ID)) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if from < h.first || from > h.next {
		h.ids, h.first, h.next = nil, from, from
	}
	if to >= h.next {
		if err := h.extend(ctx, to); err != nil {
			return err
		}
	}
	for _, n := range h.ids {
		if n.seq >= from && n.seq <= to {
			f(n.id)
		}
	}
	return nil
}

// extend reads on up to a number.
func (h *history) extend(ctx context.Context, to uint64) error {
	err := h.b.Tail(ctx, bus.TailConfig{Stream: bus.StreamAlerts, Seq: max(1, h.next), ToEnd: true, HeadersOnly: true}, func(m bus.Stored) error {
		if m.Seq > to {
			return errEnough
		}
		if id, err := alertv1.ParseID(m.ID); err == nil {
			h.ids = append(h.ids, numbered{m.Seq, id})
		}
		h.next = m.Seq + 1
		if m.Seq == to {
			return errEnough
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	h.next = to + 1
	return nil
}

// recall reads the ids of the alerts just before the output's position: they are settled. An alert that an earlier stage
// published twice, too far apart for the stream to notice, is so known after a restart too.
func (d *delivery) recall(ctx context.Context, h *history) {
	untilDone(ctx, d.env.Log, "position of the output", func() error {
		at, err := d.b.Durable(ctx, bus.StreamAlerts, d.durable())
		if errors.Is(err, bus.ErrNotFound) || err == nil && at.AckFloor == 0 {
			return nil
		}
		if err != nil {
			return err
		}
		from := uint64(1)
		if at.AckFloor > minRecent {
			from = at.AckFloor - minRecent
		}
		return h.read(ctx, from, at.AckFloor, func(id alertv1.ID) {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.sent.add(id, time.Now())
		})
	})
}
