// Package ruleset compiles rule files into an immutable set and evaluates events
// against it.
//
// A [Set] is indexed by event kind: from each condition it derives the kinds for which
// the condition can be true, so that an event meets only the rules about its kind. A
// Set is safe for concurrent use; an [Engine] made from it is not: one per goroutine.
// All conditions are compiled together by package compile; one that uses something it
// does not know is evaluated by its cel-go program, see [Rule.Interpreted].
package ruleset

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"

	"github.com/gyre-sec/gyre/evaluator/celenv"
	"github.com/gyre-sec/gyre/evaluator/compile"
	"github.com/gyre-sec/gyre/evaluator/rule"
	"github.com/gyre-sec/gyre/schemas/eventv1"
	"github.com/gyre-sec/gyre/schemas/field"
)

// Options of [Compile]. The zero value works.
type Options struct {
	// OnError is called when a condition fails at run time, which counts as no match. It must be safe for concurrent use.
	OnError func(ruleID string, err error)
	// MaxRules bounds the set; 0 means 10,000.
	MaxRules int
	// SampleEvery is how many events lie between two for which rules are timed; 0 means 1024, -1 that none are.
	SampleEvery int
	// Interpret evaluates every condition by its cel-go program: the reference that the compiled form is compared with.
	Interpret bool
}

// Rule is a rule that was compiled.
type Rule struct {
	rule.Rule
	File string
	// Output is the parsed template.
	Output Template
	// Attach are the fields an alert carries: those of the output, then those of the rule, each once.
	Attach []*field.Field
	// ThrottleKey are the fields that tell throttled matches apart.
	ThrottleKey []*field.Field
	// Kinds are the event kinds for which the condition can be true.
	Kinds []eventv1.Kind
	// Form is the compiled condition, for people; "" if it is interpreted.
	Form string
	// Needs are the fields that the condition and its exceptions read, sorted. Cost is what deciding the compiled
	// condition is thought to take, in nanoseconds, if all about the process is known, and First if nothing is.
	Needs       []string
	Cost, First float64
	// Interpreted says why the condition is evaluated by its cel-go program, which is slower; "" if it is compiled.
	Interpreted string
	// Plan is nil for a rule about single events.
	Plan *Correlation
	// Step is nil, but for the hidden rules of steps.
	Step *Step

	ast     *cel.Ast
	program cel.Program
	except  []exception
	mask    mask
}

// Set is a compiled rule set.
type Set struct {
	rules   []*Rule // those about events: also the hidden ones of steps, not those that correlate
	listed  []*Rule
	byKind  [eventv1.KindCount][]*Rule // index 0: kinds of a newer release
	slots   map[string]slot
	macros  []cel.Program
	digest  string
	onError func(string, error)

	program     *compile.Program
	positions   [eventv1.KindCount][]int // indexes of the rules of byKind
	interpreted [eventv1.KindCount][]int // of those without a compiled form
	needsCEL    bool
	sampleEvery int
	stats       *stats
}

// Rules lists the enabled rules by id.
func (s *Set) Rules() []*Rule { return s.listed }

// Digest names the content: "sha256:" and 64 digits over lists, macros and enabled rules, independent of files and their order.
func (s *Set) Digest() string { return s.digest }

// ForKind lists the rules that an event of kind k is evaluated against.
func (s *Set) ForKind(k eventv1.Kind) []*Rule {
	if !k.Known() {
		k = 0
	}
	return s.byKind[k]
}

// Compile merges files by layer, compiles every condition, also of disabled rules, and
// returns either a set or [rule.Errors] with all defects.
func Compile(files []rule.File, o Options) (*Set, error) {
	c := &compiler{macros: map[string]*macro{}, lists: map[string]rule.List{}, rules: map[string]*defined{}}
	c.merge(files)
	c.override(byLayer(files))
	if limit := cmp.Or(o.MaxRules, 10_000); len(c.rules) > limit {
		c.errs = append(c.errs, &rule.Error{File: "rules", Msg: fmt.Sprintf("%d rules, at most %d are allowed", len(c.rules), limit)})
	}
	if len(c.errs) > 0 {
		return nil, c.errs
	}
	s := c.compile()
	if len(c.errs) > 0 {
		return nil, c.errs
	}
	if c.assemble(o.Interpret); len(c.errs) > 0 {
		return nil, c.errs
	}
	s.onError = o.OnError
	s.sampleEvery = cmp.Or(o.SampleEvery, sampleEvery)
	s.digest = c.digest(s.listed)
	return s, nil
}

type macro struct {
	rule.Macro
	file  string
	ast   *cel.Ast
	state int // 0 not compiled, 1 being compiled, 2 done
	parts int // nodes of the condition with its macros in their places
}

type defined struct {
	rule.Rule
	file   string
	except []exception
	// throttleFile is where the throttle stands if an override has replaced the rule's.
	throttleFile string
}

type place struct {
	layer int
	file  string
	pos   rule.Pos
}

type compiler struct {
	env    *celenv.Env
	lists  map[string]rule.List
	macros map[string]*macro
	rules  map[string]*defined
	set    *Set
	errs   rule.Errors
	// tooLarge: a macro or rule is beyond the bound of its parts, the set is refused.
	tooLarge bool
}

func (c *compiler) fail(file string, pos rule.Pos, hint, format string, args ...any) {
	c.errs = append(c.errs, &rule.Error{File: file, Line: pos.Line, Col: pos.Col, Msg: fmt.Sprintf(format, args...), Hint: hint})
}

// merge takes the files in the order of their layers; of the same name the highest layer counts.
func (c *compiler) merge(files []rule.File) {
	files = byLayer(files)
	names, ids := map[string]place{}, map[string]place{}
	claim := func(seen map[string]place, what, name string, at place) {
		if was, again := seen[name]; again && was.layer == at.layer {
			c.fail(at.file, at.pos, "rename or remove one of them", "%s %s is already defined at %s:%d:%d", what, name, was.file, was.pos.Line, was.pos.Col)
		}
		seen[name] = at
	}
	for _, f := range files {
		for _, l := range f.Lists {
			claim(names, "list", l.Name, place{f.Layer, f.Name, l.Pos})
			c.checkName(f.Name, l.Pos, l.Name)
			delete(c.macros, l.Name)
			c.lists[l.Name] = l
		}
		for _, m := range f.Macros {
			claim(names, "macro", m.Name, place{f.Layer, f.Name, m.Pos})
			c.checkName(f.Name, m.Pos, m.Name)
			delete(c.lists, m.Name)
			c.macros[m.Name] = &macro{Macro: m, file: f.Name}
		}
		for _, r := range f.Rules {
			claim(ids, "rule", r.ID, place{f.Layer, f.Name, r.Pos})
			c.rules[r.ID] = &defined{Rule: r, file: f.Name, except: exceptionsOf(r.Exceptions, f.Name)}
		}
	}
}

func byLayer(files []rule.File) []rule.File {
	files = slices.Clone(files)
	slices.SortStableFunc(files, func(a, b rule.File) int { return cmp.Compare(a.Layer, b.Layer) })
	return files
}

// checkName keeps lists and macros apart from the first parts of field names.
func (c *compiler) checkName(file string, pos rule.Pos, name string) {
	for _, f := range field.All() {
		if head, _, _ := strings.Cut(f.Name, "."); head == name {
			c.fail(file, pos, "choose another name", "%s is the first part of field names", name)
			return
		}
	}
}

func (c *compiler) compile() *Set {
	lists := make([]rule.List, 0, len(c.lists))
	for _, name := range sortedKeys(c.lists) {
		lists = append(lists, c.lists[name])
	}
	env, err := celenv.New(lists, sortedKeys(c.macros))
	if err != nil {
		c.fail("rules", rule.Pos{}, "", "%v", err)
		return nil
	}
	c.env, c.set = env, &Set{slots: newSlots()}
	for _, name := range sortedKeys(c.macros) {
		c.macro(c.macros[name], nil)
	}
	for _, id := range sortedKeys(c.rules) {
		d := c.rules[id]
		if d.Correlation != nil {
			if r, hidden := c.correlation(d); r != nil && r.Enabled {
				c.set.listed = append(c.set.listed, r)
				c.add(hidden...)
			}
			continue
		}
		if r := c.rule(d); r != nil && r.Enabled {
			c.set.listed = append(c.set.listed, r)
			c.add(r)
		}
	}
	return c.set
}

// add has the engines evaluate rules.
func (c *compiler) add(rules ...*Rule) {
	for _, r := range rules {
		c.set.rules = append(c.set.rules, r)
		for k := range c.set.byKind {
			if r.mask.has(eventv1.Kind(k)) {
				c.set.byKind[k] = append(c.set.byKind[k], r)
			}
		}
	}
}

// macro compiles m after the macros that it names; path leads to it.
func (c *compiler) macro(m *macro, path []string) {
	switch m.state {
	case 2:
		return
	case 1:
		c.fail(m.file, m.Pos, "a macro must not name itself, directly or through others", "macro %s is recursive: %s", m.Name, strings.Join(append(path, m.Name), " -> "))
		return
	}
	m.state = 1
	a, errs := c.env.Compile(m.file, m.Condition)
	c.errs = append(c.errs, errs...)
	if a != nil {
		m.ast = a
		for _, name := range idents(a.NativeRep().Expr()) {
			if other := c.macros[name]; other != nil {
				c.macro(other, append(path, m.Name))
			}
		}
		m.parts = c.parts(m.file, m.Condition, a)
		if p, err := c.env.Program(a); err != nil {
			c.fail(m.file, m.Condition.Pos, "", "%v", err)
		} else {
			c.set.slots[m.Name] = slot{cell: len(c.set.slots), macro: len(c.set.macros), kind: slotMacro}
			c.set.macros = append(c.set.macros, p)
		}
	}
	m.state = 2
}

func (c *compiler) rule(d *defined) *Rule {
	before := len(c.errs)
	r := &Rule{Rule: d.Rule, File: d.file}
	a, errs := c.env.Compile(d.file, d.Condition)
	c.errs = append(c.errs, errs...)
	c.template(r, d)
	if a == nil || len(c.errs) > before {
		return nil
	}
	if c.parts(d.file, d.Condition, a); c.tooLarge {
		return nil // nothing may walk it
	}
	k := kinds{c: c, file: d.file, text: d.Condition, info: a.NativeRep().SourceInfo()}
	r.mask = k.possible(a.NativeRep().Expr(), true, 0)
	for _, kind := range eventv1.Kinds() {
		if r.mask.has(kind) {
			r.Kinds = append(r.Kinds, kind)
		}
	}
	if len(c.errs) == before && r.mask == (mask{}) && d.Falco == 0 { // Falco loads such rules
		c.fail(d.file, d.Condition.Pos, "no event type satisfies it", "condition of rule %s can never be true", d.ID)
	}
	p, err := c.env.Program(a)
	if err != nil {
		c.fail(d.file, d.Condition.Pos, "", "%v", err)
		return nil
	}
	if r.except = c.exceptions(d); len(c.errs) > before {
		return nil
	}
	r.ast, r.program = a, p
	return r
}

func (c *compiler) digest(rules []*Rule) string {
	h := sha256.New()
	put := func(s ...string) {
		for _, x := range s {
			fmt.Fprintf(h, "%d:%s", len(x), x)
		}
		h.Write([]byte{'\n'})
	}
	for _, name := range sortedKeys(c.lists) {
		put(append([]string{"list", name}, c.lists[name].Items...)...)
	}
	for _, name := range sortedKeys(c.macros) {
		put("macro", name, c.macros[name].Condition.Value)
	}
	for _, r := range rules {
		put("rule", r.ID, r.Name, r.Source, r.Priority.String(), r.Condition.Value, r.Rule.Output.Value)
		if r.Falco > 0 {
			put("falco")
		}
		put(r.Tags...)
		put(r.MITRE...)
		if t := r.Throttle; t != nil {
			put("throttle", t.Window.String())
			for _, f := range r.ThrottleKey {
				put(f.Name)
			}
		}
		for _, x := range r.except {
			put("except", x.Name, x.Condition.Value)
		}
		for _, f := range r.Fields {
			put(f.Value)
		}
		if r.Plan != nil {
			put("correlation", r.Plan.Digest)
		}
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
