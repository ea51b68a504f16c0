package evaluator

import (
	"fmt"
	"hash/fnv"
	"strconv"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/evaluator/correlate"
	"github.com/gyre-sec/gyre/evaluator/ruleset"
)

// Signals of a batch that have one subject share messages of at most so many bytes and signals.
const (
	togetherBytes = 64 << 10
	togetherCount = 256
)

// together are signals for one message, and what its id is made of.
type together struct {
	rule, subject string
	ids           []string
	data          [][]byte
	size          int
}

// step notes a match of a step of a correlation rule, if anything is correlated.
func (w *work) step(s *ruleset.Step) {
	if w.matches != nil {
		w.matches.Add(s, w.matcher.view)
	}
}

// publishSignals encodes the signals of the batch. Those of a partition and rule travel together, in their order; one that other
// evaluators may send too, which the stream knows by its id, travels alone.
func (w *work) publishSignals() {
	if w.matches == nil {
		return
	}
	w.together = w.together[:0]
	for _, x := range w.matches.List {
		data, err := x.Signal.Marshal()
		if err != nil {
			w.err = fmt.Errorf("encode signal: %w", err)
			return
		}
		rule, subject := x.Signal.Alert.RuleID, x.Signal.Subject()
		if x.Shared {
			w.out = append(w.out, output{rule: rule, count: 1, msg: bus.Message{Subject: subject, ID: x.ID, Data: data}})
			continue
		}
		t := w.group(rule, subject, len(data))
		t.ids, t.data, t.size = append(t.ids, x.ID), append(t.data, data), t.size+len(data)
	}
	for i := range w.together {
		t := &w.together[i]
		w.out = append(w.out, output{rule: t.rule, count: len(t.data), msg: bus.Message{Subject: t.subject, ID: t.id(), Data: correlate.JoinSignals(t.data)}})
	}
	clear(w.together)
}

// group is the one for a signal of a size: the last of its subject, if that has room.
func (w *work) group(rule, subject string, size int) *together {
	for i := len(w.together) - 1; i >= 0; i-- {
		t := &w.together[i]
		if t.subject != subject {
			continue
		}
		if len(t.data) >= togetherCount || t.size+size > togetherBytes {
			break
		}
		return t
	}
	w.together = append(w.together, together{rule: rule, subject: subject})
	return &w.together[len(w.together)-1]
}

// id is the same for the same signals: the stream drops them if the batch is evaluated again.
func (t *together) id() string {
	if len(t.ids) == 1 {
		return t.ids[0]
	}
	h := fnv.New64a()
	for _, id := range t.ids {
		h.Write([]byte(id))
		h.Write([]byte{0})
	}
	return t.ids[0] + "/" + strconv.Itoa(len(t.ids)) + "/" + strconv.FormatUint(h.Sum64(), 16)
}
