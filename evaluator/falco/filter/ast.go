// Package filter parses Falco conditions: field checks joined with and, or, not and
// parentheses, as in "evt.type = execve and not proc.name in (bash, sh)".
//
// It knows the grammar only: which fields exist, what types they have and which
// operators fit is decided by whoever compiles the tree. A tree is immutable.
package filter

// Pos is a place in the text of a condition. Line and Col count from 1, Offset and Col in bytes.
type Pos struct{ Offset, Line, Col int }

// Expr is a condition or a part of one: [*And], [*Or], [*Not], [*Macro] or [*Check].
type Expr interface {
	// Pos is where the expression begins.
	Pos() Pos
	// String writes it in Falco's normal form, which parses to an equal tree.
	String() string
}

// And holds when all of its parts do, at least two.
type And struct {
	Parts []Expr
	At    Pos
}

// Or holds when one of its parts does, at least two.
type Or struct {
	Parts []Expr
	At    Pos
}

// Not turns a condition around.
type Not struct {
	Part Expr
	At   Pos
}

// Macro is the name of a condition that is defined elsewhere.
type Macro struct {
	Name string
	At   Pos
}

// Modifiers of an operator, which say how many of the listed values have to match.
const (
	OneOf = "oneof"
	AnyOf = "anyof"
	AllOf = "allof"
)

// Exists is the operator without a right side.
const Exists = "exists"

// Check compares the value of Left.
type Check struct {
	Left Operand
	Op   string
	// Mod is "" or [OneOf], [AnyOf], [AllOf].
	Mod string
	// Right is nil for [Exists]; a *Text, a *List of *Text, a *Call, or for val(x.y) a *Call named val.
	Right Operand
	At    Pos
}

// Operand is a side of a check, or an argument of a transformer: [*Field], [*Call], [*Text] or [*List].
type Operand interface {
	Pos() Pos
	String() string
}

// Field is the value of a field of the event.
type Field struct {
	Name string
	// Arg is what stands in brackets; "" with HasArg unset when there are none.
	Arg    string
	HasArg bool
	At     Pos
}

// Call is a transformer applied to operands.
type Call struct {
	Name string
	Args []Operand
	// Arg is what stands in brackets behind it, as for [Field].
	Arg    string
	HasArg bool
	At     Pos
}

// Text is a constant, without its quotes and escapes. Numbers are Text too.
type Text struct {
	Value string
	At    Pos
}

// List is several operands in parentheses.
type List struct {
	Items []Operand
	At    Pos
}

// Pos implements [Expr].
func (e *And) Pos() Pos { return e.At }

// Pos implements [Expr].
func (e *Or) Pos() Pos { return e.At }

// Pos implements [Expr].
func (e *Not) Pos() Pos { return e.At }

// Pos implements [Expr].
func (e *Macro) Pos() Pos { return e.At }

// Pos implements [Expr].
func (e *Check) Pos() Pos { return e.At }

// Pos implements [Operand].
func (o *Field) Pos() Pos { return o.At }

// Pos implements [Operand].
func (o *Call) Pos() Pos { return o.At }

// Pos implements [Operand].
func (o *Text) Pos() Pos { return o.At }

// Pos implements [Operand].
func (o *List) Pos() Pos { return o.At }

// Walk calls visit for e and everything below it that is a condition, parents first.
func Walk(e Expr, visit func(Expr)) {
	visit(e)
	switch x := e.(type) {
	case *And:
		for _, p := range x.Parts {
			Walk(p, visit)
		}
	case *Or:
		for _, p := range x.Parts {
			Walk(p, visit)
		}
	case *Not:
		Walk(x.Part, visit)
	}
}
