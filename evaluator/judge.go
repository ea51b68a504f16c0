package evaluator

import (
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/gyre-sec/gyre/evaluator/ruleset"
	"github.com/gyre-sec/gyre/schemas/alertv1"
	"github.com/gyre-sec/gyre/schemas/eventv1"
	"github.com/gyre-sec/gyre/schemas/field"
)

// JudgeConfig says what a [Judge] evaluates.
type JudgeConfig struct {
	// Sets are evaluated side by side.
	Sets []*ruleset.Set
	// AllFalco lets each matching rule from Falco files count, not just the first one.
	AllFalco bool
	// Where selects events: those that some rule of it matches. nil selects all.
	Where *ruleset.Set
	// Step, if not nil, is called for each match of a step of a correlation rule of set i by the event that v reads.
	Step func(i int, s *ruleset.Step, v *field.View)
}

// Judge evaluates batches without publishing anything: the same code as an evaluator's, so the
// same alerts. It is not safe for concurrent use.
type Judge struct {
	sets     []*ruleset.Set
	matchers []*matcher
	where    *matcher
	selected bool
	decoder  *eventv1.Decoder
	reader   *eventv1.Reader
	batch    eventv1.Batch
	event    eventv1.Event
	hits     Hits
	text     []byte
}

// Hits are the rules that match one event: Rules[i] are those of set i. All of it is valid during the call that it is given to.
type Hits struct {
	Event *eventv1.Event
	Rules [][]*ruleset.Rule
	j     *Judge
}

// Judged tells what a batch was.
type Judged struct {
	Node, BootID string
	// First and Last are the numbers of its events; without events First alone counts.
	First, Last uint64
	// Base is the time of the first event, in nanoseconds since the Unix epoch; End that of the last one.
	Base, End int64
	// Events is how many there are, Selected how many were evaluated.
	Events, Selected int
	// Lost counts the events that the node reports as lost.
	Lost uint64
}

// NewJudge returns a Judge.
func NewJudge(cfg JudgeConfig) *Judge {
	j := &Judge{sets: cfg.Sets, decoder: eventv1.NewDecoder(), reader: eventv1.NewReader()}
	j.hits = Hits{Event: &j.event, Rules: make([][]*ruleset.Rule, len(cfg.Sets)), j: j}
	for i, s := range cfg.Sets {
		j.matchers = append(j.matchers, newMatcher(s, !cfg.AllFalco, func(r *ruleset.Rule) { j.hits.Rules[i] = append(j.hits.Rules[i], r) }))
		if cfg.Step != nil {
			m := j.matchers[i]
			m.engine.Steps(func(s *ruleset.Step) { cfg.Step(i, s, m.view) })
		}
	}
	if cfg.Where != nil {
		j.where = newMatcher(cfg.Where, false, func(*ruleset.Rule) { j.selected = true })
	}
	return j
}

// Decode makes data the batch that [Judge.Evaluate] evaluates, and returns what is known of it before. An error means that these bytes can never be evaluated.
func (j *Judge) Decode(data []byte) (Judged, error) {
	if err := j.decoder.Decode(data, &j.batch); err != nil {
		return Judged{}, err
	}
	b := &j.batch
	out := Judged{Node: b.Node, BootID: b.BootID, First: b.FirstSeq, Last: b.FirstSeq, Base: b.BaseTime, End: b.BaseTime, Events: b.Count}
	for _, l := range b.Lost {
		out.Lost += l.Count
	}
	return out, nil
}

// Evaluate evaluates the decoded batch: it calls hit for each event that a rule matches, and completes what is known of it. After an error nothing of the batch counts.
func (j *Judge) Evaluate(out *Judged, hit func(*Hits)) error {
	j.reader.Reset(&j.batch)
	for _, m := range j.matchers {
		m.batch(&j.batch)
		defer m.engine.Flush()
	}
	if j.where != nil {
		j.where.batch(&j.batch)
	}
	for j.reader.Next(&j.event) {
		if j.where != nil {
			if j.selected = false; !j.chosen() {
				continue
			}
		}
		out.Selected++
		some := false
		for i, m := range j.matchers {
			j.hits.Rules[i] = j.hits.Rules[i][:0]
			m.event(&j.event)
			some = some || len(j.hits.Rules[i]) > 0
		}
		if some {
			hit(&j.hits)
		}
	}
	if out.Events > 0 {
		out.Last, out.End = j.event.Seq, j.event.Time
	}
	return j.reader.Err()
}

func (j *Judge) chosen() bool {
	j.where.event(&j.event)
	return j.selected
}

// LostAlert is the alert about the losses that the decoded batch reports, for set i.
func (j *Judge) LostAlert(i int) alertv1.Alert { return lostAlert(&j.batch, j.sets[i].Digest()) }

// Alert is what rule r of set i says about the event. Its strings may share memory with the batch, which lives as long.
func (h *Hits) Alert(i int, r *ruleset.Rule) alertv1.Alert {
	return newAlert(r, h.j.sets[i].Digest(), h.j.matchers[i].view, h.j.text)
}

// ID is that of the alert of a rule.
func (h *Hits) ID(r *ruleset.Rule) alertv1.ID {
	return alertv1.EventID(r.ID, h.j.batch.Node, h.j.batch.BootID, h.Event.Seq)
}

// View reads the event.
func (h *Hits) View() *field.View { return h.j.matchers[len(h.j.matchers)-1].view }

// ThrottleKey names what the throttle of r tells apart; "" if it has none.
func (h *Hits) ThrottleKey(r *ruleset.Rule) string {
	if r.Throttle == nil {
		return ""
	}
	return throttleKey(r, h.View())
}

// Windows is the throttle state of a replay: that of an evaluator which gets every batch in the order of the stream.
type Windows struct{ t *throttle }

// NewWindows returns one without open windows.
func NewWindows() *Windows { return &Windows{newThrottle(maxThrottled)} }

// Event names the event of a match.
type Event struct {
	Node, BootID string
	Seq          uint64
	Time         int64
}

// Allow tells whether a match of a throttled rule becomes an alert, and how many were folded since the last one.
func (w *Windows) Allow(r *ruleset.Rule, key string, e Event) (folded uint64, ok bool) {
	return w.t.allowEvent(key, int64(r.Throttle.Window), e.Node, e.BootID, e.Seq, e.Time)
}

// AddFolded notes on an alert how many matches were folded.
func AddFolded(a *alertv1.Alert, folded uint64) {
	if folded > 0 {
		a.Fields = append(a.Fields, alertv1.Field{Name: FieldFolded, Value: int64(folded)})
	}
}

// MarshalJSON writes the open windows.
func (w *Windows) MarshalJSON() ([]byte, error) {
	w.t.mu.Lock()
	defer w.t.mu.Unlock()
	list := make(map[string]*window, len(w.t.windows))
	for k, v := range w.t.windows {
		list[hex.EncodeToString([]byte(k))] = v // keys hold bytes that are no text
	}
	return json.Marshal(list)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (w *Windows) UnmarshalJSON(data []byte) error {
	var list map[string]*window
	if err := json.Unmarshal(data, &list); err != nil {
		return err
	}
	w.t = newThrottle(maxThrottled)
	for k, v := range list {
		key, err := hex.DecodeString(k)
		if err != nil || v == nil {
			return fmt.Errorf("throttle window %q is damaged", k)
		}
		w.t.windows[string(key)] = v
	}
	return nil
}
