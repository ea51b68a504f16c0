package ruleset

import (
	"errors"
	"strings"

	"cel.dev/cel-go/common/ast"

	"github.com/gyre-sec/gyre/evaluator/celenv"
	"github.com/gyre-sec/gyre/evaluator/compile"
	"github.com/gyre-sec/gyre/schemas/eventv1"
	"github.com/gyre-sec/gyre/schemas/field"
)

// assemble compiles the rules of the set together. What cannot be compiled keeps its cel-go program.
func (c *compiler) assemble(interpret bool) {
	s := c.set
	index := make(map[*Rule]int, len(s.rules))
	for i, r := range s.rules {
		index[r] = i
	}
	kinds := make([][]eventv1.Kind, len(s.rules))
	for k := range s.byKind {
		for _, r := range s.byKind[k] {
			kinds[index[r]] = append(kinds[index[r]], eventv1.Kind(k))
			s.positions[k] = append(s.positions[k], index[r])
		}
	}
	lists := make(map[string][]string, len(c.lists))
	for name, l := range c.lists {
		lists[name] = l.Items
	}
	macros := make(map[string]ast.Expr, len(c.macros))
	for name, m := range c.macros {
		macros[name] = m.ast.NativeRep().Expr()
	}
	b := compile.NewBuilder(lists, macros)
	for i, r := range s.rules {
		err := errors.New("asked for")
		if !interpret {
			err = b.Add(i, r.ast.NativeRep().Expr(), r.exceptExprs(), kinds[i])
		}
		if big, ok := errors.AsType[*compile.TooLarge](err); ok {
			c.fail(r.File, r.Condition.Pos, "take apart macros that name other macros several times", "%v", big)
			continue
		}
		if err == nil {
			f := b.Form()
			r.Form, r.Needs, r.Cost, r.First, r.program = f.Text, f.Fields, f.Cost, f.First, nil
		} else {
			r.Interpreted, r.Needs = reason(err), c.fields(append(r.exceptExprs(), r.ast.NativeRep().Expr()))
			s.needsCEL = true
			for _, k := range kinds[i] {
				s.interpreted[k] = append(s.interpreted[k], i)
			}
		}
		r.ast = nil
	}
	hidden := map[*Step]*Rule{}
	for _, r := range s.rules {
		if r.Step != nil {
			hidden[r.Step] = r
		}
	}
	for _, x := range s.Correlations() {
		x.describe(hidden)
	}
	s.program = b.Build()
	s.stats = newStats(len(s.rules))
}

// fields are the fields that expressions read, also in their macros.
func (c *compiler) fields(exprs []ast.Expr) []string {
	names, seen := map[string]bool{}, map[string]bool{}
	var visit func(ast.Expr)
	visit = func(e ast.Expr) {
		ast.PostOrderVisit(e, ast.NewExprVisitor(func(x ast.Expr) {
			name, ok := celenv.DottedName(x)
			if !ok || seen[name] {
				return
			}
			seen[name] = true
			if _, ok := field.Lookup(strings.TrimPrefix(name, celenv.HasPrefix)); ok {
				names[strings.TrimPrefix(name, celenv.HasPrefix)] = true
			} else if m := c.macros[name]; m != nil && m.ast != nil {
				visit(m.ast.NativeRep().Expr())
			}
		}))
	}
	for _, e := range exprs {
		visit(e)
	}
	return sortedKeys(names)
}

func reason(err error) string {
	if u, ok := errors.AsType[*compile.Unsupported](err); ok {
		return u.What
	}
	return err.Error()
}
