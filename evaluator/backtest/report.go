package backtest

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"

	"github.com/gyre-sec/gyre/evaluator/ruleset"
	"github.com/gyre-sec/gyre/schemas/alertv1"
)

// Report is what a replay found, for people and programs.
type Report struct {
	ID string `json:"id,omitempty"`
	// Partial: it covers only a part of the range, for the reason Why.
	Partial bool   `json:"partial"`
	Why     string `json:"why,omitempty"`
	// Before is nil if nothing was compared.
	Before *SetInfo `json:"before,omitempty"`
	After  SetInfo  `json:"after"`
	// FirstSeq and LastSeq are the stream's numbers of the batches, From and To when they were stored.
	FirstSeq uint64    `json:"first_seq"`
	LastSeq  uint64    `json:"last_seq"`
	From     time.Time `json:"from"`
	To       time.Time `json:"to"`
	// Batches were read, Duplicates of them were stored twice and Bad do not decode; Missing were removed from the stream or the recording.
	Batches    uint64 `json:"batches"`
	Duplicates uint64 `json:"duplicates"`
	Bad        uint64 `json:"bad"`
	Missing    uint64 `json:"missing"`
	// Events were read, Selected of them evaluated; Lost is how many nodes report as lost.
	Events   uint64 `json:"events"`
	Selected uint64 `json:"selected"`
	Lost     uint64 `json:"lost"`
	// Forgotten counts the keys of correlation rules that there was no room for: their alerts may be missing.
	Forgotten uint64 `json:"forgotten,omitempty"`
	// Seconds is how long the replay took, EventsPerSecond its pace.
	Seconds         float64 `json:"seconds"`
	EventsPerSecond float64 `json:"events_per_second"`

	// NodeCount is how many nodes were seen; Nodes are those with the most alerts.
	NodeCount int `json:"node_count"`
	// Days is the time that numbers per day are made of.
	Days float64 `json:"days"`

	Alerts   Counts       `json:"alerts"`
	Rules    []RuleReport `json:"rules"`
	Nodes    []NodeReport `json:"nodes"`
	Timeline []Bucket     `json:"timeline"`
}

// SetInfo names a rule set.
type SetInfo struct {
	Name   string `json:"name"`
	Digest string `json:"digest"`
	Rules  int    `json:"rules"`
}

// Counts are numbers of alerts. New are those that only the tried rules raise, Vanished those that only the others do.
type Counts struct {
	Before   uint64 `json:"before"`
	After    uint64 `json:"after"`
	New      uint64 `json:"new"`
	Vanished uint64 `json:"vanished"`
	// PerDay is how many alerts After would be in a day like this range, PerNodeDay for each node that was seen.
	PerDay     float64 `json:"per_day"`
	PerNodeDay float64 `json:"per_node_day"`
}

// RuleReport is what became of one rule. Rules that raise nothing are left out.
type RuleReport struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Priority string `json:"priority"`
	Counts
	// Nodes counts the nodes that it alerts on.
	Nodes            int             `json:"nodes"`
	Noisiest         []Key           `json:"noisiest,omitempty"`
	NewExamples      []alertv1.Alert `json:"new_examples,omitempty"`
	VanishedExamples []alertv1.Alert `json:"vanished_examples,omitempty"`
}

// Key is who raises alerts of a rule, how many, and the rule file that silences them.
type Key struct {
	Values    []Value `json:"values"`
	Count     uint64  `json:"count"`
	Exception string  `json:"exception,omitempty"`
}

// NodeReport counts alerts of a node.
type NodeReport struct {
	Node   string `json:"node"`
	Events uint64 `json:"events"`
	Before uint64 `json:"before"`
	After  uint64 `json:"after"`
}

// Bucket counts alerts of a time.
type Bucket struct {
	Start   time.Time `json:"start"`
	Seconds float64   `json:"seconds"`
	Before  uint64    `json:"before"`
	After   uint64    `json:"after"`
}

// Info names a set.
func Info(name string, s *ruleset.Set) SetInfo { return SetInfo{name, s.Digest(), len(s.Rules())} }

// Bounds of a report.
const (
	noisiest = 3
	maxNodes = 50
)

// Report puts together what s holds. before is nil if nothing was compared. Numbers per day are those of span, or of the time between the
// first and the last batch if it is 0.
func (s *State) Report(before *SetInfo, after SetInfo, span time.Duration) (*Report, error) {
	r := &Report{
		Partial: s.Partial, Why: s.Why, Before: before, After: after, FirstSeq: s.FirstSeq, LastSeq: s.Seq, From: s.From.UTC(), To: s.To.UTC(),
		Batches: s.Batches, Duplicates: s.Duplicates, Bad: s.Bad, Missing: s.Missing, Events: s.Events, Selected: s.Selected, Lost: s.Lost, Forgotten: s.Forgotten,
		Seconds: s.Took.Seconds(), Rules: []RuleReport{}, Nodes: []NodeReport{}, Timeline: s.timeline(),
	}
	if s.Took > 0 {
		r.EventsPerSecond = float64(s.Events) / s.Took.Seconds()
	}
	if span <= 0 {
		span = s.To.Sub(s.From)
	}
	per := rates{days: max(span, time.Minute).Hours() / 24, nodes: max(len(s.Nodes), 1)}
	r.NodeCount, r.Days = len(s.Nodes), per.days
	for id, rs := range s.Rules {
		x, err := rs.report(id, per)
		if err != nil {
			return nil, err
		}
		r.Rules = append(r.Rules, x)
		r.Alerts.Before += x.Before
		r.Alerts.After += x.After
		r.Alerts.New += x.New
		r.Alerts.Vanished += x.Vanished
	}
	per.fill(&r.Alerts)
	slices.SortFunc(r.Rules, func(a, b RuleReport) int {
		return cmp.Or(cmp.Compare(b.New+b.Vanished, a.New+a.Vanished), cmp.Compare(b.After, a.After), cmp.Compare(a.ID, b.ID))
	})
	for name, n := range s.Nodes {
		r.Nodes = append(r.Nodes, NodeReport{name, n.Events, n.Alerts[0], n.Alerts[1]})
	}
	slices.SortFunc(r.Nodes, func(a, b NodeReport) int {
		return cmp.Or(cmp.Compare(b.After, a.After), cmp.Compare(b.Before, a.Before), cmp.Compare(a.Node, b.Node))
	})
	r.Nodes = r.Nodes[:min(len(r.Nodes), maxNodes)]
	return r, nil
}

// rates turns counts into expectations.
type rates struct {
	days  float64
	nodes int
}

func (p rates) fill(c *Counts) {
	c.PerDay = float64(c.After) / p.days
	c.PerNodeDay = c.PerDay / float64(p.nodes)
}

func (rs *ruleState) report(id string, per rates) (RuleReport, error) {
	n := rs.Count
	x := RuleReport{
		ID: id, Name: rs.Name, Priority: rs.Priority, Nodes: len(rs.Nodes),
		Counts: Counts{Before: n[Same] + n[Vanished], After: n[Same] + n[New], New: n[New], Vanished: n[Vanished]},
	}
	per.fill(&x.Counts)
	for key, count := range rs.Keys {
		x.Noisiest = append(x.Noisiest, Key{Values: parseNoiseKey(key), Count: count})
	}
	slices.SortFunc(x.Noisiest, func(a, b Key) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), slices.CompareFunc(a.Values, b.Values, func(a, b Value) int {
			return cmp.Or(cmp.Compare(a.Field, b.Field), cmp.Compare(a.Value, b.Value))
		}))
	})
	x.Noisiest = x.Noisiest[:min(len(x.Noisiest), noisiest)]
	for i := range x.Noisiest {
		x.Noisiest[i].Exception = Exception(id, x.Noisiest[i].Values)
	}
	var err error
	if x.NewExamples, err = alerts(rs.Examples[New]); err != nil {
		return x, err
	}
	x.VanishedExamples, err = alerts(rs.Examples[Vanished])
	return x, err
}

func alerts(list [][]byte) ([]alertv1.Alert, error) {
	var out []alertv1.Alert
	for _, data := range list {
		a, err := alertv1.Unmarshal(data)
		if err != nil {
			return nil, err
		}
		out = append(out, a)
	}
	return out, nil
}

// timeline is the buckets from the first to the last batch, empty ones too.
func (s *State) timeline() []Bucket {
	out := []Bucket{}
	if s.Batches == 0 || len(s.Buckets) == 0 {
		return out
	}
	first, last := s.From.UnixNano()/s.Width, s.To.UnixNano()/s.Width
	width := s.Width
	for (last - first) >= maxBuckets { // alerts are few, but far apart
		first, last, width = first/2, last/2, width*2
	}
	for at := first; at <= last; at++ {
		b := Bucket{Start: time.Unix(0, at*width).UTC(), Seconds: float64(width) / 1e9}
		out = append(out, b)
	}
	for at, n := range s.Buckets {
		if i := at*s.Width/width - first; i >= 0 && i < int64(len(out)) {
			out[i].Before += n[0]
			out[i].After += n[1]
		}
	}
	return out
}

// JSON is the report as an object.
func (r *Report) JSON() ([]byte, error) { return json.MarshalIndent(r, "", "  ") }
