package ruleset

import (
	"slices"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"

	"github.com/gyre-sec/gyre/evaluator/celenv"
	"github.com/gyre-sec/gyre/evaluator/rule"
	"github.com/gyre-sec/gyre/schemas/eventv1"
	"github.com/gyre-sec/gyre/schemas/field"
)

// mask is a set of event kinds; bit 0 stands for the kinds of newer releases.
type mask [2]uint64

// everyKind is the set of all kinds.
var everyKind = mask{^uint64(0), 1<<(eventv1.KindCount-64) - 1}

func of(k eventv1.Kind) mask {
	var m mask
	m[k/64] = 1 << (k % 64)
	return m
}

func (m mask) has(k eventv1.Kind) bool { return m[k/64]&(1<<(k%64)) != 0 }
func (m mask) and(o mask) mask         { return mask{m[0] & o[0], m[1] & o[1]} }
func (m mask) or(o mask) mask          { return mask{m[0] | o[0], m[1] | o[1]} }
func (m mask) not() mask               { return mask{everyKind[0] &^ m[0], everyKind[1] &^ m[1]} }

func maskOf(list []eventv1.Kind) mask {
	if list == nil {
		return everyKind
	}
	var m mask
	for _, k := range list {
		m = m.or(of(k))
	}
	return m
}

const typeField = "evt.type"

// kinds finds for which event kinds a condition can be true. It may name too many, never too few.
type kinds struct {
	c    *compiler
	file string
	text rule.Text
	info *ast.SourceInfo
}

// possible returns the kinds for which e can have the value want. A negation swaps what
// is wanted, which pushes it down through && and || as De Morgan says.
func (k *kinds) possible(e ast.Expr, want bool, depth int) mask {
	switch e.Kind() {
	case ast.LiteralKind:
		if b, ok := e.AsLiteral().(types.Bool); ok && bool(b) != want {
			return mask{}
		}
	case ast.CallKind:
		return k.call(e.AsCall(), want, depth)
	case ast.IdentKind, ast.SelectKind:
		name, _ := celenv.DottedName(e)
		return k.variable(name, want, depth)
	}
	return everyKind
}

func (k *kinds) variable(name string, want bool, depth int) mask {
	if m := k.c.macros[name]; m != nil && m.ast != nil && depth < 100 {
		inner := kinds{c: k.c, file: m.file, text: m.Condition, info: m.ast.NativeRep().SourceInfo()}
		return inner.possible(m.ast.NativeRep().Expr(), want, depth+1)
	}
	if !want {
		return everyKind
	}
	if len(name) > len(celenv.HasPrefix) && name[:len(celenv.HasPrefix)] == celenv.HasPrefix {
		name = name[len(celenv.HasPrefix):]
	}
	if f, ok := field.Lookup(name); ok { // an absent field is false
		return maskOf(f.Kinds)
	}
	return everyKind
}

func (k *kinds) call(call ast.CallExpr, want bool, depth int) mask {
	args := call.Args()
	both := func(and bool) mask {
		m := everyKind
		if !and {
			m = mask{}
		}
		for _, a := range args {
			if p := k.possible(a, want, depth); and {
				m = m.and(p)
			} else {
				m = m.or(p)
			}
		}
		return m
	}
	switch call.FunctionName() {
	case operators.LogicalAnd:
		return both(want)
	case operators.LogicalOr:
		return both(!want)
	case operators.LogicalNot:
		return k.possible(args[0], !want, depth)
	case operators.Equals, operators.NotEquals:
		return k.compare(args, want == (call.FunctionName() == operators.Equals))
	case operators.In:
		if name, _ := celenv.DottedName(args[0]); name == typeField {
			if m, ok := k.list(args[1]); ok {
				return turn(m, want)
			}
		}
	}
	return everyKind
}

// compare is evt.type == "x"; equal tells whether it is wanted to hold.
func (k *kinds) compare(args []ast.Expr, equal bool) mask {
	for i, a := range args {
		if name, ok := celenv.DottedName(a); ok && name == typeField && args[1-i].Kind() == ast.LiteralKind {
			return turn(k.named(args[1-i]), equal)
		}
	}
	return everyKind
}

func (k *kinds) list(e ast.Expr) (mask, bool) {
	var m mask
	if e.Kind() == ast.ListKind {
		for _, x := range e.AsList().Elements() {
			if x.Kind() != ast.LiteralKind {
				return mask{}, false
			}
			m = m.or(k.named(x))
		}
		return m, true
	}
	name, ok := celenv.DottedName(e)
	l, isList := k.c.lists[name]
	if !ok || !isList {
		return mask{}, false
	}
	for _, item := range l.Items {
		if kind, known := eventv1.ParseKind(item); known {
			m = m.or(of(kind))
		}
	}
	return m, true
}

// named is the kind that a literal names; a name that is none is an error, as the rule would silently never match.
func (k *kinds) named(e ast.Expr) mask {
	s, ok := e.AsLiteral().(types.String)
	if !ok {
		return everyKind
	}
	kind, known := eventv1.ParseKind(string(s))
	if !known {
		loc := k.info.GetStartLocation(e.ID())
		pos := k.text.AtLine(max(1, loc.Line()), max(0, loc.Column()))
		k.c.fail(k.file, pos, "gyre fields lists the event types", "there is no event type %q", string(s))
		return everyKind
	}
	return of(kind)
}

func turn(m mask, want bool) mask {
	if want {
		return m
	}
	return m.not()
}

// idents lists the plain identifiers that e names.
func idents(e ast.Expr) []string {
	var out []string
	ast.PostOrderVisit(e, ast.NewExprVisitor(func(x ast.Expr) {
		if x.Kind() == ast.IdentKind && !slices.Contains(out, x.AsIdent()) {
			out = append(out, x.AsIdent())
		}
	}))
	return out
}
