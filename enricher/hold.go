package enricher

import (
	"context"
	"fmt"
	"sync"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/enricher/container"
	"github.com/gyre-sec/gyre/schemas/eventv1"
)

// maxOut bounds the batches that all enrichers together have in work, those that are held included.
const maxOut = 4096

// hold keeps batches until the facts of their containers have come, each in a goroutine of its own,
// so that the workers go on with others.
type hold struct {
	facts *container.Stage
	room  chan struct{}
	wg    sync.WaitGroup
}

func newHold(facts *container.Stage, room int) *hold {
	return &hold{facts: facts, room: make(chan struct{}, room)}
}

// Later calls pass when the facts are there or have taken too long, and returns true; it returns false if there is
// nothing to wait for, or no room. When ctx ends, a held batch is given back.
func (h *hold) Later(ctx context.Context, b *eventv1.Batch, d *bus.Delivery, pass func()) bool {
	if !h.facts.Missing(b) {
		return false
	}
	select {
	case h.room <- struct{}{}:
	default:
		h.facts.Skip()
		return false
	}
	h.wg.Go(func() {
		defer func() { <-h.room }()
		defer func() {
			if r := recover(); r != nil { // the fault of the message, which will give it again
				d.Fail(context.WithoutCancel(ctx), bus.Permanent(fmt.Errorf("enrichment panicked: %v", r)))
			}
		}()
		h.facts.Await(ctx, b, d.Stored)
		if ctx.Err() != nil {
			d.Retry(0)
			return
		}
		pass()
	})
	return true
}

// Wait returns when no batch is held.
func (h *hold) Wait() { h.wg.Wait() }
