package correlate

import (
	"hash/fnv"
	"strconv"
	"strings"
	"sync"

	"github.com/gyre-sec/gyre/evaluator/describe"
	"github.com/gyre-sec/gyre/evaluator/rule"
	"github.com/gyre-sec/gyre/evaluator/ruleset"
	"github.com/gyre-sec/gyre/schemas/alertv1"
	"github.com/gyre-sec/gyre/schemas/eventv1"
	"github.com/gyre-sec/gyre/schemas/field"
)

// maxSignalCmdline bounds the command line of a process in a signal that no alert can be about.
const maxSignalCmdline = 512

// Matches collects the signals of one batch. It is not safe for concurrent use.
type Matches struct {
	// List are the signals so far, in order.
	List []Match
	// NoKey counts the matches without a field of the key, by rule.
	NoKey map[string]int

	done  []stepInterval
	rates map[string]int // those of kind rate, of which there is one per key and window
	every *Every
}

// stepInterval is an interval of a step that has one key per batch.
type stepInterval struct {
	step *ruleset.Step
	at   int64
}

// again tells whether an event of the batch was in the same interval of the step before.
func (x *Matches) again(s *ruleset.Step, v *field.View) bool {
	_, e := v.Current()
	at := e.Time / int64(s.Every)
	for i := range x.done {
		if x.done[i].step == s {
			same := x.done[i].at == at
			x.done[i].at = at
			return same
		}
	}
	x.done = append(x.done, stepInterval{s, at})
	return false
}

// Match is a signal with the id of its message and the step that it is of.
type Match struct {
	ID     string
	Step   *ruleset.Step
	Signal *Signal
	// Shared says that other evaluators may make a signal of the same ID, of another event.
	Shared bool
}

// NewMatches returns an empty collection; those that share every signal an interval once.
func NewMatches(every *Every) *Matches {
	return &Matches{NoKey: map[string]int{}, rates: map[string]int{}, every: every}
}

// Reset forgets the signals, for the next batch.
func (x *Matches) Reset() {
	clear(x.List)
	x.List, x.done = x.List[:0], x.done[:0]
	clear(x.rates)
	clear(x.NoKey)
}

// Add turns the match of a step by the event that v reads into a signal, or adds it to one of the batch. The signal may
// share memory with the batch.
func (x *Matches) Add(s *ruleset.Step, v *field.View) {
	if s.Every > 0 && len(s.By) == 0 && s.Of.Scope == rule.ScopeNode && x.again(s, v) {
		return // all events of a batch have one key
	}
	key, ok := KeyOf(s, v)
	if !ok {
		x.NoKey[s.Of.Rule.ID]++
		return
	}
	c := s.Of
	b, e := v.Current()
	id := c.Rule.ID + "/" + s.Name + "/" + b.Node + "/" + b.BootID + "/" + strconv.FormatUint(e.Seq, 10)
	shared := false
	switch {
	case c.Kind == rule.KindRate && s.Index >= 0:
		k := c.Rule.ID + "\x00" + strings.Join(key, "\x00")
		if i, have := x.rates[k]; have && sameWindow(x.List[i].Signal.Alert.Time, e.Time, c) {
			x.List[i].Signal.Weight++
			return
		}
		x.rates[k] = len(x.List)
	case s.Every > 0:
		shared = true
		h := hashKey(c.Rule.ID+"/"+s.Name, key)
		at := e.Time / int64(s.Every)
		if !x.every.first(h, at, hashKey(id, nil)) {
			return
		}
		id = "every/" + c.Rule.ID + "/" + s.Name + "/" + strconv.FormatUint(h, 16) + "/" + strconv.FormatInt(at, 10)
	}
	x.List = append(x.List, Match{id, s, newSignal(s, key, v), shared})
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

// newSignal describes the event that v reads. Its strings may share memory with the batch.
func newSignal(s *ruleset.Step, key []string, v *field.View) *Signal {
	b, e := v.Current()
	a := alertv1.Alert{
		Time: e.Time, RuleID: s.Of.Rule.ID, Node: b.Node, BootID: b.BootID, Seq: e.Seq, Event: e.Kind.String(),
		User: alertv1.User{UID: eventv1.NoUID, LoginUID: eventv1.NoUID},
	}
	for _, f := range s.Capture {
		if x := f.Value(v); x != nil {
			a.Fields = append(a.Fields, alertv1.Field{Name: f.Name, Value: describe.Bounded(x)})
		}
	}
	if s == s.Of.Final() {
		describe.Actor(&a, b, e.Proc)
	} else if p := b.Proc(e.Proc); p != nil {
		a.Lineage = []alertv1.Process{{ExecID: b.ExecID(p), PID: p.PID, Name: b.Text(p.Comm), Cmdline: describe.Cut(b.Cmdline(e.Proc), maxSignalCmdline), UID: p.UID}}
	}
	return &Signal{Step: s.Name, Weight: 1, Key: key, Alert: a}
}

// Every remembers the newest interval in which a key of a step was signalled, and by which event: delivered again it is
// signalled again, as the first delivery may not have been stored. Evaluators do not share it: the stream drops what
// several of them signal. It is safe for concurrent use.
// Make one with [NewEvery].
type Every struct {
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

// NewEvery returns one that remembers nothing.
func NewEvery() *Every { return &Every{newly: map[uint64]interval{}} }

// first tells whether an event is to be signalled. One in an interval before the newest is: the stream may have it already.
func (x *Every) first(key uint64, at int64, event uint64) bool {
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
