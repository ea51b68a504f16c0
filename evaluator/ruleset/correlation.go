package ruleset

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gyre-sec/gyre/evaluator/rule"
	"github.com/gyre-sec/gyre/schemas/eventv1"
	"github.com/gyre-sec/gyre/schemas/field"
)

// Correlation is what a rule that was compiled says about several events.
type Correlation struct {
	Rule *Rule
	// Kind and Scope are those of package rule.
	Kind, Scope string
	Within      time.Duration
	Steps       []*Step
	// Until is nil if nothing ends what has begun.
	Until *Step
	Count int
	// Distinct is nil unless values are counted.
	Distinct *field.Field
	Baseline time.Duration
	Factor   float64
	Learn    time.Duration
	// Output is the alert's text, Attach what its fields are.
	Output Text
	Attach []Ref
	// Digest names everything that gives the state of a window its meaning.
	Digest string
}

// UntilIndex is the index of the step that ends what has begun.
const UntilIndex = -1

// Step is one condition of a correlation. It is a hidden rule of the set: [Engine.Steps] gets its matches.
type Step struct {
	Of    *Correlation
	Index int
	Name  string
	// By are the fields of the key, in the order of the rule.
	By    []*field.Field
	Count int
	Every time.Duration
	// Capture are the fields of a match that the correlation reads, each once.
	Capture []*field.Field

	cross []cross
}

// Final is the step whose event an alert is about: the last one, for an absence the first.
func (c *Correlation) Final() *Step {
	if c.Kind == rule.KindAbsence {
		return c.Steps[0]
	}
	return c.Steps[len(c.Steps)-1]
}

// StepNamed finds a step by its name, until included; nil if there is none.
func (c *Correlation) StepNamed(name string) *Step {
	for _, s := range c.Steps {
		if s.Name == name {
			return s
		}
	}
	if c.Until != nil && c.Until.Name == name {
		return c.Until
	}
	return nil
}

// Correlations lists the correlation rules of the set, by id.
func (s *Set) Correlations() []*Correlation {
	var out []*Correlation
	for _, r := range s.listed {
		if r.Plan != nil {
			out = append(out, r.Plan)
		}
	}
	return out
}

func (s *Step) capture(f *field.Field) {
	if !slices.Contains(s.Capture, f) {
		s.Capture = append(s.Capture, f)
	}
}

// correlation compiles a correlation rule: the rule as it is listed, and the hidden ones of its steps.
func (c *compiler) correlation(d *defined) (*Rule, []*Rule) {
	before := len(c.errs)
	from := d.Correlation
	r := &Rule{Rule: d.Rule, File: d.file}
	x := &Correlation{
		Rule: r, Kind: from.Kind, Scope: from.Scope, Within: from.Within, Count: from.Count, Baseline: from.Baseline, Factor: from.Factor, Learn: from.Learn,
	}
	r.Plan = x
	by := c.keyFields(d, from.By)
	var hidden []*Rule
	var names []string
	for i, st := range from.Steps {
		c.checkName(d.file, st.Pos, st.Name)
		s := &Step{Of: x, Index: i, Name: st.Name, By: by, Count: st.Count, Every: st.Every}
		if st.By != nil {
			s.By = c.keyFields(d, st.By)
		}
		x.Steps = append(x.Steps, s)
		hidden = append(hidden, c.step(d, s, st.Condition, names))
		names = append(names, st.Name)
	}
	if from.Until.Value != "" {
		x.Until = &Step{Of: x, Index: UntilIndex, Name: "until", By: by, Count: 1}
		hidden = append(hidden, c.step(d, x.Until, from.Until, nil))
	}
	c.sameTypes(d, x)
	if from.Distinct.Value != "" {
		if f := c.keyFields(d, []rule.Text{from.Distinct}); len(f) == 1 {
			x.Distinct = f[0]
			x.Final().capture(f[0])
		}
	}
	x.Output = c.correlationText(d, x)
	for _, name := range d.Fields {
		if ref, ok := x.ref(name.Value); ok {
			x.attach(ref)
		} else {
			c.fail(d.file, name.Pos, "gyre fields lists the fields; write STEP.FIELD for one of another step", "there is no field %s", name.Value)
		}
	}
	if len(c.errs) > before {
		return nil, nil
	}
	x.Digest = x.digest(from)
	for _, h := range hidden {
		r.mask = r.mask.or(h.mask)
	}
	for _, k := range eventv1.Kinds() {
		if r.mask.has(k) {
			r.Kinds = append(r.Kinds, k)
		}
	}
	return r, hidden
}

// step compiles the condition of a step. What names earlier steps is cut out, the correlator decides it.
func (c *compiler) step(d *defined, s *Step, cond rule.Text, earlier []string) *Rule {
	var local, crossing []rule.Text
	for _, piece := range cond.Conjuncts() {
		if piece.Names(earlier) {
			crossing = append(crossing, piece)
		} else {
			local = append(local, piece)
		}
	}
	if len(crossing) > 0 {
		if len(local) == 0 {
			c.fail(d.file, cond.Pos, "write A && (B), where A names no earlier step", "step %s has no condition of its own: every event would be a candidate", s.Name)
			return &Rule{}
		}
		cond = rule.Join(local)
		for _, piece := range crossing {
			c.crossing(d, s, piece, earlier)
		}
	}
	own := &defined{
		Rule: rule.Rule{ID: d.ID + "/" + s.Name, Source: d.Source, Condition: cond, Priority: d.Priority, Enabled: d.Enabled, Pos: d.Pos},
		file: d.file, except: d.except,
	}
	r := c.rule(own)
	if r == nil {
		return &Rule{}
	}
	r.Step = s
	return r
}

func (c *compiler) keyFields(d *defined, names []rule.Text) []*field.Field {
	var out []*field.Field
	for _, name := range names {
		if f, ok := field.Lookup(name.Value); ok {
			out = append(out, f)
		} else {
			c.fail(d.file, name.Pos, "gyre fields lists the fields", "there is no field %s", name.Value)
		}
	}
	return out
}

// sameTypes refuses keys that can never be equal.
func (c *compiler) sameTypes(d *defined, x *Correlation) {
	first := x.Steps[0]
	for _, s := range x.Steps[1:] {
		for i := range min(len(s.By), len(first.By)) {
			if a, b := first.By[i], s.By[i]; a.Type != b.Type {
				c.fail(d.file, d.Correlation.Steps[s.Index].Pos, "gyre fields shows the type of each field", "step %s: %s is %s, but %s of step %s is %s", s.Name, b.Name, b.Type, a.Name, first.Name, a.Type)
			}
		}
	}
}

func (x *Correlation) digest(from *rule.Correlation) string {
	h := sha256.New()
	fmt.Fprintf(h, "%q %q %s %d %s %v %s", x.Kind, x.Scope, x.Within, x.Count, x.Baseline, x.Factor, x.Learn)
	for i, s := range x.Steps {
		fmt.Fprintf(h, "\n%q %d %s %q", s.Name, s.Count, s.Every, from.Steps[i].Condition.Value)
		for _, f := range s.By {
			fmt.Fprintf(h, " %s", f.Name)
		}
		for _, f := range s.Capture {
			fmt.Fprintf(h, " +%s", f.Name)
		}
	}
	fmt.Fprintf(h, "\n%q", from.Until.Value)
	if x.Distinct != nil {
		fmt.Fprintf(h, " %s", x.Distinct.Name)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// describe completes a listed rule from its steps, when they are compiled.
func (x *Correlation) describe(hidden map[*Step]*Rule) {
	var forms []string
	steps := x.Steps
	if x.Until != nil {
		steps = append(slices.Clone(steps), x.Until)
	}
	for _, s := range steps {
		h := hidden[s]
		if h == nil {
			continue
		}
		forms = append(forms, s.Name+": "+h.Form)
		x.Rule.Cost += h.Cost
		for _, n := range h.Needs {
			if !slices.Contains(x.Rule.Needs, n) {
				x.Rule.Needs = append(x.Rule.Needs, n)
			}
		}
		if x.Rule.Interpreted == "" && h.Interpreted != "" {
			x.Rule.Interpreted = "step " + s.Name + ": " + h.Interpreted
		}
	}
	slices.Sort(x.Rule.Needs)
	x.Rule.Form = strings.Join(forms, "\n            ")
}
