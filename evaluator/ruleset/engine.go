package ruleset

import (
	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/interpreter"

	"github.com/gyre-sec/gyre/evaluator/celenv"
	"github.com/gyre-sec/gyre/schemas/eventv1"
	"github.com/gyre-sec/gyre/schemas/field"
)

// Engine evaluates events one after the other. It is not safe for concurrent use.
type Engine interface {
	// Eval calls emit for every rule whose condition holds for e, in the order of the rule ids. v must read e.
	Eval(v *field.View, e *eventv1.Event, emit func(*Rule))
}

// Engine returns a new engine for the set.
func (s *Set) Engine() Engine { return &engine{set: s, scope: newScope(s.slots, s.macros)} }

type engine struct {
	set   *Set
	scope *scope
}

// Eval implements [Engine].
func (x *engine) Eval(v *field.View, e *eventv1.Event, emit func(*Rule)) {
	x.scope.next(v)
	for _, r := range x.set.ForKind(e.Kind) {
		out, _, err := r.program.Eval(x.scope)
		if err != nil {
			if x.set.onError != nil {
				x.set.onError(r.ID, err)
			}
			continue
		}
		if out == types.True {
			emit(r)
		}
	}
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
