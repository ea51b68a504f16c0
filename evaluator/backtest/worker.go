package backtest

import (
	"context"
	"path"
	"sync/atomic"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/evaluator"
	"github.com/gyre-sec/gyre/evaluator/correlate"
	"github.com/gyre-sec/gyre/evaluator/ruleset"
	"github.com/gyre-sec/gyre/schemas/alertv1"
	"github.com/gyre-sec/gyre/schemas/field"
)

// job is a batch on its way, with what was found in it.
type job struct {
	packed  bus.Packed
	done    chan struct{}
	judged  evaluator.Judged
	err     error
	skipped bool // ctx ended before it was evaluated
	other   bool // of a node that is not selected
	matches []match
	lost    []alertv1.Alert // by set, if the node reports losses
	signals []signal
}

// match is a rule that matches an event. Matches of one event stand together, those of the set Before first.
type match struct {
	seq      uint64
	time     int64
	rule     *ruleset.Rule
	before   bool
	throttle string         // key of its window
	key      string         // see noiseKey
	alert    *alertv1.Alert // nil if nobody wants it
}

// worker evaluates jobs. Of two sets the first is Before.
type worker struct {
	r     *replay
	judge *evaluator.Judge
	unp   bus.Unpacker
	buf   []byte
	steps [2]*correlate.Matches // by side, nil without correlation rules
}

func newWorker(r *replay) *worker {
	sets := []*ruleset.Set{r.cfg.After}
	if r.cfg.Before != nil {
		sets = []*ruleset.Set{r.cfg.Before, r.cfg.After}
	}
	w := &worker{r: r}
	w.judge = evaluator.NewJudge(evaluator.JudgeConfig{Sets: sets, AllFalco: r.cfg.AllFalco, Where: r.cfg.Where, Step: func(i int, s *ruleset.Step, v *field.View) {
		w.steps[i+2-len(sets)].Add(s, v)
	}})
	return w
}

func (w *worker) do(ctx context.Context, j *job) {
	clear(j.matches)
	j.matches, j.lost, j.signals, j.err, j.skipped, j.other, j.judged = j.matches[:0], nil, nil, nil, ctx.Err() != nil, false, evaluator.Judged{}
	if j.skipped {
		return
	}
	data, err := w.unp.Unpack(j.packed)
	if err == nil {
		j.judged, err = w.judge.Decode(data)
	}
	if err != nil {
		j.err = err
		return
	}
	if !w.selected(j.judged.Node) {
		j.other = true
		return
	}
	if w.r.limit != nil && !w.wait(ctx, j.judged.Events) {
		j.skipped = true
		return
	}
	before := w.r.cfg.Before != nil
	w.begin()
	if j.err = w.judge.Evaluate(&j.judged, func(h *evaluator.Hits) {
		for i, rules := range h.Rules {
			for _, r := range rules {
				j.matches = append(j.matches, w.match(h, i, r, before && i == 0))
			}
		}
	}); j.err != nil {
		return
	}
	if j.judged.Lost > 0 {
		for i := range len(w.sets()) {
			j.lost = append(j.lost, w.judge.LostAlert(i))
		}
	}
	for i, m := range w.steps {
		if m == nil {
			continue
		}
		var list []signal
		if list, j.err = signals(i, m.List); j.err != nil {
			return
		}
		j.signals = append(j.signals, list...)
	}
}

// begin makes room for the matches of steps of one batch: what was in others must not decide which are noted.
func (w *worker) begin() {
	for i, e := range w.r.state.Correlated.engines {
		if e != nil {
			w.steps[i] = correlate.NewMatches(correlate.NewEvery())
		}
	}
}

func (w *worker) sets() []*ruleset.Set {
	if w.r.cfg.Before != nil {
		return []*ruleset.Set{w.r.cfg.Before, w.r.cfg.After}
	}
	return []*ruleset.Set{w.r.cfg.After}
}

func (w *worker) match(h *evaluator.Hits, set int, r *ruleset.Rule, before bool) match {
	m := match{seq: h.Event.Seq, time: h.Event.Time, rule: r, before: before, throttle: h.ThrottleKey(r)}
	if !before {
		w.buf = appendNoiseKey(w.buf[:0], h.View())
		m.key = string(w.buf)
	}
	if w.r.cfg.Each != nil || w.r.enough.wants(r.ID, before) && !same(h, set, r) {
		a := h.Alert(set, r)
		m.alert = &a
	}
	return m
}

// same tells whether the other set says the same for certain: throttles, which decide later, are not asked.
func same(h *evaluator.Hits, set int, r *ruleset.Rule) bool {
	if len(h.Rules) < 2 || r.Throttle != nil {
		return false
	}
	for _, o := range h.Rules[1-set] {
		if o.ID == r.ID {
			return o.Throttle == nil
		}
	}
	return false
}

func (w *worker) selected(node string) bool {
	for _, p := range w.r.cfg.Nodes {
		if ok, err := path.Match(p, node); ok && err == nil {
			return true
		}
	}
	return len(w.r.cfg.Nodes) == 0
}

// wait returns when n more events may be evaluated; false means that ctx has ended.
func (w *worker) wait(ctx context.Context, n int) bool {
	for n > 0 {
		part := min(n, w.r.limit.Burst())
		if w.r.limit.WaitN(ctx, part) != nil {
			return false
		}
		n -= part
	}
	return true
}

// enough tells workers for which rules examples are still wanted. Only the goroutine that takes examples, in order, ends the
// wanting: so it always has those that come first.
type enough struct{ rules map[string]*[2]atomic.Bool }

func newEnough(cfg Config) *enough {
	e := &enough{map[string]*[2]atomic.Bool{}}
	for _, s := range []*ruleset.Set{cfg.Before, cfg.After} {
		if s != nil {
			for _, r := range s.Rules() {
				e.rules[r.ID] = &[2]atomic.Bool{}
			}
		}
	}
	return e
}

func (e *enough) wants(rule string, before bool) bool { return !e.rules[rule][side(before)].Load() }

func (e *enough) have(rule string, before bool) {
	if f := e.rules[rule]; f != nil {
		f[side(before)].Store(true)
	}
}

func side(before bool) int {
	if before {
		return 0
	}
	return 1
}
