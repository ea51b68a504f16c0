package correlate

import (
	"fmt"
	"maps"
	"slices"

	"github.com/axiomhq/hyperloglog"

	"github.com/gyre-sec/gyre/evaluator/ruleset"
	"github.com/gyre-sec/gyre/schemas/alertv1"
	"github.com/gyre-sec/gyre/schemas/wire"
)

const (
	snapshotVersion = 1
	maxStates       = 10_000_000
	maxStateEvents  = 1 << 20
)

// Snapshot writes the engine's state as one msgpack array:
//
//	[version, clock, since[[rule and digest, clock]...], states[[rule, digest, key[], released, floor, quiet, folded, expire, deadline, last, known,
//	 recent[hash, time...], events[[step, weight, hold, whole, alert(bin)]...], pending[index...], window[index...],
//	 partials[[at, have, index...]...], open, rate[begun, window, first, count, fired, before[], named[index...]],
//	 sketch[first, parts[bin...], named[index...]]]...]]
//
// An index is the place of an event in events; -1 is none.
func (e *Engine) Snapshot() ([]byte, error) {
	w := wire.NewEncoder()
	w.Array(4)
	w.Int(snapshotVersion)
	w.Int(e.clock)
	w.Array(len(e.since))
	for _, name := range slices.Sorted(maps.Keys(e.since)) {
		w.Array(2)
		w.String(name)
		w.Int(e.since[name])
	}
	w.Array(len(e.states))
	for _, id := range slices.Sorted(maps.Keys(e.idle)) {
		for x := e.idle[id].Front(); x != nil; x = x.Next() { // the order of idleness stays
			if err := x.Value.(*state).encode(w); err != nil {
				return nil, fmt.Errorf("encode state: %w", err)
			}
		}
	}
	return w.Data(), nil
}

// table gives events their indices.
type table struct {
	list []*event
	at   map[*event]int
}

func (t *table) add(list ...*event) {
	for _, x := range list {
		if _, ok := t.at[x]; !ok && x != nil {
			t.at[x] = len(t.list)
			t.list = append(t.list, x)
		}
	}
}

func (t *table) put(w *wire.Encoder, list []*event) {
	w.Array(len(list))
	for _, x := range list {
		w.Int(int64(t.at[x]))
	}
}

func (s *state) encode(w *wire.Encoder) error {
	t := table{at: map[*event]int{}}
	t.add(s.pending...)
	t.add(s.events...)
	t.add(s.open)
	t.add(s.rate.named...)
	for _, p := range s.partials {
		t.add(p.events...)
	}
	if s.sketch != nil {
		t.add(s.sketch.named...)
	}
	w.Array(19)
	w.String(s.rule.Rule.ID)
	w.String(s.rule.Digest)
	w.Array(len(s.parts))
	for _, p := range s.parts {
		w.String(p)
	}
	for _, n := range []int64{s.released, s.floor, s.quiet} {
		w.Int(n)
	}
	w.Uint(s.folded)
	for _, n := range []int64{s.expire, s.deadline, s.last} {
		w.Int(n)
	}
	w.Bool(s.known)
	w.Array(2 * len(s.recent))
	for _, x := range s.recent {
		w.Uint(x.hash)
		w.Int(x.time)
	}
	w.Array(len(t.list))
	for _, x := range t.list {
		if err := x.encode(w); err != nil {
			return err
		}
	}
	t.put(w, s.pending)
	t.put(w, s.events)
	w.Array(len(s.partials))
	for _, p := range s.partials {
		w.Array(3)
		w.Int(int64(p.at))
		w.Int(int64(p.have))
		t.put(w, p.events)
	}
	open := int64(-1)
	if s.open != nil {
		open = int64(t.at[s.open])
	}
	w.Int(open)
	s.rate.encode(w, &t)
	return s.sketch.encode(w, &t)
}

func (x *event) encode(w *wire.Encoder) error {
	a := alertv1.Alert{Time: x.time, Node: x.node, BootID: x.boot, Seq: x.seq, Event: x.kind, Fields: x.fields}
	if x.ctx != nil {
		a.Lineage, a.User, a.Container, a.K8s = x.ctx.lineage, x.ctx.user, x.ctx.container, x.ctx.k8s
	} else {
		a.Lineage = []alertv1.Process{{ExecID: x.exec, PID: x.pid, Name: x.name, Cmdline: x.cmd}}
	}
	data, err := a.Marshal()
	if err != nil {
		return err
	}
	w.Array(5)
	w.Int(int64(x.step))
	w.Uint(x.weight)
	w.Int(x.hold)
	w.Bool(x.ctx != nil)
	w.Bytes(data)
	return nil
}

func (r *rate) encode(w *wire.Encoder, t *table) {
	w.Array(7)
	w.Bool(r.begun)
	w.Int(r.window)
	w.Int(r.first)
	w.Uint(r.count)
	w.Bool(r.fired)
	w.Array(len(r.before))
	for _, n := range r.before {
		w.Uint(uint64(n))
	}
	t.put(w, r.named)
}

func (k *sketch) encode(w *wire.Encoder, t *table) error {
	if k == nil {
		w.Nil()
		return nil
	}
	w.Array(3)
	w.Int(k.first)
	w.Array(len(k.of))
	for _, part := range k.of {
		if part == nil {
			w.Bytes(nil)
			continue
		}
		data, err := part.MarshalBinary()
		if err != nil {
			return err
		}
		w.Bytes(data)
	}
	t.put(w, k.named)
	return nil
}

// Restore reads what [Engine.Snapshot] wrote into an engine without state, whose rules are in force. State of other rules is dropped.
func (e *Engine) Restore(data []byte) error {
	d := wire.NewDecoder()
	d.Reset(data)
	d.Array("snapshot", 64)
	if v := d.Int(); d.Err() == nil && v != snapshotVersion {
		return fmt.Errorf("snapshot %w: %d, want %d", ErrVersion, v, snapshotVersion)
	}
	e.clock = max(e.clock, d.Int())
	for range d.Array("since", maxStates) {
		d.Array("since", 2)
		name, t := d.String(), d.Int()
		if _, ok := e.since[name]; ok {
			e.since[name] = t
		}
	}
	for range d.Array("states", maxStates) {
		if s := e.decode(d); d.Err() == nil && s != nil {
			e.insert(s)
			w := window{e: e, s: s}
			e.account(s, s.weight())
			w.weigh()
			if s.sketch != nil {
				s.sketch.bytes = 0
				w.weighSketch()
			}
			e.schedule(s)
		}
	}
	if d.Err() != nil {
		return fmt.Errorf("decode snapshot: %w", d.Err())
	}
	return nil
}

// weight is about what the lists of s take, but for partials and sketches.
func (s *state) weight() int {
	n := 16*len(s.recent) + 4*len(s.rate.before)
	for _, list := range [][]*event{s.pending, s.events, s.rate.named} {
		for _, x := range list {
			n += x.size()
		}
	}
	if s.open != nil {
		n += s.open.size()
	}
	return n
}

func (e *Engine) decode(d *wire.Decoder) *state {
	n := d.Array("state", 64)
	if d.Err() == nil && n < 19 {
		d.Fail("state of %d elements, want 19", n)
	}
	id, digest := d.String(), d.String()
	parts := make([]string, d.Array("key", maxKeyParts))
	for i := range parts {
		parts[i] = d.String()
	}
	s := &state{key: joinKey(id, parts), parts: parts, heapIndex: -1}
	if len(parts) == 0 {
		s.parts = nil
	}
	s.released, s.floor, s.quiet, s.folded = d.Int(), d.Int(), d.Int(), d.Uint()
	s.expire, s.deadline, s.last, s.known = d.Int(), d.Int(), d.Int(), d.Bool()
	recent := d.Array("recent", maxStateEvents)
	if recent%2 != 0 {
		d.Fail("recent of %d elements", recent)
	}
	for range recent / 2 {
		s.recent = append(s.recent, seen{d.Uint(), d.Int()})
	}
	steps := 0
	c := e.rules[id]
	if c != nil {
		steps = len(c.Steps)
	}
	known := c != nil && c.Digest == digest
	all := make([]*event, d.Array("events", maxStateEvents))
	for i := range all {
		all[i] = decodeEvent(d, &e.b.names)
		if known && (all[i].step < ruleset.UntilIndex || all[i].step >= steps) {
			d.Fail("step %d of %d", all[i].step, steps)
		}
	}
	s.pending, s.events = take(d, all), ofSteps(d, take(d, all))
	for range d.Array("partials", maxStateEvents) {
		d.Array("partial", 3)
		p := &partial{at: int(d.Int()), have: int(d.Int()), events: ofSteps(d, take(d, all))}
		if known && (p.at < 0 || p.at >= steps || len(p.events) == 0) {
			d.Fail("partial at step %d of %d with %d events", p.at, steps, len(p.events))
		}
		s.partials = append(s.partials, p)
	}
	if i := d.Int(); i >= 0 && i < int64(len(all)) {
		s.open = all[i]
		ofSteps(d, all[i:i+1])
	}
	s.rate.decode(d, all)
	s.sketch = decodeSketch(d, all)
	d.Skip(n - 19)
	if !known || d.Err() != nil || e.states[s.key] != nil {
		return nil
	}
	s.rule = c
	return s
}

func take(d *wire.Decoder, all []*event) []*event {
	var out []*event
	for range d.Array("list", maxStateEvents) {
		i := d.Int()
		if i < 0 || i >= int64(len(all)) {
			d.Fail("event %d of %d", i, len(all))
			return nil
		}
		out = append(out, all[i])
	}
	return out
}

// ofSteps refuses events that only end what has begun, where those of steps are expected.
func ofSteps(d *wire.Decoder, list []*event) []*event {
	for _, x := range list {
		if x.step < 0 {
			d.Fail("an event without a step")
		}
	}
	return list
}

func decodeEvent(d *wire.Decoder, names *interner) *event {
	n := d.Array("event", 64)
	step, weight, hold, whole := d.Int(), d.Uint(), d.Int(), d.Bool()
	raw := d.Bytes()
	d.Skip(n - 5)
	if d.Err() != nil {
		return &event{}
	}
	a, err := alertv1.Unmarshal(raw)
	if err != nil {
		d.Fail("event: %v", err)
		return &event{}
	}
	x := newEvent(&Signal{Weight: weight, Alert: a}, int(step), hold)
	if !whole {
		return x.settle(names)
	}
	return x
}

func (r *rate) decode(d *wire.Decoder, all []*event) {
	d.Array("rate", 7)
	r.begun, r.window, r.first, r.count, r.fired = d.Bool(), d.Int(), d.Int(), d.Uint(), d.Bool()
	for range d.Array("before", maxStateEvents) {
		r.before = append(r.before, d.Uint32())
	}
	r.named = ofSteps(d, take(d, all))
}

func decodeSketch(d *wire.Decoder, all []*event) *sketch {
	if d.Err() != nil || d.IsNil() {
		return nil
	}
	d.Array("sketch", 3)
	k := &sketch{first: d.Int()}
	for range d.Array("parts", 64) {
		data := d.Bytes()
		if len(data) == 0 {
			k.of = append(k.of, nil)
			continue
		}
		part := hyperloglog.New14()
		if err := part.UnmarshalBinary(data); err != nil {
			d.Fail("sketch: %v", err)
			return nil
		}
		k.of = append(k.of, part)
	}
	k.named = ofSteps(d, take(d, all))
	return k
}
