package compile

import (
	"strings"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"

	"github.com/gyre-sec/gyre/evaluator/celenv"
)

// tests are the functions that test a string against one pattern or a list.
var tests = map[string]struct {
	mode mode
	fold bool
}{
	"startsWith": {modePrefix, false}, "endsWith": {modeSuffix, false}, "contains": {modeContains, false},
	"startsWithAny": {modePrefix, false}, "endsWithAny": {modeSuffix, false}, "containsAny": {modeContains, false},
	"matches": {modeRegex, false}, "glob": {modeGlob, false}, "pathPrefix": {modePath, false}, "inCidr": {modeCIDR, false},
	"iequals": {modeEqual, true}, "icontains": {modeContains, true}, "istartsWith": {modePrefix, true},
	"iendsWith": {modeSuffix, true}, "iglob": {modeGlob, true},
}

// constPattern is the pattern of a test; the functions without regard to case take the lower-case form of both sides.
func constPattern(m mode, fold bool, pats []string) *pattern {
	if fold {
		lower := make([]string, len(pats))
		for i, p := range pats {
			lower[i] = celenv.LowerASCII(p)
		}
		pats = lower
	}
	return newPattern(m, fold, pats...)
}

// operation is an operator or function of fixed types.
type operation struct {
	op     op
	args   []typ
	result typ
}

// operations by name; the first whose types fit is taken.
var operations = map[string][]operation{
	operators.Less:       {{opLess, []typ{tInt, tInt}, tBool}, {opLess, []typ{tStr, tStr}, tBool}, {opLess, []typ{tBool, tBool}, tBool}},
	operators.LessEquals: {{opLessEq, []typ{tInt, tInt}, tBool}, {opLessEq, []typ{tStr, tStr}, tBool}, {opLessEq, []typ{tBool, tBool}, tBool}},
	operators.Add:        {{opAdd, []typ{tInt, tInt}, tInt}, {opConcat, []typ{tStr, tStr}, tStr}},
	operators.Subtract:   {{opSub, []typ{tInt, tInt}, tInt}},
	operators.Multiply:   {{opMul, []typ{tInt, tInt}, tInt}},
	operators.Divide:     {{opDiv, []typ{tInt, tInt}, tInt}},
	operators.Modulo:     {{opMod, []typ{tInt, tInt}, tInt}},
	operators.Negate:     {{opNeg, []typ{tInt}, tInt}},
	operators.Index:      {{opIndex, []typ{tList, tInt}, tStr}},
	"ancestor":           {{opAncestor, []typ{tList, tInt}, tStr}},
	"valueOf":            {{opValueOf, []typ{tList, tStr}, tStr}},
	"hasValue":           {{opHasValue, []typ{tList, tStr}, tBool}},
	"size":               {{opSize, []typ{tStr}, tInt}, {opSize, []typ{tList}, tInt}},
	"int":                {{opToInt, []typ{tStr}, tInt}},
	"string":             {{opToStr, []typ{tInt}, tStr}, {opToStr, []typ{tBool}, tStr}},
	"basename":           {{opBasename, []typ{tStr}, tStr}},
	"lower":              {{opLower, []typ{tStr}, tStr}},
	"b64decode":          {{opDecode, []typ{tStr}, tStr}},
}

func (t *translator) call(c ast.CallExpr) (*node, error) {
	name := c.FunctionName()
	exprs := c.Args()
	if c.IsMemberFunction() {
		exprs = append([]ast.Expr{c.Target()}, exprs...)
	}
	if name == operators.In {
		return t.in(exprs[0], exprs[1])
	}
	args := make([]*node, len(exprs))
	for i, e := range exprs {
		n, err := t.expr(e)
		if err != nil {
			return nil, err
		}
		args[i] = n
	}
	return t.apply(name, args)
}

func (t *translator) apply(name string, args []*node) (*node, error) {
	g := t.g
	switch name {
	case operators.LogicalAnd:
		return g.and(args...), nil
	case operators.LogicalOr:
		return g.or(args...), nil
	case operators.LogicalNot:
		return g.not(args[0]), nil
	case operators.Conditional:
		if args[1].typ != args[2].typ {
			return nil, unsupported("?: with branches of two types")
		}
		return g.cond(args[0], args[1], args[2]), nil
	case operators.Equals, operators.NotEquals:
		if args[0].typ != args[1].typ {
			return nil, unsupported("== between two types")
		}
		n := g.equal(args[0], args[1])
		if name == operators.NotEquals {
			n = g.not(n)
		}
		return n, nil
	case operators.Greater:
		return t.apply(operators.Less, []*node{args[1], args[0]})
	case operators.GreaterEquals:
		return t.apply(operators.LessEquals, []*node{args[1], args[0]})
	case "int", "string": // of a value that has the type already
		if args[0].typ == tInt && name == "int" || args[0].typ == tStr && name == "string" {
			return args[0], nil
		}
	}
	if test, ok := tests[name]; ok && len(args) == 2 && args[0].typ == tStr && (args[1].typ == tStr || args[1].typ == tList) {
		if test.mode == modeRegex && !args[1].isConst() {
			return nil, unsupported("matches() with a pattern that is not constant")
		}
		return g.dynamic(test.mode, test.fold, args[0], args[1]), nil
	}
	for _, o := range operations[name] {
		if fits(o.args, args) {
			return g.rebuild(&node{op: o.op, typ: o.result}, args), nil
		}
	}
	return nil, unsupported("the function %s of these types", strings.Trim(name, "_"))
}

func fits(want []typ, args []*node) bool {
	if len(want) != len(args) {
		return false
	}
	for i, a := range args {
		if a.typ != want[i] {
			return false
		}
	}
	return true
}

// in is membership of a string in a list of strings, or of a number in a list of constants.
func (t *translator) in(x, list ast.Expr) (*node, error) {
	n, err := t.expr(x)
	if err != nil {
		return nil, err
	}
	if list.Kind() == ast.ListKind && list.AsList().Size() == 0 {
		return t.g.boolean(false), nil // nothing is in an empty constant, even if x fails: cel-go folds this when it plans
	}
	if n.typ == tInt && list.Kind() == ast.ListKind {
		var set []int64
		for _, e := range list.AsList().Elements() {
			if e.Kind() != ast.LiteralKind {
				return nil, unsupported("a list of numbers that are not constant")
			}
			i, ok := e.AsLiteral().(types.Int)
			if !ok {
				return nil, unsupported("a list of mixed types")
			}
			set = append(set, int64(i))
		}
		return t.g.inSet(n, set), nil
	}
	if n.typ != tStr {
		return nil, unsupported("in with a value that is no string")
	}
	if list.Kind() == ast.ListKind {
		return t.inLiteral(n, list.AsList().Elements())
	}
	l, err := t.expr(list)
	if err != nil {
		return nil, err
	}
	if l.typ != tList {
		return nil, unsupported("in with something that is no list of strings")
	}
	if list.Kind() == ast.IdentKind && len(l.strs) == 0 && l.op == opListConst {
		return t.g.boolean(false), nil
	}
	return t.g.dynamic(modeEqual, false, n, l), nil
}

// inLiteral takes lists whose elements are computed but cannot fail as well.
func (t *translator) inLiteral(n *node, elements []ast.Expr) (*node, error) {
	terms := make([]*node, 0, len(elements))
	var constant []string
	for _, e := range elements {
		if s, ok := literal(e); ok {
			constant = append(constant, s)
			continue
		}
		x, err := t.expr(e)
		if err != nil {
			return nil, err
		}
		if x.typ != tStr || x.fails || n.fails {
			return nil, unsupported("a list whose elements can fail or are no strings")
		}
		terms = append(terms, t.g.equal(n, x))
	}
	return t.g.or(append(terms, t.g.matches(n, newPattern(modeEqual, false, constant...)))...), nil
}
