package sink

import (
	"context"
	"errors"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/schemas/alertv1"
)

// recent remembers the last ids that were settled: at least maxRecent, at most twice as many.
type recent struct{ now, before map[alertv1.ID]struct{} }

const maxRecent = 20_000

func (r *recent) add(id alertv1.ID) {
	if r.now == nil || len(r.now) >= maxRecent {
		r.before, r.now = r.now, make(map[alertv1.ID]struct{})
	}
	r.now[id] = struct{}{}
}

func (r *recent) has(id alertv1.ID) bool {
	_, a := r.now[id]
	_, b := r.before[id]
	return a || b
}

// errEnough ends the reading of a stream.
var errEnough = errors.New("enough")

// recall reads the ids of the alerts just before the output's position: they are settled. An alert that an earlier stage
// published twice, too far apart for the stream to notice, is so known after a restart too.
func (d *delivery) recall(ctx context.Context) {
	untilDone(ctx, d.env.Log, "position of the output", func() error {
		at, err := d.b.Durable(ctx, bus.StreamAlerts, d.durable())
		if errors.Is(err, bus.ErrNotFound) || err == nil && at.AckFloor == 0 {
			return nil
		}
		if err != nil {
			return err
		}
		from := uint64(1)
		if at.AckFloor > maxRecent {
			from = at.AckFloor - maxRecent
		}
		err = d.b.Tail(ctx, bus.TailConfig{Stream: bus.StreamAlerts, Seq: from, ToEnd: true, HeadersOnly: true}, func(m bus.Stored) error {
			if m.Seq > at.AckFloor {
				return errEnough
			}
			if id, err := alertv1.ParseID(m.ID); err == nil {
				d.mu.Lock()
				d.sent.add(id)
				d.mu.Unlock()
			}
			if m.Seq == at.AckFloor {
				return errEnough
			}
			return nil
		})
		if errors.Is(err, errEnough) {
			return nil
		}
		return err
	})
}
