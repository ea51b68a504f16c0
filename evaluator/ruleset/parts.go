package ruleset

import (
	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"

	"github.com/gyre-sec/gyre/evaluator/compile"
	"github.com/gyre-sec/gyre/evaluator/rule"
)

// parts counts the nodes of a condition with its macros, which are compiled, in their places. Macros that name
// others twice double with each level, so a condition beyond [compile.MaxParts] is refused before anything walks it.
func (c *compiler) parts(file string, text rule.Text, a *cel.Ast) int {
	n := 0
	ast.PostOrderVisit(a.NativeRep().Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		n++
		if e.Kind() == ast.IdentKind {
			if m := c.macros[e.AsIdent()]; m != nil {
				n += m.parts
			}
		}
	}))
	if n > compile.MaxParts {
		c.fail(file, text.Pos, "take apart macros that name other macros several times", "%v", &compile.TooLarge{Parts: n})
		c.tooLarge = true
		return 0 // one error is enough: what names this macro is not refused too
	}
	return n
}
