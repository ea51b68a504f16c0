package correlate

import (
	"strconv"

	"github.com/axiomhq/hyperloglog"
)

// slots is into how many parts the window of an estimated count is divided. The window moves by a part, so it is up to one longer.
const slots = 8

// sketch estimates how many values there were in a window, with an error of about 1 %.
type sketch struct {
	// of[i] holds the values of part number first+i; nil for none.
	of    []*hyperloglog.Sketch
	first int64
	named []*event
	bytes int
}

// estimate counts values that are too many to remember.
func (w *window) estimate(x *event, text string) {
	s := w.s
	size := max(1, int64(s.rule.Within)/slots)
	at := x.time / size
	k := s.sketch
	if k == nil {
		k = &sketch{first: at}
		s.sketch = k
	}
	switch {
	case at < k.first:
		return
	case at >= k.first+int64(len(k.of)):
		if at-k.first >= 4*slots {
			k.of, k.first = nil, at
		}
		for int64(len(k.of)) <= at-k.first {
			k.of = append(k.of, nil)
		}
		if n := len(k.of) - slots - 1; n > 0 {
			k.of, k.first = k.of[n:], k.first+int64(n)
		}
	}
	i := at - k.first
	if k.of[i] == nil {
		k.of[i] = hyperloglog.New14()
	}
	k.of[i].Insert([]byte(text))
	if len(k.named) < maxNamed-1 {
		k.named = append(k.named, x.settle(&w.e.b.names))
	}
	defer w.weighSketch()
	all := hyperloglog.New14()
	for _, part := range k.of {
		if part != nil {
			_ = all.Merge(part) // all have one precision
		}
	}
	n := all.Estimate()
	if n < uint64(s.rule.Count) {
		return
	}
	events := append([]*event(nil), k.named...)
	if last := events[len(events)-1]; !last.same(x) {
		events = append(events, x)
	}
	w.alert(match{events: events, about: x, at: x.time, count: n, window: "distinct/" + strconv.FormatInt(at*size, 10)})
	s.quiet = x.time + s.quietOr(s.rule.Within)
	k.of, k.first, k.named = nil, at, nil
}

// weighSketch accounts for the sketches at their full size, which is 2^14 registers of 4 bits up to 8 each.
func (w *window) weighSketch() {
	k := w.s.sketch
	n := 0
	for _, part := range k.of {
		if part != nil {
			n += 16 << 10
		}
	}
	for _, x := range k.named {
		n += x.size()
	}
	w.e.account(w.s, n-k.bytes)
	k.bytes = n
}

func (w *window) dropSketch() {
	if k := w.s.sketch; k != nil {
		w.e.account(w.s, -k.bytes)
		w.s.sketch = nil
	}
}
