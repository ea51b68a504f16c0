package sink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/schemas/alertv1"
	"github.com/gyre-sec/gyre/sink/route"
)

// routing is what all outputs share: the tree, silences and inhibition.
type routing struct {
	tree     *route.Tree
	silences route.Silences
	inhibit  *route.Inhibitor
}

func (c Config) routing() (*routing, error) {
	intervals := map[string]*route.Interval{}
	var errs []error
	for i, ic := range c.Intervals {
		in, err := ic.Compile()
		if err != nil {
			errs = append(errs, fmt.Errorf("intervals[%d]: %w", i, err))
		}
		intervals[ic.Name] = in
	}
	names := []string{}
	for _, o := range c.outputs() {
		names = append(names, o.Name)
	}
	tree, err := c.Route.Compile(names, intervals)
	errs = append(errs, err)
	in, err := route.NewInhibitor(c.Inhibit)
	return &routing{tree: tree, inhibit: in}, errors.Join(append(errs, err)...)
}

// Reasons for which an alert is not notified, as the metric names them.
const (
	reasonRoute     = "route"
	reasonMatch     = "match"
	reasonSilenced  = "silenced"
	reasonMuted     = "muted"
	reasonInhibited = "inhibited"
	reasonRepeated  = "repeated"
	reasonKnown     = "known"
)

// decide returns how the alert is grouped for an output, or why it is not notified.
func (r *routing) decide(a *alertv1.Alert, output string, now time.Time) (*route.Group, string) {
	r.inhibit.Observe(a)
	for _, t := range r.tree.Targets(a, now) {
		switch {
		case t.Output != output:
			continue
		case t.Muted:
			return nil, reasonMuted
		case r.silences.Silenced(a, now) != "":
			return nil, reasonSilenced
		case r.inhibit.Inhibited(a):
			return nil, reasonInhibited
		}
		return t.Group, ""
	}
	return nil, reasonRoute
}

// watchSilences follows the bucket until ctx ends, and closes known when all that is there was read.
func (r *routing) watchSilences(ctx context.Context, b *bus.Bus, log *slog.Logger, known chan struct{}) error {
	var once sync.Once
	return again(ctx, log, "silences", func() error {
		kv, err := b.KV(ctx, bus.BucketSilences)
		if err != nil {
			return err
		}
		return kv.Watch(ctx, ">", func(e bus.Entry) {
			if e.Deleted {
				r.silences.Delete(e.Key)
				return
			}
			s, err := route.ParseSilence(e.Value)
			if err == nil {
				err = r.silences.Set(s)
			}
			if err != nil {
				log.Warn("silence ignored", "silence", e.Key, "err", err)
			}
		}, func() { once.Do(func() { close(known) }) })
	})
}

// watchSources reads alerts from so far back that inhibition is right after a restart, and follows them: another sink
// may be the one that delivers a source.
func (r *routing) watchSources(ctx context.Context, b *bus.Bus, log *slog.Logger) error {
	longest := r.inhibit.Longest()
	if longest == 0 {
		return nil
	}
	return again(ctx, log, "alerts for inhibition", func() error {
		return b.Tail(ctx, bus.TailConfig{Stream: bus.StreamAlerts, Since: time.Now().Add(-longest)}, func(m bus.Stored) error {
			if a, err := alertv1.Unmarshal(m.Data); err == nil {
				r.inhibit.Observe(&a)
			}
			return nil
		})
	})
}

// again calls f until ctx ends, with a pause after each time.
func again(ctx context.Context, log *slog.Logger, what string, f func() error) error {
	for ctx.Err() == nil {
		if err := f(); err != nil && ctx.Err() == nil {
			log.Warn("watch interrupted", "what", what, "err", err)
		}
		pause(ctx, time.Second)
	}
	return nil
}

// untilDone calls f until it succeeds or ctx ends.
func untilDone(ctx context.Context, log *slog.Logger, what string, f func() error) {
	for ctx.Err() == nil {
		err := f()
		if err == nil {
			return
		}
		if ctx.Err() == nil {
			log.Warn("will be tried again", "what", what, "err", err)
		}
		pause(ctx, time.Second)
	}
}

// pause waits until ctx ends at the most.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
