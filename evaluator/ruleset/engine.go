package ruleset

import (
	"slices"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/interpreter"

	"github.com/gyre-sec/gyre/evaluator/celenv"
	"github.com/gyre-sec/gyre/evaluator/compile"
	"github.com/gyre-sec/gyre/schemas/eventv1"
	"github.com/gyre-sec/gyre/schemas/field"
)

// Engine evaluates events one after the other. It is not safe for concurrent use.
type Engine interface {
	// Batch makes v read b. It must be called for each batch that was decoded, before its events: what the engine
	// knows of the processes of the batch before is void.
	Batch(v *field.View, b *eventv1.Batch)
	// Eval calls emit for every rule whose condition holds for e, in the order of the rule ids. v must read e.
	Eval(v *field.View, e *eventv1.Event, emit func(*Rule))
	// Steps has emit called for the matches of the steps of correlation rules, which are not looked at otherwise.
	Steps(emit func(*Step))
	// Flush adds what was counted since the last batch to [Set.Stats]; Batch does so too.
	Flush()
}

// Engine returns a new engine for the set.
func (s *Set) Engine() Engine {
	x := &engine{set: s, machine: s.program.Machine(), until: min(s.sampleEvery, 1)}
	if s.needsCEL {
		x.scope = newScope(s.slots, s.macros)
	}
	return x
}

type engine struct {
	set     *Set
	machine *compile.Machine
	scope   *scope // nil if every rule is compiled
	events  [eventv1.KindCount]uint32
	until   int // events to the next one that is measured
	cursor  int // counts the measurements
	steps   func(*Step)
}

// Steps implements [Engine].
func (x *engine) Steps(emit func(*Step)) { x.steps = emit }

// Batch implements [Engine].
func (x *engine) Batch(v *field.View, b *eventv1.Batch) {
	x.Flush()
	v.Batch(b)
	x.machine.Batch(v, b)
}

// Eval implements [Engine].
func (x *engine) Eval(v *field.View, e *eventv1.Event, emit func(*Rule)) {
	kind := e.Kind
	if !kind.Known() {
		kind = 0
	}
	x.events[kind]++
	hits := x.machine.Eval(v, e)
	if len(x.set.interpreted[kind]) > 0 {
		hits = x.interpret(v, kind, hits)
	}
	for _, h := range hits {
		r := x.set.rules[h.Rule]
		if h.Err != nil {
			x.set.failed(h.Rule, h.Err)
			continue
		}
		x.set.stats.rules[h.Rule].matched.Add(1)
		switch {
		case r.Step == nil:
			emit(r)
		case x.steps != nil:
			x.steps(r.Step)
		}
	}
	if x.until--; x.until == 0 {
		x.until = x.set.sampleEvery
		x.measure(v, e)
	}
}

// interpret adds the verdicts of the rules that are not compiled.
func (x *engine) interpret(v *field.View, kind eventv1.Kind, hits []compile.Hit) []compile.Hit {
	x.scope.next(v)
	for _, i := range x.set.interpreted[kind] {
		if match, err := x.set.rules[i].interpret(x.scope); match || err != nil {
			hits = append(hits, compile.Hit{Rule: i, Err: err})
		}
	}
	slices.SortFunc(hits, func(a, b compile.Hit) int { return a.Rule - b.Rule })
	return hits
}

type slotKind uint8

const (
	slotField slotKind = iota
	slotHas
	slotMacro
)

// slot says how a variable gets its value, and in which cell the value is kept.
type slot struct {
	kind  slotKind
	cell  int
	field *field.Field
	macro int
}

func newSlots() map[string]slot {
	m := make(map[string]slot, 512)
	for _, f := range field.All() {
		m[f.Name] = slot{kind: slotField, cell: len(m), field: f}
		m[celenv.HasPrefix+f.Name] = slot{kind: slotHas, cell: len(m), field: f}
	}
	return m
}

type cell struct {
	event uint64
	value ref.Val
}

// scope resolves the variables of conditions for one event after the other, each at most once per event.
type scope struct {
	slots  map[string]slot
	macros []cel.Program
	cells  []cell
	event  uint64
	view   *field.View
}

var _ interpreter.Activation = (*scope)(nil)

func newScope(slots map[string]slot, macros []cel.Program) *scope {
	return &scope{slots: slots, macros: macros, cells: make([]cell, len(slots))}
}

func (s *scope) next(v *field.View) {
	s.view = v
	s.event++
}

// Parent implements [interpreter.Activation].
func (s *scope) Parent() interpreter.Activation { return nil }

// ResolveName implements [interpreter.Activation].
func (s *scope) ResolveName(name string) (any, bool) {
	sl, ok := s.slots[name]
	if !ok {
		return nil, false
	}
	c := &s.cells[sl.cell]
	if c.event != s.event {
		c.value, c.event = s.read(sl), s.event
	}
	return c.value, true
}

func (s *scope) read(sl slot) ref.Val {
	if sl.kind == slotMacro {
		v, _, err := s.macros[sl.macro].Eval(s)
		if err != nil {
			return types.WrapErr(err)
		}
		return v
	}
	f, has := sl.field, sl.kind == slotHas
	switch f.Type {
	case field.Int:
		n, ok := f.Int(s.view)
		switch {
		case has:
			return types.Bool(ok)
		case !ok:
			return types.Int(field.AbsentInt)
		}
		return types.Int(n)
	case field.Bool:
		b, ok := f.Bool(s.view)
		if has {
			return types.Bool(ok)
		}
		return types.Bool(b && ok)
	case field.List:
		l, ok := f.List(s.view)
		if has {
			return types.Bool(ok)
		}
		return types.NewStringList(types.DefaultTypeAdapter, l)
	default:
		t, ok := f.Str(s.view)
		switch {
		case has:
			return types.Bool(ok)
		case !ok:
			return types.String("")
		}
		return types.String(t)
	}
}
