package backtest

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/evaluator"
	"github.com/gyre-sec/gyre/evaluator/ruleset"
	"github.com/gyre-sec/gyre/schemas/alertv1"
)

// task asks an evaluator to evaluate messages From to To of the stream of enriched batches.
type task struct {
	V        int       `json:"v"`
	After    string    `json:"after"` // keys of bundles in the bucket of replays
	Before   string    `json:"before,omitempty"`
	AllFalco bool      `json:"all_falco,omitempty"`
	Where    string    `json:"where,omitempty"`
	Nodes    []string  `json:"nodes,omitempty"`
	Filters  []string  `json:"filters,omitempty"`
	From     uint64    `json:"from"`
	To       uint64    `json:"to"`
	ToTime   time.Time `json:"to_time,omitzero"`
	Alerts   bool      `json:"alerts,omitempty"` // all are wanted, not only examples
	Rate     float64   `json:"rate,omitempty"`   // events per second
}

const taskVersion = 1

// part is what was found in a range: all up to message Next, which another task begins with; 0 means all of it. Again means
// nothing: the evaluator ends, and another one is to be asked.
type part struct {
	Again   bool      `json:"again,omitempty"`
	Digests [2]string `json:"digests"` // of the sets that were used: before, after
	Jobs    []partJob `json:"jobs"`
	Next    uint64    `json:"next,omitempty"`
}

type partJob struct {
	Seq     uint64           `json:"seq"`
	Time    time.Time        `json:"time"`
	Judged  evaluator.Judged `json:"judged"`
	Bad     string           `json:"bad,omitempty"`
	Other   bool             `json:"other,omitempty"`
	Matches []partMatch      `json:"matches,omitempty"`
	Lost    [][]byte         `json:"lost,omitempty"`
	Signals []signal         `json:"signals,omitempty"`
}

type partMatch struct {
	Seq      uint64 `json:"seq"`
	Time     int64  `json:"time"`
	Rule     string `json:"rule"`
	Before   bool   `json:"before,omitempty"`
	Throttle []byte `json:"throttle,omitempty"`
	Key      []byte `json:"key,omitempty"`
	Alert    []byte `json:"alert,omitempty"`
}

// pack makes a job portable.
func (j *job) pack() (partJob, error) {
	out := partJob{Seq: j.packed.Seq, Time: j.packed.Time, Judged: j.judged, Other: j.other, Signals: j.signals}
	if j.err != nil {
		out.Bad = j.err.Error()
		return out, nil
	}
	for i := range j.matches {
		m := &j.matches[i]
		p := partMatch{Seq: m.seq, Time: m.time, Rule: m.rule.ID, Before: m.before, Throttle: []byte(m.throttle), Key: []byte(m.key)}
		if m.alert != nil {
			var err error
			if p.Alert, err = m.alert.Marshal(); err != nil {
				return out, err
			}
		}
		out.Matches = append(out.Matches, p)
	}
	for i := range j.lost {
		data, err := j.lost[i].Marshal()
		if err != nil {
			return out, err
		}
		out.Lost = append(out.Lost, data)
	}
	return out, nil
}

// rulesOf finds the rules of a set by their ids.
func rulesOf(s *ruleset.Set) map[string]*ruleset.Rule {
	out := map[string]*ruleset.Rule{}
	if s != nil {
		for _, r := range s.Rules() {
			out[r.ID] = r
		}
	}
	return out
}

// unpack makes it a job again, with the rules of this process: before and after.
func (p *partJob) unpack(rules [2]map[string]*ruleset.Rule) (*job, error) {
	j := &job{packed: bus.Packed{Seq: p.Seq, Time: p.Time}, judged: p.Judged, other: p.Other, signals: p.Signals}
	if p.Bad != "" {
		j.err = fmt.Errorf("%s", p.Bad)
		return j, nil
	}
	for i := range p.Matches {
		m := &p.Matches[i]
		r := rules[side(m.Before)][m.Rule]
		if r == nil {
			return nil, fmt.Errorf("an evaluator names the rule %q, which is not in the set", m.Rule)
		}
		x := match{seq: m.Seq, time: m.Time, rule: r, before: m.Before, throttle: string(m.Throttle), key: string(m.Key)}
		if m.Alert != nil {
			a, err := alertv1.Unmarshal(m.Alert)
			if err != nil {
				return nil, fmt.Errorf("read an evaluator's alert: %w", err)
			}
			x.alert = &a
		}
		j.matches = append(j.matches, x)
	}
	for _, data := range p.Lost {
		a, err := alertv1.Unmarshal(data)
		if err != nil {
			return nil, fmt.Errorf("read an evaluator's alert: %w", err)
		}
		j.lost = append(j.lost, a)
	}
	return j, nil
}

// maxPart bounds a decompressed message between a replay and evaluators, in bytes.
const maxPart = 256 << 20

func squeeze(v any) ([]byte, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	z, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		return nil, err
	}
	return z.EncodeAll(data, nil), z.Close()
}

func unsqueeze(data []byte, v any) error {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxPart))
	if err != nil {
		return err
	}
	defer z.Close()
	plain, err := z.DecodeAll(data, nil)
	if err != nil {
		return err
	}
	return json.Unmarshal(plain, v)
}
