// Package celenv declares everything that a condition can use: the fields of the
// catalogue as variables, has(), lists, macros and the functions below. It is the one
// place that does so. It reads no events; see package ruleset.
//
// Every field is a variable of its dotted name. A field that an event does not have
// reads as "", false, [] or -1; has(proc.pname) tells whether it is there. A list is a
// constant whose membership test takes the same time for any length; a macro is a
// variable of type bool, which whoever evaluates gives its value.
//
// Functions beside those of standard CEL, all on strings:
//
//	s.glob(pattern|list)     * any run of characters, ? one, [a-z] one of a set
//	s.pathPrefix(dir|list)   s is the path or lies below it
//	s.startsWithAny(list)    also endsWithAny and containsAny
//	s.inCidr(net|list)       s is an IP address inside of the network
//	s.basename()             what follows the last slash
//	s.lower()                lower case
//	s.b64decode()            what the base64 text s stands for, "" if it is none
//	s.iequals(x|list)        without regard to the case of ASCII letters; also icontains, istartsWith, iendsWith and iglob
//	list.ancestor(n)         the n-th element, counted from 0; "" if the list is not that long
package celenv

import (
	"fmt"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"

	"github.com/gyre-sec/gyre/evaluator/rule"
	"github.com/gyre-sec/gyre/schemas/field"
)

// Bounds of one condition; one beyond them is refused.
const (
	maxSize    = 16 << 10
	maxNesting = 100
	maxNodes   = 4096
	maxProgram = 10_000 // instructions of a compiled regular expression
	maxLiteral = 1000
	maxLoops   = 2
	maxRegex   = 1000
	maxGlob    = 500
)

// HasPrefix starts the name of the variable that has(field) reads.
const HasPrefix = "@has."

// Env compiles conditions. It is safe for concurrent use.
type Env struct{ env *cel.Env }

// New returns an environment that knows these lists and macros.
func New(lists []rule.List, macros []string) (*Env, error) {
	opts := []cel.EnvOption{
		cel.ClearMacros(), cel.Macros(cel.GlobalMacro("has", 1, expandHas), cel.AllMacro, cel.ExistsMacro, cel.ExistsOneMacro),
		cel.ParserExpressionSizeLimit(maxSize), cel.ParserRecursionLimit(maxNesting),
		cel.ExpressionNodeLimit(maxNodes), cel.ExpressionNestingDepthLimit(maxNesting),
	}
	for _, f := range field.All() {
		opts = append(opts, cel.Variable(f.Name, typeOf(f.Type)), cel.Variable(HasPrefix+f.Name, cel.BoolType))
	}
	for _, l := range lists {
		opts = append(opts, cel.Constant(l.Name, cel.ListType(cel.StringType), newSet(l.Items)))
	}
	for _, m := range macros {
		opts = append(opts, cel.Variable(m, cel.BoolType))
	}
	env, err := cel.NewEnv(append(opts, functions()...)...)
	if err != nil {
		return nil, fmt.Errorf("make cel environment: %w", err)
	}
	return &Env{env}, nil
}

// WithSteps returns an environment that also knows the fields of the events of steps: load.fd.name is fd.name of the event of step load.
func (e *Env) WithSteps(names []string) (*Env, error) {
	var opts []cel.EnvOption
	for _, n := range names {
		for _, f := range field.All() {
			opts = append(opts, cel.Variable(n+"."+f.Name, typeOf(f.Type)))
		}
	}
	env, err := e.env.Extend(opts...)
	if err != nil {
		return nil, fmt.Errorf("make cel environment: %w", err)
	}
	return &Env{env}, nil
}

func typeOf(t field.Type) *cel.Type {
	switch t {
	case field.Int:
		return cel.IntType
	case field.Bool:
		return cel.BoolType
	case field.List:
		return cel.ListType(cel.StringType)
	default:
		return cel.StringType
	}
}

// Compile parses and checks a condition. Errors carry places in the file that the text is from.
func (e *Env) Compile(file string, text rule.Text) (*cel.Ast, rule.Errors) {
	a, iss := e.env.Compile(text.Value)
	if iss.Err() != nil {
		var errs rule.Errors
		for _, x := range iss.Errors() {
			pos := text.AtLine(max(1, x.Location.Line()), max(0, x.Location.Column()))
			errs = append(errs, &rule.Error{File: file, Line: pos.Line, Col: pos.Col, Msg: x.Message, Hint: hintFor(x.Message)})
		}
		return nil, errs
	}
	if !a.OutputType().IsExactType(cel.BoolType) {
		return nil, rule.Errors{{File: file, Line: text.Pos.Line, Col: text.Pos.Col, Msg: fmt.Sprintf("a condition must be bool, this one is %s", a.OutputType())}}
	}
	native := a.NativeRep()
	c := &checker{file: file, text: text, info: native.SourceInfo()}
	c.visit(native.Expr(), 0)
	if len(c.errs) > 0 {
		return nil, c.errs
	}
	return a, nil
}

// Program makes a checked condition executable.
func (e *Env) Program(a *cel.Ast) (cel.Program, error) {
	p, err := e.env.Program(a, cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		return nil, fmt.Errorf("plan condition: %w", err)
	}
	return p, nil
}

func expandHas(eh cel.MacroExprFactory, _ ast.Expr, args []ast.Expr) (ast.Expr, *cel.Error) {
	name, ok := DottedName(args[0])
	if !ok {
		return nil, eh.NewError(args[0].ID(), "has() takes the name of a field")
	}
	if _, ok := field.Lookup(name); !ok {
		return nil, eh.NewError(args[0].ID(), "has() takes the name of a field; there is no field "+name)
	}
	return eh.NewIdent(HasPrefix + name), nil
}

// DottedName returns the name that e spells, such as proc.name.
func DottedName(e ast.Expr) (string, bool) {
	switch e.Kind() {
	case ast.IdentKind:
		return e.AsIdent(), true
	case ast.SelectKind:
		s := e.AsSelect()
		head, ok := DottedName(s.Operand())
		return head + "." + s.FieldName(), ok && !s.IsTestOnly()
	default:
		return "", false
	}
}
