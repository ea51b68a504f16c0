package evaluator

import (
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
	"sync"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/evaluator/correlate"
	"github.com/gyre-sec/gyre/evaluator/rule"
	"github.com/gyre-sec/gyre/evaluator/ruleset"
	"github.com/gyre-sec/gyre/schemas/alertv1"
	"github.com/gyre-sec/gyre/schemas/eventv1"
)

// maxCmdline bounds the command line of a process in a signal.
const maxCmdline = 512

// signals are the matches of steps in one batch.
type signals struct {
	list []pending
	// rates finds those of kind rate, of which there is one per key.
	rates map[string]int
	// noKey counts the matches without a field of the key, by rule.
	noKey map[string]int
}

// pending is a signal with the id of its message.
type pending struct {
	s  *correlate.Signal
	id string
}

func (x *signals) reset() {
	clear(x.list)
	x.list = x.list[:0]
	clear(x.rates)
	clear(x.noKey)
}

// step turns a match of a step into a signal, or adds it to one of the batch.
func (w *work) step(s *ruleset.Step) {
	if !w.correlate {
		return
	}
	key, ok := correlate.KeyOf(s, w.view)
	if !ok {
		w.signals.noKey[s.Of.Rule.ID]++
		return
	}
	c := s.Of
	b, e := w.view.Current()
	id := c.Rule.ID + "/" + s.Name + "/" + b.Node + "/" + b.BootID + "/" + strconv.FormatUint(e.Seq, 10)
	switch {
	case c.Kind == rule.KindRate && s.Index >= 0:
		k := c.Rule.ID + "\x00" + strings.Join(key, "\x00")
		if i, have := w.signals.rates[k]; have && sameWindow(w.signals.list[i].s.Alert.Time, e.Time, c) {
			w.signals.list[i].s.Weight++
			return
		}
		w.signals.rates[k] = len(w.signals.list)
	case s.Every > 0:
		h := hashKey(c.Rule.ID+"/"+s.Name, key)
		at := e.Time / int64(s.Every)
		if !w.every.first(h, at, hashKey(id, nil)) {
			return
		}
		id = "every/" + c.Rule.ID + "/" + s.Name + "/" + strconv.FormatUint(h, 16) + "/" + strconv.FormatInt(at, 10)
	}
	w.signals.list = append(w.signals.list, pending{w.newSignal(s, key), id})
}

// sameWindow tells whether two times are counted together.
func sameWindow(a, b int64, c *ruleset.Correlation) bool {
	return a/int64(c.Within) == b/int64(c.Within)
}

func hashKey(step string, key []string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(step))
	for _, k := range key {
		h.Write([]byte{0})
		h.Write([]byte(k))
	}
	return h.Sum64()
}

// newSignal describes the event that the view reads. Its strings may share memory with the batch.
func (w *work) newSignal(s *ruleset.Step, key []string) *correlate.Signal {
	b, e := w.view.Current()
	a := alertv1.Alert{
		Time: e.Time, RuleID: s.Of.Rule.ID, Node: b.Node, BootID: b.BootID, Seq: e.Seq, Event: e.Kind.String(),
		User: alertv1.User{UID: eventv1.NoUID, LoginUID: eventv1.NoUID},
	}
	for _, f := range s.Capture {
		if x := f.Value(w.view); x != nil {
			a.Fields = append(a.Fields, alertv1.Field{Name: f.Name, Value: bounded(x)})
		}
	}
	if s == s.Of.Final() {
		describeActor(&a, b, e.Proc)
	} else if p := b.Proc(e.Proc); p != nil {
		a.Lineage = []alertv1.Process{{ExecID: b.ExecID(p), PID: p.PID, Name: b.Text(p.Comm), Cmdline: cut(b.Cmdline(e.Proc), maxCmdline), UID: p.UID}}
	}
	return &correlate.Signal{Step: s.Name, Weight: 1, Key: key, Alert: a}
}

// publishSignals encodes the signals of the batch.
func (w *work) publishSignals() {
	for _, p := range w.signals.list {
		data, err := p.s.Marshal()
		if err != nil {
			w.err = fmt.Errorf("encode signal: %w", err)
			return
		}
		w.out = append(w.out, output{p.s.Alert.RuleID, "", bus.Message{Subject: p.s.Subject(), ID: p.id, Data: data}})
	}
}

// every remembers the newest interval in which a key of a step was signalled, and by which event: delivered again it is
// signalled again, as the first delivery may not have been stored. Evaluators do not share it: the stream drops what
// several of them signal. It is safe for concurrent use.
type every struct {
	mu    sync.Mutex
	newly map[uint64]interval
}

// interval is the number of an interval and a hash of the event that was signalled in it.
type interval struct {
	at    int64
	event uint64
}

// maxEvery bounds the keys that are remembered; beyond it all are forgotten, which can only repeat signals.
const maxEvery = 100_000

// first tells whether an event is to be signalled. One in an interval before the newest is: the stream may have it already.
func (x *every) first(key uint64, at int64, event uint64) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	last, ok := x.newly[key]
	if ok && at == last.at {
		return event == last.event
	}
	if !ok && len(x.newly) >= maxEvery {
		clear(x.newly)
	}
	if !ok || at > last.at {
		x.newly[key] = interval{at, event}
	}
	return true
}
