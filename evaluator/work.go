package evaluator

import (
	"fmt"
	"sync"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/evaluator/correlate"
	"github.com/gyre-sec/gyre/evaluator/ruleset"
	"github.com/gyre-sec/gyre/schemas/alertv1"
	"github.com/gyre-sec/gyre/schemas/eventv1"
	"github.com/gyre-sec/gyre/schemas/subject"
)

// generation is a rule set in force with the workspaces made for it.
type generation struct {
	set  *ruleset.Set
	pool sync.Pool
}

// newGeneration makes the generation of a set that alerts call version; first says that of the matching rules from Falco
// files only the first counts. Without x no signals are made.
func newGeneration(set *ruleset.Set, version string, t *throttle, first bool, x *correlate.Every) *generation {
	g := &generation{set: set}
	g.pool.New = func() any {
		w := &work{digest: version, decoder: eventv1.NewDecoder(), reader: eventv1.NewReader(), throttle: t, folded: map[string]int{}}
		w.matcher = newMatcher(set, first, w.emit)
		if x != nil {
			w.matches = correlate.NewMatches(x)
		}
		w.matcher.engine.Steps(w.step)
		return w
	}
	return g
}

// work is what one goroutine needs to evaluate a batch; it is reused.
type work struct {
	digest   string
	matcher  *matcher
	decoder  *eventv1.Decoder
	reader   *eventv1.Reader
	batch    eventv1.Batch
	event    eventv1.Event
	throttle *throttle
	text     []byte
	out      []output
	folded   map[string]int // matches that a throttle made no alert of, by rule
	err      error
	matches  *correlate.Matches // nil if nothing is correlated
	together []together         // signals that share a message
	pick     *picker            // nil if no events are stored
}

// output is an alert or, without a priority, signals of a rule or, without a rule, events to store, encoded: nothing in it shares memory with the batch.
type output struct {
	rule, priority string
	count          int // of the signals
	msg            bus.Message
}

// run evaluates a batch; the alerts are in out. An error means that these bytes can never be evaluated.
func (w *work) run(data []byte) error {
	clear(w.out)
	w.out, w.err = w.out[:0], nil
	if err := w.decoder.Decode(data, &w.batch); err != nil {
		return err
	}
	w.reader.Reset(&w.batch)
	w.matcher.batch(&w.batch)
	defer w.matcher.engine.Flush()
	if len(w.batch.Lost) > 0 {
		w.add(lostAlert(&w.batch, w.digest))
	}
	clear(w.folded)
	if w.matches != nil {
		w.matches.Reset()
	}
	if w.pick != nil {
		w.pick.reset()
	}
	for w.reader.Next(&w.event) {
		w.matcher.event(&w.event)
		if w.pick != nil {
			w.pick.event(w.matcher.view)
		}
	}
	if err := w.reader.Err(); err != nil {
		return err
	}
	w.publishSignals()
	return w.err
}

// emit makes an alert of a match, unless the rule's throttle folds it.
func (w *work) emit(r *ruleset.Rule) {
	var folded uint64
	if r.Throttle != nil {
		var ok bool
		if folded, ok = w.throttle.allow(r, w.matcher.view); !ok {
			w.folded[r.ID]++
			return
		}
	}
	a := newAlert(r, w.digest, w.matcher.view, w.text)
	if folded > 0 {
		a.Fields = append(a.Fields, alertv1.Field{Name: FieldFolded, Value: int64(folded)})
	}
	w.add(a)
}

func (w *work) add(a alertv1.Alert) {
	data, err := a.Marshal()
	if err != nil {
		w.err = fmt.Errorf("encode alert: %w", err)
		return
	}
	w.out = append(w.out, output{rule: a.RuleID, priority: a.Priority.String(), msg: bus.Message{
		Subject: subject.Alert(a.Priority.String(), a.RuleID, a.Node), ID: a.ID.String(), Data: data,
	}})
}
