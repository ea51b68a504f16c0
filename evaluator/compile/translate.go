package compile

import (
	"fmt"
	"slices"
	"strings"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"

	"github.com/gyre-sec/gyre/evaluator/celenv"
	"github.com/gyre-sec/gyre/schemas/field"
)

// Unsupported says what a condition uses that the compiler does not know.
type Unsupported struct{ What string }

// Error implements error.
func (u *Unsupported) Error() string { return "not compiled: " + u.What }

func unsupported(format string, args ...any) error {
	return &Unsupported{fmt.Sprintf(format, args...)}
}

// mayFail tells whether the operation itself can be an error.
func (o op) mayFail() bool {
	switch o {
	case opAdd, opSub, opMul, opDiv, opMod, opNeg, opToInt, opIndex:
		return true
	}
	return false
}

// translator turns checked expressions into nodes.
type translator struct {
	g      *graph
	lists  map[string][]string
	macros map[string]ast.Expr
	done   map[string]*node
	scope  []string // variables of the loops around, the outermost first
}

func (t *translator) expr(e ast.Expr) (*node, error) {
	n, err := t.form(e)
	if err == nil && n.size > MaxParts {
		return nil, &TooLarge{n.size}
	}
	return n, err
}

func (t *translator) form(e ast.Expr) (*node, error) {
	switch e.Kind() {
	case ast.LiteralKind:
		switch v := e.AsLiteral().(type) {
		case types.Bool:
			return t.g.boolean(bool(v)), nil
		case types.Int:
			return t.g.integer(int64(v)), nil
		case types.String:
			return t.g.text(string(v)), nil
		}
		return nil, unsupported("a constant of type %s", e.AsLiteral().Type().TypeName())
	case ast.IdentKind, ast.SelectKind:
		return t.variable(e)
	case ast.ListKind:
		return t.list(e.AsList().Elements())
	case ast.CallKind:
		return t.call(e.AsCall())
	case ast.ComprehensionKind:
		return t.loop(e.AsComprehension())
	}
	return nil, unsupported("maps and messages")
}

func (t *translator) variable(e ast.Expr) (*node, error) {
	name, ok := celenv.DottedName(e)
	if !ok {
		return nil, unsupported("a selection from a value")
	}
	for i, v := range slices.Backward(t.scope) {
		if v == name {
			return t.g.intern(&node{op: opVar, typ: tStr, num: int64(i)}), nil
		}
	}
	name = strings.TrimPrefix(name, ".")
	if f, ok := field.Lookup(name); ok {
		return t.g.fieldNode(f, false), nil
	}
	if rest, ok := strings.CutPrefix(name, celenv.HasPrefix); ok {
		if f, ok := field.Lookup(rest); ok {
			return t.g.fieldNode(f, true), nil
		}
	}
	if l, ok := t.lists[name]; ok {
		return t.g.strings(l), nil
	}
	if m, ok := t.macros[name]; ok {
		if n := t.done[name]; n != nil {
			return n, nil
		}
		scope := t.scope
		t.scope = nil
		n, err := t.expr(m)
		t.scope = scope
		if err == nil {
			t.done[name] = n
		}
		return n, err
	}
	return nil, unsupported("the name %s", name)
}

// list takes lists of constant strings; a list of other values only stands on the right of `in`.
func (t *translator) list(elements []ast.Expr) (*node, error) {
	items := make([]string, 0, len(elements))
	for _, e := range elements {
		s, ok := literal(e)
		if !ok {
			return nil, unsupported("a list of values that are no constant strings")
		}
		items = append(items, s)
	}
	return t.g.strings(items), nil
}

func literal(e ast.Expr) (string, bool) {
	if e.Kind() != ast.LiteralKind {
		return "", false
	}
	s, ok := e.AsLiteral().(types.String)
	return string(s), ok
}

// loop recognises what exists(), all() and exists_one() expand to.
func (t *translator) loop(c ast.ComprehensionExpr) (*node, error) {
	kind, body, ok := loopForm(c)
	if !ok || c.HasIterVar2() {
		return nil, unsupported("a loop other than exists, all and exists_one")
	}
	depth := len(t.scope)
	if depth > 7 {
		return nil, unsupported("loops nested more than 8 deep")
	}
	list, err := t.expr(c.IterRange())
	if err != nil {
		return nil, err
	}
	if list.typ != tList {
		return nil, unsupported("a loop over something that is no list of strings")
	}
	t.scope = append(t.scope, c.IterVar())
	n, err := t.expr(body)
	t.scope = t.scope[:depth]
	if err != nil {
		return nil, err
	}
	if n.typ != tBool {
		return nil, unsupported("a loop over something that is not bool")
	}
	return t.g.intern(&node{op: opLoop, args: []*node{list, n}, num: kind, ints: []int64{int64(depth)}}), nil
}

func loopForm(c ast.ComprehensionExpr) (kind loopKind, body ast.Expr, ok bool) {
	accu := c.AccuVar()
	isAccu := func(e ast.Expr) bool { return e.Kind() == ast.IdentKind && e.AsIdent() == accu }
	step := c.LoopStep()
	if step.Kind() != ast.CallKind || c.AccuInit().Kind() != ast.LiteralKind {
		return 0, nil, false
	}
	call, args := step.AsCall(), step.AsCall().Args()
	init := c.AccuInit().AsLiteral()
	switch {
	case call.FunctionName() == operators.LogicalOr && init == types.False && isAccu(args[0]) && isAccu(c.Result()):
		return loopExists, args[1], true
	case call.FunctionName() == operators.LogicalAnd && init == types.True && isAccu(args[0]) && isAccu(c.Result()):
		return loopAll, args[1], true
	case call.FunctionName() == operators.Conditional && init == types.Int(0) && isAccu(args[2]) && c.Result().Kind() == ast.CallKind:
		return loopOne, args[0], true
	}
	return 0, nil, false
}
