package evaluator

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/evaluator/ruleset"
	"github.com/gyre-sec/gyre/schemas/eventv1"
	"github.com/gyre-sec/gyre/schemas/field"
	"github.com/gyre-sec/gyre/schemas/subject"
)

// picker picks the events of a batch that are stored. It is not safe for concurrent use; each goroutine that evaluates takes one.
type picker struct {
	filter   *ruleset.Filter
	selector *eventv1.Selector
	keep     []bool
	count    int // of the true ones
	failed   int // events for which the condition has no value: they are not stored
}

// newPicker compiles a condition; errors tell the place in it.
func newPicker(condition string) (*picker, error) {
	f, err := ruleset.NewFilter(condition)
	if err != nil {
		return nil, fmt.Errorf("store_events: %w", err)
	}
	return &picker{filter: f, selector: eventv1.NewSelector()}, nil
}

func (p *picker) reset() { p.keep, p.count, p.failed = p.keep[:0], 0, 0 }

// event looks at the next event of the batch, which v reads.
func (p *picker) event(v *field.View) {
	ok, err := p.filter.Match(v)
	if err != nil {
		p.failed++
		ok = false
	}
	if ok {
		p.count++
	}
	p.keep = append(p.keep, ok)
}

// message is the batch of the picked events. Its id follows from its bytes, and these from those of b and the condition: the
// stream drops it if it comes again.
func (p *picker) message(b *eventv1.Batch) (bus.Message, error) {
	data, err := p.selector.Select(b, p.keep)
	if err != nil {
		return bus.Message{}, err
	}
	sum := sha256.Sum256(data)
	return bus.Message{Subject: subject.Stored(b.Source, b.Node), ID: "stored-" + hex.EncodeToString(sum[:16]), Data: bytes.Clone(data)}, nil
}

// picker takes a picker that nobody uses.
func (e *Evaluator) picker() (*picker, error) {
	if p, ok := e.pickers.Get().(*picker); ok {
		return p, nil
	}
	return newPicker(e.cfg.StoreEvents)
}

// store adds the events that were picked to what w publishes.
func (e *Evaluator) store(w *work) error {
	e.m.pickErrors.Add(float64(w.pick.failed))
	if w.pick.count == 0 {
		return nil
	}
	msg, err := w.pick.message(&w.batch)
	if err != nil {
		return err
	}
	e.m.picked.Add(float64(w.pick.count))
	w.out = append(w.out, output{msg: msg})
	return nil
}
