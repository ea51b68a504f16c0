package ruleset

import (
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/interpreter"

	"github.com/gyre-sec/gyre/evaluator/celenv"
	"github.com/gyre-sec/gyre/evaluator/rule"
	"github.com/gyre-sec/gyre/schemas/field"
)

// Ref is a field of the event of a step.
type Ref struct {
	Step  *Step
	Field *field.Field
	// Name is how the rule writes it: proc.name, or load.fd.name.
	Name string
}

// cross is a part of a step's condition that reads events of earlier steps.
type cross struct {
	program cel.Program
	refs    map[string]Ref
}

// Captured gives the values of fields of the event that a step has: nil if it is absent, else string, int64, bool or []string.
type Captured interface {
	Value(step int, name string) any
}

// Holds decides the parts of the condition that read events of earlier steps. It is safe for concurrent use.
func (s *Step) Holds(v Captured) (bool, error) {
	for i := range s.cross {
		out, _, err := s.cross[i].program.Eval(&crossScope{s.cross[i].refs, v})
		if err != nil {
			return false, err
		}
		if out != types.True {
			return false, nil
		}
	}
	return true, nil
}

// Crosses tells whether [Step.Holds] has anything to decide.
func (s *Step) Crosses() bool { return len(s.cross) > 0 }

type crossScope struct {
	refs map[string]Ref
	v    Captured
}

var _ interpreter.Activation = (*crossScope)(nil)

// Parent implements [interpreter.Activation].
func (c *crossScope) Parent() interpreter.Activation { return nil }

// ResolveName implements [interpreter.Activation].
func (c *crossScope) ResolveName(name string) (any, bool) {
	r, ok := c.refs[name]
	if !ok {
		return nil, false
	}
	x := c.v.Value(r.Step.Index, r.Field.Name)
	if strings.HasPrefix(name, celenv.HasPrefix) {
		return types.Bool(x != nil), true
	}
	return celValue(r.Field, x), true
}

func celValue(f *field.Field, x any) ref.Val {
	switch x := x.(type) {
	case string:
		return types.String(x)
	case int64:
		return types.Int(x)
	case bool:
		return types.Bool(x)
	case []string:
		return types.NewStringList(types.DefaultTypeAdapter, x)
	}
	switch f.Type {
	case field.Int:
		return types.Int(field.AbsentInt)
	case field.Bool:
		return types.False
	case field.List:
		return types.NewStringList(types.DefaultTypeAdapter, nil)
	default:
		return types.String("")
	}
}

// crossing compiles a part that reads events of earlier steps, and has them captured.
func (c *compiler) crossing(d *defined, s *Step, piece rule.Text, earlier []string) {
	env, err := c.env.WithSteps(earlier)
	if err != nil {
		c.fail(d.file, piece.Pos, "", "%v", err)
		return
	}
	a, errs := env.Compile(d.file, piece)
	c.errs = append(c.errs, errs...)
	if a == nil {
		return
	}
	x := cross{refs: map[string]Ref{}}
	visit := func(e ast.Expr) bool {
		name, ok := celenv.DottedName(e)
		if !ok {
			return false
		}
		plain := strings.TrimPrefix(name, celenv.HasPrefix)
		if r, ok := s.refFrom(plain); ok {
			x.refs[name] = r
			r.Step.capture(r.Field)
			return true
		}
		return false
	}
	walk(a.NativeRep().Expr(), visit)
	for _, name := range idents(a.NativeRep().Expr()) {
		if c.macros[name] != nil {
			c.fail(d.file, piece.Pos, "put the macro into a part of its own: macro && (...)", "macro %s stands in a part of step %s that names another step", name, s.Name)
		}
	}
	if x.program, err = env.Program(a); err != nil {
		c.fail(d.file, piece.Pos, "", "%v", err)
		return
	}
	s.cross = append(s.cross, x)
}

// walk visits e from above; below what visit takes it does not go.
func walk(e ast.Expr, visit func(ast.Expr) bool) {
	if visit(e) {
		return
	}
	switch e.Kind() {
	case ast.CallKind:
		if call := e.AsCall(); call.IsMemberFunction() {
			walk(call.Target(), visit)
		}
		for _, a := range e.AsCall().Args() {
			walk(a, visit)
		}
	case ast.SelectKind:
		walk(e.AsSelect().Operand(), visit)
	case ast.ListKind:
		for _, x := range e.AsList().Elements() {
			walk(x, visit)
		}
	case ast.ComprehensionKind:
		f := e.AsComprehension()
		for _, x := range []ast.Expr{f.IterRange(), f.AccuInit(), f.LoopCondition(), f.LoopStep(), f.Result()} {
			walk(x, visit)
		}
	}
}

// refFrom resolves a name within the condition of s: fields without a step are those of its own event.
func (s *Step) refFrom(name string) (Ref, bool) {
	if f, ok := field.Lookup(name); ok {
		return Ref{s, f, name}, true
	}
	return s.Of.stepRef(name)
}

// ref resolves a name within an output: fields without a step are those of the event that the alert is about.
func (x *Correlation) ref(name string) (Ref, bool) {
	if f, ok := field.Lookup(name); ok {
		return Ref{x.Final(), f, name}, true
	}
	return x.stepRef(name)
}

func (x *Correlation) stepRef(name string) (Ref, bool) {
	head, rest, ok := strings.Cut(name, ".")
	if !ok {
		return Ref{}, false
	}
	f, known := field.Lookup(rest)
	for _, s := range x.Steps {
		if s.Name == head && known {
			return Ref{s, f, name}, true
		}
	}
	return Ref{}, false
}

func (x *Correlation) attach(r Ref) {
	r.Step.capture(r.Field)
	for _, have := range x.Attach {
		if have.Name == r.Name {
			return
		}
	}
	x.Attach = append(x.Attach, r)
}
