package backtest

import (
	"fmt"
	"time"

	"github.com/gyre-sec/gyre/evaluator"
	"github.com/gyre-sec/gyre/schemas/alertv1"
)

// Bounds of what a state remembers.
const (
	maxExamples = 3
	maxKeys     = 4096
	maxBuckets  = 240
)

// State is what a replay has found so far; another one can go on from it. Its JSON form has all of it.
type State struct {
	// Seq is the number of the last message that is taken into account, FirstSeq that of the first.
	FirstSeq uint64 `json:"first_seq"`
	Seq      uint64 `json:"seq"`
	// From and To are when the first and the last message were stored.
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	// Batches counts all that were read, Duplicates those that were stored twice, Bad those that do not decode; Missing the numbers without a message.
	Batches    uint64 `json:"batches"`
	Duplicates uint64 `json:"duplicates"`
	Bad        uint64 `json:"bad"`
	Missing    uint64 `json:"missing"`
	// Events were read, Selected evaluated, Lost reported as lost by nodes.
	Events   uint64 `json:"events"`
	Selected uint64 `json:"selected"`
	Lost     uint64 `json:"lost"`
	// Forgotten counts the keys of correlation rules that there was no room for.
	Forgotten uint64 `json:"forgotten,omitempty"`
	// Took is the time spent.
	Took time.Duration `json:"took_ns"`
	// Partial: the replay ended before the range did, for the reason Why.
	Partial bool   `json:"partial"`
	Why     string `json:"why,omitempty"`

	Rules   map[string]*ruleState `json:"rules"`
	Nodes   map[string]*nodeState `json:"nodes"`
	Buckets map[int64]*[2]uint64  `json:"buckets"` // alerts before and after, by time over Width
	Width   int64                 `json:"width_ns"`
	Seen    map[string]*ranges    `json:"seen"`    // numbers of events taken, by node and boot
	Losses  map[string]bool       `json:"losses"`  // batches that only report losses
	Windows [2]*evaluator.Windows `json:"windows"` // throttles of Before and After

	Correlated *correlated `json:"correlated"`
}

type ruleState struct {
	Name     string            `json:"name"`
	Priority string            `json:"priority"`
	Count    [3]uint64         `json:"count"` // by verdict
	Nodes    map[string]uint64 `json:"nodes"` // alerts after, by node
	Keys     map[string]uint64 `json:"keys"`  // alerts after, in hexadecimal
	Other    uint64            `json:"other"` // of keys beyond the bound
	Examples [3][][]byte       `json:"examples"`
}

type nodeState struct {
	Events uint64    `json:"events"`
	Alerts [2]uint64 `json:"alerts"` // before, after
}

// NewState is that of a replay that has found nothing.
func NewState() *State {
	return &State{
		Rules: map[string]*ruleState{}, Nodes: map[string]*nodeState{}, Buckets: map[int64]*[2]uint64{}, Width: int64(time.Second),
		Seen: map[string]*ranges{}, Losses: map[string]bool{}, Windows: [2]*evaluator.Windows{evaluator.NewWindows(), evaluator.NewWindows()},
		Correlated: newCorrelated(),
	}
}

// take adds what was found in a batch, in the order of the stream.
func (r *replay) take(j *job) error {
	s, p := r.state, &j.packed
	if s.Batches == 0 {
		s.FirstSeq, s.From = p.Seq, p.Time
	} else if p.Seq > s.Seq+1 && !r.cfg.Sparse {
		s.Missing += p.Seq - s.Seq - 1
	}
	s.Seq, s.To = p.Seq, p.Time
	s.Batches++
	defer func() {
		g := r.cfg.Progress
		g.Events.Store(s.Events)
		g.Batches.Store(s.Batches)
		g.Seq.Store(s.Seq)
		g.Before.Store(r.alerts[0])
		g.After.Store(r.alerts[1])
	}()
	switch {
	case j.err != nil:
		s.Bad++
		return nil
	case j.other:
		return nil
	case s.again(&j.judged):
		s.Duplicates++
		return nil
	}
	s.Events += uint64(j.judged.Events)
	s.Selected += uint64(j.judged.Selected)
	s.Lost += j.judged.Lost
	n := s.Nodes[j.judged.Node]
	if n == nil {
		n = &nodeState{}
		s.Nodes[j.judged.Node] = n
	}
	n.Events += uint64(j.judged.Events)
	if err := r.losses(j, n); err != nil {
		return err
	}
	for at := 0; at < len(j.matches); {
		end := at + 1
		for end < len(j.matches) && j.matches[end].seq == j.matches[at].seq {
			end++
		}
		if err := r.event(j, n, j.matches[at:end]); err != nil {
			return err
		}
		at = end
	}
	if err := r.correlate(j); err != nil {
		return err
	}
	if limit := r.cfg.maxAlerts(); r.alerts[0] > limit || r.alerts[1] > limit {
		return fmt.Errorf("%w: over %d", ErrTooMany, limit)
	}
	return nil
}

func (c Config) maxAlerts() uint64 {
	if c.MaxAlerts > 0 {
		return c.MaxAlerts
	}
	return 10_000_000
}

// again tells whether a batch was taken before, and notes that it is taken now.
func (s *State) again(j *evaluator.Judged) bool {
	name := j.Node + "\x00" + j.BootID
	if j.Events == 0 {
		name = fmt.Sprintf("%s\x00%d", name, j.First)
		was := s.Losses[name]
		s.Losses[name] = true
		return was
	}
	seen := s.Seen[name]
	if seen == nil {
		seen = &ranges{}
		s.Seen[name] = seen
	}
	return !seen.add(j.First, j.Last)
}

// losses adds the alerts about events that the node lost.
func (r *replay) losses(j *job, n *nodeState) error {
	for i := range j.lost {
		a := &j.lost[i]
		before := r.cfg.Before != nil && i == 0
		r.count(j.packed.Time.UnixNano(), n, before)
		if before {
			continue
		}
		v := Same
		if r.cfg.Before == nil {
			v = New
		}
		rs := r.state.rule(a.RuleID, a.Rule, a.Priority)
		rs.add(v, a.Node, "")
		if err := r.show(rs, a.RuleID, v, a, before); err != nil {
			return err
		}
	}
	return nil
}

// event takes the matches of one event: what throttles let through on each side is compared.
func (r *replay) event(j *job, n *nodeState, list []match) error {
	e := evaluator.Event{Node: j.judged.Node, BootID: j.judged.BootID, Seq: list[0].seq, Time: list[0].time}
	passed := list[:0]
	for _, m := range list {
		if m.rule.Throttle != nil {
			folded, ok := r.state.Windows[side(m.before)].Allow(m.rule, m.throttle, e)
			if !ok {
				continue
			}
			if m.alert != nil {
				evaluator.AddFolded(m.alert, folded)
			}
		}
		r.count(j.packed.Time.UnixNano(), n, m.before)
		passed = append(passed, m)
	}
	for i := range passed {
		m := &passed[i]
		v := New
		if m.before {
			v = Vanished
		}
		for k := range passed {
			if passed[k].before != m.before && passed[k].rule.ID == m.rule.ID {
				v = Same
			}
		}
		if v == Same && m.before {
			continue // the other side's is counted
		}
		rs := r.state.rule(m.rule.ID, m.rule.Name, m.rule.Priority)
		rs.add(v, e.Node, m.key)
		if err := r.show(rs, m.rule.ID, v, m.alert, m.before); err != nil {
			return err
		}
	}
	return nil
}

// show keeps an example and hands the alert out.
func (r *replay) show(rs *ruleState, id string, v Verdict, a *alertv1.Alert, before bool) error {
	if v != Same && len(rs.Examples[v]) < maxExamples && a != nil {
		data, err := a.Marshal()
		if err != nil {
			return fmt.Errorf("keep alert %s: %w", a.ID, err)
		}
		rs.Examples[v] = append(rs.Examples[v], data)
	}
	if len(rs.Examples[v]) >= maxExamples {
		r.enough.have(id, before)
	}
	if r.cfg.Each != nil && a != nil {
		return r.cfg.Each(v, a)
	}
	return nil
}

func (s *State) rule(id, name string, p alertv1.Priority) *ruleState {
	rs := s.Rules[id]
	if rs == nil {
		rs = &ruleState{Nodes: map[string]uint64{}, Keys: map[string]uint64{}}
		s.Rules[id] = rs
	}
	rs.Name, rs.Priority = name, p.String()
	return rs
}

func (rs *ruleState) add(v Verdict, node, key string) {
	rs.Count[v]++
	if v == Vanished {
		return
	}
	rs.Nodes[node]++
	if key == "" {
		return
	}
	if _, known := rs.Keys[key]; known || len(rs.Keys) < maxKeys {
		rs.Keys[key]++
	} else {
		rs.Other++
	}
}

// count counts an alert of a side, also over time, in nanoseconds since the Unix epoch.
func (r *replay) count(stored int64, n *nodeState, before bool) {
	i := side(before)
	r.alerts[i]++
	n.Alerts[i]++
	s := r.state
	at := stored / s.Width
	b := s.Buckets[at]
	if b == nil {
		b = &[2]uint64{}
		s.Buckets[at] = b
		for len(s.Buckets) > maxBuckets {
			s.widen()
		}
		b = s.Buckets[stored/s.Width]
	}
	b[i]++
}

// widen doubles the width of the buckets.
func (s *State) widen() {
	old := s.Buckets
	s.Buckets = make(map[int64]*[2]uint64, len(old))
	s.Width *= 2
	for at, b := range old {
		w := s.Buckets[at/2]
		if w == nil {
			w = &[2]uint64{}
			s.Buckets[at/2] = w
		}
		w[0] += b[0]
		w[1] += b[1]
	}
}
