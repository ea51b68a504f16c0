package collector

import (
	"context"
	"errors"
	"time"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/collector/container"
	"github.com/gyre-sec/gyre/schemas/factv1"
	"github.com/gyre-sec/gyre/schemas/subject"
)

// containers finds out about the containers that events name, off the reader's path, and tells it in the facts bucket.
type containers struct {
	// asks and noticed are of the reading goroutine, asks' other end of the finder's.
	asks    chan container.Ask
	noticed map[string]bool
	// forgotten are ids whose facts are gone; the reader notices them anew.
	forgotten chan string
	helper    *container.Helper // nil: in this process
}

func newContainers() *containers {
	return &containers{asks: make(chan container.Ask, 1024), noticed: map[string]bool{}, forgotten: make(chan string, 1024)}
}

// UseHelper has a process of its own find out about containers; call it before Run, which ends it.
func (c *Collector) UseHelper(h *container.Helper) { c.containers.helper = h }

// maxNoticed bounds the ids that are known to have been asked for.
const maxNoticed = 1 << 16

// notice is called for each container of a batch: it must not wait.
func (x *containers) notice(a container.Ask) {
	for range len(x.forgotten) {
		delete(x.noticed, <-x.forgotten)
	}
	if x.noticed[a.ID] {
		return
	}
	select {
	case x.asks <- a:
		if len(x.noticed) >= maxNoticed {
			clear(x.noticed)
		}
		x.noticed[a.ID] = true
	default: // the next batch that names it asks
	}
}

// findContainers runs until ctx ends.
func (c *Collector) findContainers(ctx context.Context) {
	x := c.containers
	facts := make(chan container.Fact, 64)
	put := make(chan struct{})
	go func() {
		defer close(put)
		c.putContainers(ctx, facts)
	}()
	tell := func(f container.Fact) {
		select {
		case facts <- f:
		case <-ctx.Done():
		}
	}
	if x.helper != nil {
		c.metrics.helperUp.Set(1)
		if err := x.helper.Run(ctx, x.asks, tell, func() {}); err != nil {
			c.metrics.errors.WithLabelValues("find containers").Inc()
			c.log.Error("facts of new containers are no longer found: restart the collector", "err", err)
		}
		c.metrics.helperUp.Set(0)
	} else {
		w := container.New(c.cfg.Containers, c.log, tell)
		done := make(chan struct{})
		go func() {
			defer close(done)
			w.Run(ctx)
		}()
		for ctx.Err() == nil {
			select {
			case <-ctx.Done():
			case a := <-x.asks:
				w.Notice(ctx, a)
			}
		}
		<-done
	}
	<-put
}

// retryFacts is how often facts that NATS did not take are tried again.
const retryFacts = time.Second

// putContainers stores facts in the bucket, until ctx ends; those that NATS does not take wait.
func (c *Collector) putContainers(ctx context.Context, facts <-chan container.Fact) {
	waiting := map[string]container.Fact{}
	var kv *bus.KV
	index := newIndex(c.node, c.cfg.Containers.Keep)
	retry := time.NewTicker(retryFacts)
	defer retry.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case f := <-facts:
			waiting[f.Container.ID] = f
		case <-retry.C:
		}
		if len(waiting) == 0 && kv != nil && !index.due(time.Now()) {
			continue
		}
		if kv == nil {
			var err error
			if kv, err = c.bus.KV(ctx, bus.BucketFacts); err != nil {
				kv = nil
				c.factError(ctx, err)
				continue
			}
		}
		for id, f := range waiting {
			if err := c.putContainer(ctx, kv, f); err != nil {
				c.factError(ctx, err)
				break
			}
			delete(waiting, id)
			index.note(f)
		}
		if err := index.keep(ctx, kv, time.Now()); err != nil {
			c.factError(ctx, err)
		}
	}
}

func (c *Collector) putContainer(ctx context.Context, kv *bus.KV, f container.Fact) error {
	key := subject.FactContainer(c.node, f.Container.ID)
	if f.Gone {
		err := kv.Delete(ctx, key)
		if err != nil && !errors.Is(err, bus.ErrNotFound) {
			return err
		}
		c.metrics.containers.WithLabelValues("forgotten").Inc()
		select {
		case c.containers.forgotten <- f.Container.ID:
		default: // it is asked for again when the ids are forgotten
		}
		return nil
	}
	data, err := f.Container.Encode()
	if err != nil { // never: it is bounded
		c.metrics.errors.WithLabelValues("encode facts").Inc()
		return nil
	}
	if _, err := kv.Put(ctx, key, data); err != nil {
		return err
	}
	c.metrics.containers.WithLabelValues(told(f.Container)).Inc()
	return nil
}

func told(f factv1.Container) string {
	if f.Unknown {
		return "unknown"
	}
	return "found"
}
