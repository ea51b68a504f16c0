package backtest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/gyre-sec/gyre/evaluator/correlate"
	"github.com/gyre-sec/gyre/evaluator/ruleset"
	"github.com/gyre-sec/gyre/schemas/alertv1"
)

// Bounds of what is remembered for correlation rules.
const (
	maxSignals   = 20_000
	maxIntervals = 100_000
)

// correlated is what a replay knows of correlation rules. Signals are held back and sorted by the times of their events, all that
// fit; if there are more, the older half is taken. The windows have the time of the events, of which nothing is later then.
type correlated struct {
	// Start is when the rules came into force: the time of the earliest event that was read before a signal was taken. End is that of the latest.
	Start int64 `json:"start"`
	End   int64 `json:"end"`
	// Held are signals in the order of the stream behind what is left of those that were sorted.
	Held []signal `json:"held"`
	// Intervals are those in which a step that looks at one event of each had one, by side.
	Intervals [2]map[string]bool `json:"intervals"`
	// Kept are the windows as another replay goes on with them; empty if there are none.
	Kept [2][]byte `json:"kept"`

	started bool
	engines [2]*correlate.Engine
	budgets [2]*correlate.Budget
}

// signal is a match of a step, encoded; the rest is what it is sorted by.
type signal struct {
	Side     int    `json:"side"`
	Time     int64  `json:"time"`
	Node     string `json:"node"`
	Boot     string `json:"boot"`
	Seq      uint64 `json:"seq"`
	Step     int    `json:"step"`
	Interval string `json:"interval,omitempty"` // of a step that looks at one event of each
	Data     []byte `json:"data"`
}

// compare orders signals as windows do: of one event those of later steps come first.
func (x signal) compare(y signal) int {
	return cmp.Or(cmp.Compare(x.Time, y.Time), cmp.Compare(x.Node, y.Node), cmp.Compare(x.Boot, y.Boot), cmp.Compare(x.Seq, y.Seq), cmp.Compare(y.Step, x.Step))
}

func newCorrelated() *correlated {
	return &correlated{Start: math.MaxInt64, End: math.MinInt64, Intervals: [2]map[string]bool{{}, {}}}
}

// MarshalJSON writes all of it, with the windows as they are now.
func (c *correlated) MarshalJSON() ([]byte, error) {
	for i, e := range c.engines {
		if e == nil || !c.started {
			continue
		}
		data, err := e.Snapshot()
		if err != nil {
			return nil, fmt.Errorf("keep the windows of correlation rules: %w", err)
		}
		c.Kept[i] = data
	}
	type plain correlated
	return json.Marshal((*plain)(c))
}

// open makes the windows of the sides that have correlation rules, as an earlier replay left them.
func (c *correlated) open(sets [2]*ruleset.Set) error {
	d := correlate.DefaultConfig()
	for _, s := range c.Held {
		if s.Side != 0 && s.Side != 1 {
			return fmt.Errorf("the kept state is damaged: an event of side %d; delete the replay and start a new one", s.Side)
		}
	}
	for i, set := range sets {
		c.engines[i] = nil
		if c.Intervals[i] == nil {
			c.Intervals[i] = map[string]bool{}
		}
		if set == nil || len(set.Correlations()) == 0 {
			continue
		}
		c.budgets[i] = correlate.NewBudget(correlate.Limits{KeysPerRule: d.KeysPerRule, Keys: d.Keys, Bytes: int64(d.Memory), EventsPerKey: d.EventsPerKey})
		c.engines[i] = correlate.NewEngine(c.budgets[i])
		if len(c.Kept[i]) == 0 {
			continue
		}
		c.started = true
		c.engines[i].SetRules(set, c.Start)
		if err := c.engines[i].Restore(c.Kept[i]); err != nil {
			return fmt.Errorf("restore the windows of correlation rules: %w", err)
		}
	}
	return nil
}

// signals encodes what was matched in a batch of a side.
func signals(side int, list []correlate.Match) ([]signal, error) {
	out := make([]signal, 0, len(list))
	for _, m := range list {
		data, err := m.Signal.Marshal()
		if err != nil {
			return nil, err
		}
		a := &m.Signal.Alert
		s := signal{Side: side, Time: a.Time, Node: strings.Clone(a.Node), Boot: strings.Clone(a.BootID), Seq: a.Seq, Step: m.Step.Index, Data: data}
		if m.Step.Every > 0 {
			s.Interval = m.ID
		}
		out = append(out, s)
	}
	return out, nil
}

// correlate takes the signals of a batch.
func (r *replay) correlate(j *job) error {
	c := r.state.Correlated
	if j.judged.Events > 0 {
		c.End = max(c.End, j.judged.End)
		if !c.started {
			c.Start = min(c.Start, j.judged.Base)
		}
	}
	c.Held = append(c.Held, j.signals...)
	if len(c.Held) < maxSignals {
		return nil
	}
	return r.windows(len(c.Held) / 2)
}

// finish takes all signals and moves the windows to the time of the latest event. Those that are open then could still go either way.
func (r *replay) finish() error {
	c := r.state.Correlated
	if err := r.windows(len(c.Held)); err != nil || !c.started {
		return err
	}
	var found [2][]*alertv1.Alert
	for i, e := range c.engines {
		if e != nil {
			e.Advance(c.End, func(a *alertv1.Alert) { found[i] = append(found[i], a) })
		}
	}
	return r.compare(found)
}

// windows gives the first n signals by time to the windows of both sides and compares the alerts.
func (r *replay) windows(n int) error {
	c := r.state.Correlated
	if n == 0 {
		return nil
	}
	if !c.started {
		c.started = true
		for i, e := range c.engines {
			if e != nil {
				e.SetRules([2]*ruleset.Set{r.cfg.Before, r.cfg.After}[i], c.Start)
			}
		}
	}
	slices.SortStableFunc(c.Held, signal.compare)
	var found [2][]*alertv1.Alert
	for _, s := range c.Held[:n] {
		e := c.engines[s.Side]
		if e == nil || s.Interval != "" && c.again(s) {
			continue
		}
		x, err := correlate.UnmarshalSignal(s.Data)
		if err != nil {
			return fmt.Errorf("read what was kept of an event: %w", err)
		}
		e.Add(x, s.Time, func(a *alertv1.Alert) { found[s.Side] = append(found[s.Side], a) })
	}
	last := c.Held[n-1].Time
	for i, e := range c.engines {
		if e != nil {
			e.Advance(last, func(a *alertv1.Alert) { found[i] = append(found[i], a) })
		}
	}
	for _, b := range c.budgets {
		if b != nil {
			for id, n := range b.Evicted {
				r.state.Forgotten += n
				delete(b.Evicted, id)
			}
		}
	}
	c.Held = slices.Clone(c.Held[n:])
	return r.compare(found)
}

// again tells whether the interval of a signal had one before.
func (c *correlated) again(s signal) bool {
	have := c.Intervals[s.Side]
	if have[s.Interval] {
		return true
	}
	if len(have) >= maxIntervals {
		clear(have)
	}
	have[s.Interval] = true
	return false
}
