package recording

import (
	"bytes"
	"slices"

	"github.com/gyre-sec/gyre/schemas/eventv1"
)

// distinctKeep is how many batches of a boot are remembered. Those that share events were made of one batch of its collector,
// so in the order of time they are neighbours.
const distinctKeep = 16

// Distinct takes events out of batches that are in an earlier one: the same events, picked under two conditions. It is not safe
// for concurrent use.
type Distinct struct {
	dec    *eventv1.Decoder
	read   *eventv1.Reader
	sel    *eventv1.Selector
	recent map[distinctBoot][]numbers
}

type distinctBoot struct{ node, boot string }

// numbers are those of a batch's events, in order.
type numbers []uint64

// NewDistinct returns a Distinct that has seen nothing.
func NewDistinct() *Distinct {
	return &Distinct{dec: eventv1.NewDecoder(), read: eventv1.NewReader(), sel: eventv1.NewSelector(), recent: map[distinctBoot][]numbers{}}
}

// Next returns data, or what of it is new, encoded again; nil if nothing is.
func (d *Distinct) Next(data []byte) ([]byte, error) {
	var b eventv1.Batch
	if err := d.dec.Decode(data, &b); err != nil {
		return nil, err
	}
	at := distinctBoot{b.Node, b.BootID}
	before := d.recent[at]
	keep := make([]bool, 0, b.Count)
	now := make(numbers, 0, b.Count)
	var e eventv1.Event
	for d.read.Reset(&b); d.read.Next(&e); {
		again := slices.ContainsFunc(before, func(n numbers) bool {
			_, ok := slices.BinarySearch(n, e.Seq)
			return ok
		})
		if !again {
			now = append(now, e.Seq)
		}
		keep = append(keep, !again)
	}
	if err := d.read.Err(); err != nil {
		return nil, err
	}
	if len(now) > 0 {
		if len(before) == distinctKeep {
			before = slices.Delete(before, 0, 1)
		}
		d.recent[at] = append(before, now)
	}
	switch len(now) {
	case b.Count:
		return data, nil
	case 0:
		return nil, nil
	}
	out, err := d.sel.Select(&b, keep)
	return bytes.Clone(out), err
}
