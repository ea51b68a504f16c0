package celenv

import (
	"fmt"
	"net/netip"
	"regexp/syntax"
	"strings"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"

	"github.com/gyre-sec/gyre/evaluator/rule"
)

// checker refuses what the type checker allows and a hot path does not.
type checker struct {
	file string
	text rule.Text
	info *ast.SourceInfo
	errs rule.Errors
}

func (c *checker) fail(e ast.Expr, hint, format string, args ...any) {
	loc := c.info.GetStartLocation(e.ID())
	pos := c.text.AtLine(max(1, loc.Line()), max(0, loc.Column()))
	c.errs = append(c.errs, &rule.Error{File: c.file, Line: pos.Line, Col: pos.Col, Msg: fmt.Sprintf(format, args...), Hint: hint})
}

func (c *checker) visit(e ast.Expr, loops int) {
	switch e.Kind() {
	case ast.CallKind:
		call := e.AsCall()
		c.call(call)
		if call.IsMemberFunction() {
			c.visit(call.Target(), loops)
		}
		for _, a := range call.Args() {
			c.visit(a, loops)
		}
	case ast.SelectKind:
		c.visit(e.AsSelect().Operand(), loops)
	case ast.ListKind:
		if n := e.AsList().Size(); n > maxLiteral {
			c.fail(e, "put it under lists:", "list of %d elements, at most %d are allowed in a condition", n, maxLiteral)
		}
		for _, x := range e.AsList().Elements() {
			c.visit(x, loops)
		}
	case ast.MapKind, ast.StructKind:
		c.fail(e, "", "maps and messages are not supported in conditions")
	case ast.ComprehensionKind:
		f := e.AsComprehension()
		if loops++; loops > maxLoops {
			c.fail(e, "take the inner part out into a macro", "loops nested more than %d deep", maxLoops)
			return
		}
		for _, x := range []ast.Expr{f.IterRange(), f.AccuInit(), f.LoopCondition(), f.LoopStep(), f.Result()} {
			c.visit(x, loops)
		}
	}
}

func (c *checker) call(call ast.CallExpr) {
	args := call.Args()
	switch call.FunctionName() {
	case "matches":
		pattern := args[len(args)-1]
		s, ok := literal(pattern)
		if !ok {
			c.fail(pattern, "write the pattern as a string", "the pattern of matches() must be constant")
			return
		}
		if len(s) > maxRegex {
			c.fail(pattern, "", "regular expression of %d bytes, at most %d are allowed", len(s), maxRegex)
		} else if n, err := programSize(s); err != nil {
			c.fail(pattern, "the syntax is RE2's", "%v", err)
		} else if n > maxProgram {
			c.fail(pattern, "use smaller repetition counts", "regular expression of %d instructions, at most %d are allowed", n, maxProgram)
		}
	case "inCidr":
		ranges := []ast.Expr{args[0]}
		if args[0].Kind() == ast.ListKind {
			ranges = args[0].AsList().Elements()
		}
		for _, r := range ranges {
			if s, ok := literal(r); ok {
				if _, err := netip.ParsePrefix(s); err != nil {
					c.fail(r, "write an address and a prefix length, such as 10.0.0.0/8", "%q is no network", s)
				}
			}
		}
	}
}

// programSize counts the instructions of a compiled regular expression. cel.RegexProgramSizeLimit
// of cel-go 0.32 panics on a counted repetition such as a{2}, as it compiles without simplifying.
func programSize(pattern string) (int, error) {
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return 0, err
	}
	prog, err := syntax.Compile(re.Simplify())
	if err != nil {
		return 0, err
	}
	return len(prog.Inst), nil
}

func literal(e ast.Expr) (string, bool) {
	if e.Kind() != ast.LiteralKind {
		return "", false
	}
	s, ok := e.AsLiteral().(types.String)
	return string(s), ok
}

func hintFor(msg string) string {
	switch {
	case strings.Contains(msg, "undeclared reference"):
		return "gyre fields lists the fields; lists and macros must be defined in a file that is loaded"
	case strings.Contains(msg, "no matching overload"):
		return "the types do not fit: gyre fields shows the type of each field"
	default:
		return ""
	}
}
