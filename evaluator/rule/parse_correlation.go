package rule

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

var (
	correlationKeys = []string{"kind", "scope", "by", "within", "steps", "until", "count", "distinct", "baseline", "factor", "learn", "every"}
	stepKeys        = []string{"name", "condition", "by", "count", "every"}
	ruleKinds       = []string{KindMatch, KindSequence, KindThreshold, KindDistinct, KindAbsence, KindFirstSeen, KindRate}
	ruleScopes      = []string{ScopeNode, ScopeContainer, ScopeLineage, ScopeFleet}
	// kindKeys are the keys that a kind has beside kind, scope, by and until: those that it must have, then those that it may.
	kindKeys = map[string][2][]string{
		KindSequence:  {{"within", "steps"}, {}},
		KindThreshold: {{"within", "condition", "count"}, {"every"}},
		KindDistinct:  {{"within", "condition", "count", "distinct"}, {"every"}},
		KindAbsence:   {{"within", "steps"}, {}},
		KindFirstSeen: {{"within", "condition"}, {"learn", "every"}},
		KindRate:      {{"within", "condition", "count"}, {"baseline", "factor"}},
	}
)

// correlationKey reads a key that only correlation rules have.
func (p *reader) correlationKey(c *Correlation, e entry) {
	switch e.key {
	case "kind":
		c.Kind = p.oneOf(e, ruleKinds)
	case "scope":
		c.Scope = p.oneOf(e, ruleScopes)
	case "by":
		c.By = p.by(e)
	case "within":
		c.Within = p.duration(e, MinWindow, MaxMemory)
	case "steps":
		for _, item := range p.items(e.value, e.key) {
			p.step(c, item)
		}
		if len(c.Steps) > MaxSteps {
			p.errorAt(e.pos, "split the rule", "%d steps, at most %d are allowed", len(c.Steps), MaxSteps)
		}
	case "until":
		c.Until = p.text(e.value, e.key)
	case "count":
		c.Count = p.number(e, 1, MaxRate)
	case "distinct":
		c.Distinct = p.text(e.value, e.key)
	case "baseline":
		c.Baseline = p.duration(e, MinWindow, MaxMemory)
	case "factor":
		t := p.text(e.value, e.key)
		v, err := strconv.ParseFloat(t.Value, 64)
		if err != nil || !(v > 1 && v <= 1e6) {
			p.errorAt(placeOf(e.value), "write a number above 1, such as 10", "%q cannot be a factor", t.Value)
		}
		c.Factor = v
	case "learn":
		c.Learn = p.duration(e, MinWindow, MaxMemory)
	}
}

func (p *reader) oneOf(e entry, known []string) string {
	t := p.text(e.value, e.key)
	if t.Value != "" && !slices.Contains(known, t.Value) {
		p.errorAt(t.Pos, "the "+e.key+"s are "+strings.Join(known, ", "), "unknown %s %q", e.key, t.Value)
	}
	return t.Value
}

func (p *reader) by(e entry) []Text {
	list := p.strings(e.value, e.key)
	if len(list) > MaxBy {
		p.errorAt(e.pos, "", "%d fields in by, at most %d are allowed", len(list), MaxBy)
	}
	return append([]Text{}, list...)
}

func (p *reader) duration(e entry, low, high time.Duration) time.Duration {
	t := p.text(e.value, e.key)
	d, err := time.ParseDuration(t.Value)
	if err != nil || d < low || d > high {
		p.errorAt(placeOf(e.value), "write 10m, at least "+low.String()+" and at most "+high.String(), "%q cannot be the time of %s", t.Value, e.key)
		return low
	}
	return d
}

func (p *reader) number(e entry, low, high int) int {
	t := p.text(e.value, e.key)
	n, err := strconv.Atoi(t.Value)
	if err != nil || n < low || n > high {
		p.errorAt(placeOf(e.value), "", "%s is %q, want a number from %d to %d", e.key, t.Value, low, high)
		return low
	}
	return n
}

func (p *reader) step(c *Correlation, n ast.Node) {
	s := Step{Count: 1, Pos: placeOf(n)}
	entries := p.entries(n, "a step")
	if len(entries) == 0 {
		return
	}
	s.Pos = entries[0].pos
	for _, e := range entries {
		switch e.key {
		case "name":
			t := p.text(e.value, e.key)
			s.Name = t.Value
			p.name(entry{key: t.Value, pos: placeOf(e.value)}, "a step")
		case "condition":
			s.Condition = p.text(e.value, "the condition of a step")
		case "by":
			s.By = p.by(e)
		case "count":
			s.Count = p.number(e, 1, MaxStepCount)
		case "every":
			s.Every = p.duration(e, time.Second, time.Hour)
		default:
			p.errorAt(e.pos, nearest(e.key, stepKeys), "unknown key %q in a step", e.key)
		}
	}
	if s.Name == "" || s.Condition.Value == "" {
		p.errorAt(s.Pos, "write name: and condition:", "a step needs a name and a condition")
	}
	if i := slices.IndexFunc(c.Steps, func(x Step) bool { return x.Name == s.Name }); i >= 0 && s.Name != "" {
		p.errorAt(s.Pos, "rename one of them", "step %q repeated, first on line %d", s.Name, c.Steps[i].Pos.Line)
	}
	c.Steps = append(c.Steps, s)
}

// correlation completes and checks what correlationKey has read. at holds the place of each key of the rule.
func (p *reader) correlation(r *Rule, c *Correlation, at map[string]entry) {
	if _, given := at["kind"]; !given || c.Kind == KindMatch {
		for _, key := range correlationKeys {
			if e, ok := at[key]; ok && key != "kind" {
				p.errorAt(e.pos, "add kind: with one of "+strings.Join(ruleKinds[1:], ", "), "%s is for correlation rules, this rule has no kind", key)
			}
		}
		return
	}
	keys, known := kindKeys[c.Kind]
	if !known {
		return // reported
	}
	for _, key := range keys[0] {
		if _, ok := at[key]; !ok {
			p.errorAt(r.Pos, "add "+key+": to the rule", "rule %s of kind %s has no %s", r.ID, c.Kind, key)
		}
	}
	for _, key := range append([]string{"condition"}, correlationKeys...) {
		e, ok := at[key]
		if ok && !slices.Contains([]string{"kind", "scope", "by", "until"}, key) && !slices.Contains(keys[0], key) && !slices.Contains(keys[1], key) {
			p.errorAt(e.pos, "remove it, or choose another kind", "a rule of kind %s has no %s", c.Kind, key)
		}
	}
	if c.Scope == "" {
		c.Scope = ScopeNode
	}
	if c.Kind != KindFirstSeen && c.Within > MaxWindow {
		p.errorAt(at["within"].pos, "", "within is %s, at most %s are allowed for kind %s", c.Within, MaxWindow, c.Kind)
	}
	p.counts(c, at)
	if len(c.Steps) == 0 && r.Condition.Value != "" {
		s := Step{Name: StepEvent, Condition: r.Condition, Count: 1, Pos: r.Condition.Pos}
		if e, ok := at["every"]; ok {
			s.Every = p.duration(e, time.Second, time.Hour)
		}
		c.Steps = []Step{s}
	}
	for _, s := range c.Steps {
		if s.By != nil && len(s.By) != len(c.By) {
			p.errorAt(s.Pos, "the values of a step's by are compared with those of the other steps, one by one", "step %s has %d fields in by, the rule %d", s.Name, len(s.By), len(c.By))
		}
	}
	if r.Throttle != nil && len(r.Throttle.Key) > 0 {
		p.errorAt(r.Throttle.Key[0].Pos, "the key is that of by", "throttle of a correlation rule has no key")
	}
	r.Correlation = c
}

// counts checks what depends on the kind.
func (p *reader) counts(c *Correlation, at map[string]entry) {
	limit := func(key string, got, low, high int) {
		if _, ok := at[key]; ok && (got < low || got > high) {
			p.errorAt(at[key].pos, "", "%s is %d, want %d to %d for kind %s", key, got, low, high, c.Kind)
		}
	}
	switch c.Kind {
	case KindThreshold:
		limit("count", c.Count, 2, MaxCount)
	case KindDistinct:
		limit("count", c.Count, 2, MaxDistinct)
	case KindSequence:
		limit("steps", len(c.Steps), 2, MaxSteps)
	case KindAbsence:
		limit("steps", len(c.Steps), 2, 2)
		for _, s := range c.Steps {
			if s.Count != 1 {
				p.errorAt(s.Pos, "", "a step of kind %s has no count", c.Kind)
			}
		}
	case KindRate:
		_, baseline := at["baseline"]
		_, factor := at["factor"]
		if baseline != factor {
			p.errorAt(at["count"].pos, "baseline: 1h and factor: 10", "baseline and factor go together")
		}
		if baseline && c.Within > 0 && (c.Baseline < 2*c.Within || c.Baseline/c.Within > MaxBuckets) {
			p.errorAt(at["baseline"].pos, "", "baseline is %s, want 2 to %d times within", c.Baseline, MaxBuckets)
		}
	}
}
