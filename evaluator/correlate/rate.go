package correlate

import (
	"slices"
	"strconv"
)

// rate counts events in windows that lie side by side. It takes the same memory however many they are.
type rate struct {
	window int64 // number of the present window: time divided by its length
	first  int64 // number of the first window of the key
	count  uint64
	fired  bool
	begun  bool
	// before are the counts of the windows of the baseline, the newest last.
	before []uint32
	// named are events of the present window that the alert names: its first ones.
	named []*event
}

// maxNamed bounds the events that a rate's alert names.
const maxNamed = 8

func (w *window) rate(x *event) {
	s := w.s
	r := &s.rate
	size := int64(s.rule.Within)
	at := x.time / size
	back := 0
	if s.rule.Baseline > 0 {
		back = int(s.rule.Baseline / s.rule.Within)
	}
	switch {
	case !r.begun:
		r.begun, r.window, r.first = true, at, at
	case at < r.window:
		if i := len(r.before) - int(min(r.window-at, int64(len(r.before)+1))); i >= 0 && i < len(r.before) {
			r.before[i] = addCap(r.before[i], x.weight)
		}
		return
	case at > r.window:
		w.nextWindow(at, back)
	}
	r.count += x.weight
	if len(r.named) < maxNamed-1 {
		y := x.settle(&w.e.b.names)
		r.named = append(r.named, y)
		w.e.account(s, y.size())
	}
	if r.fired || !r.tooHigh(s.rule.Count, s.rule.Factor, back) {
		return
	}
	r.fired = true
	if w.silent(x.time) {
		return
	}
	events := slices.Clone(r.named)
	if last := events[len(events)-1]; !last.same(x) {
		events = append(events, x)
	}
	w.alert(match{events: events, about: x, at: x.time, count: r.count, window: "rate/" + strconv.FormatInt(at*size, 10)})
}

// tooHigh: at least count, and if there is a baseline, factor times its mean, which must be known for the whole of it.
func (r *rate) tooHigh(count int, factor float64, back int) bool {
	if r.count < uint64(count) {
		return false
	}
	if back == 0 {
		return true
	}
	if r.window-r.first < int64(back) {
		return false
	}
	var sum uint64
	for _, n := range r.before {
		sum += uint64(n)
	}
	return float64(r.count)*float64(back) >= factor*float64(sum)
}

func (w *window) nextWindow(at int64, back int) {
	r := &w.s.rate
	if back > 0 {
		before := len(r.before)
		r.before = append(r.before, addCap(0, r.count))
		for range min(at-r.window-1, int64(back)) {
			r.before = append(r.before, 0)
		}
		if n := len(r.before) - back; n > 0 {
			r.before = slices.Clone(r.before[n:])
		}
		w.e.account(w.s, 4*(len(r.before)-before))
	}
	for _, x := range r.named {
		w.e.account(w.s, -x.size())
	}
	r.window, r.count, r.fired, r.named = at, 0, false, nil
}

func addCap(n uint32, more uint64) uint32 { return uint32(min(uint64(n)+more, 1<<32-1)) }
