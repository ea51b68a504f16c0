package filter

import (
	"fmt"
	"strings"
)

// MaxDepth is how deep Falco lets the conditions of rules nest, counted in productions of its grammar.
const MaxDepth = 1000

// Error is a condition that Falco would refuse.
type Error struct {
	Pos Pos
	Msg string
}

// Error returns line:column: message.
func (e *Error) Error() string { return fmt.Sprintf("%d:%d: %s", e.Pos.Line, e.Pos.Col, e.Msg) }

// Parse reads a condition. The error is an [*Error].
func Parse(s string) (Expr, error) { return parse(s, (*parser).or, "'or', 'and'") }

// ParseOperand reads a field or a transformer, as it stands on the left of an operator. The error is an [*Error].
func ParseOperand(s string) (Operand, error) {
	return parse(s, (*parser).left, "nothing")
}

// OperandLen is how many bytes at the beginning of s make up the longest field or transformer, 0 for none.
func OperandLen(s string) int {
	p := &parser{src: s, pos: Pos{0, 1, 1}}
	ok := false
	func() {
		defer func() { ok = caught(recover()) == nil }()
		p.left()
	}()
	if !ok {
		return 0
	}
	return p.pos.Offset
}

func parse[T any](s string, start func(*parser) T, expect string) (out T, err error) {
	p := &parser{src: s, pos: Pos{0, 1, 1}}
	defer func() {
		if e := caught(recover()); e != nil {
			err = e
		}
	}()
	if s == "" {
		p.fail("the condition is empty")
	}
	if strings.IndexByte(s, 0) >= 0 {
		p.skip(s[:strings.IndexByte(s, 0)])
		p.fail("a NUL byte cannot be part of a condition")
	}
	out = start(p)
	if p.pos.Offset != len(s) {
		p.fail("unexpected token after '%s', expecting %s", p.last, expect)
	}
	return out, nil
}

// caught passes on panics that are no [*Error].
func caught(r any) *Error {
	if r == nil {
		return nil
	}
	e, ok := r.(*Error)
	if !ok {
		panic(r)
	}
	return e
}

// parser goes down the grammar; a defect is a panic with an [*Error], which parse catches.
type parser struct {
	src   string
	pos   Pos
	last  string // the token read last, for messages
	depth int
}

func (p *parser) fail(format string, args ...any) {
	panic(&Error{p.pos, fmt.Sprintf(format, args...)})
}

// down enters a production; the caller defers what it returns.
func (p *parser) down() func() {
	if p.depth++; p.depth >= MaxDepth {
		p.fail("nested more than %d deep", MaxDepth)
	}
	return func() { p.depth-- }
}

func (p *parser) rest() string { return p.src[p.pos.Offset:] }

func (p *parser) skip(s string) {
	for i := 0; i < len(s); i++ {
		p.pos.Offset++
		p.pos.Col++
		if s[i] == '\n' || s[i] == '\r' {
			p.pos.Col = 1
			p.pos.Line++
		}
	}
}

func (p *parser) blank() bool {
	s := p.rest()
	n := len(s) - len(strings.TrimLeft(s, blanks))
	p.skip(s[:n])
	return n > 0
}

// take reads n bytes as a token; it returns whether there were any.
func (p *parser) take(n int) bool {
	if n == 0 {
		return false
	}
	p.last = p.rest()[:n]
	p.skip(p.last)
	return true
}

func (p *parser) word(w string) bool {
	if !strings.HasPrefix(p.rest(), w) {
		return false
	}
	return p.take(len(w))
}

// operator reads one of the words; an alphabetic one must be followed by a blank if spaced is set.
func (p *parser) operator(words []string, spaced bool) bool {
	for _, w := range words {
		pos, last := p.pos, p.last
		if !p.word(w) {
			continue
		}
		if !spaced || !isLetter(w[0]) || p.blank() {
			return true
		}
		p.pos, p.last = pos, last
	}
	return false
}

func (p *parser) or() Expr {
	defer p.down()()
	at := p.pos
	p.blank()
	parts := p.series("or", p.and)
	if len(parts) == 1 {
		return parts[0]
	}
	return &Or{parts, at}
}

func (p *parser) and() Expr {
	defer p.down()()
	at := p.pos
	p.blank()
	parts := p.series("and", p.not)
	if len(parts) == 1 {
		return parts[0]
	}
	return &And{parts, at}
}

func (p *parser) series(word string, next func() Expr) []Expr {
	parts := []Expr{next()}
	for p.blank(); p.word(word); p.blank() {
		switch {
		case p.blank():
			parts = append(parts, next())
		case p.word("("):
			parts = append(parts, p.inner())
		default:
			p.fail("expected blank or '(' after '%s'", word)
		}
	}
	return parts
}

func (p *parser) not() Expr {
	defer p.down()()
	at, negate := p.pos, false
	p.blank()
	for {
		s := p.rest()
		if !strings.HasPrefix(s, "not") {
			break
		}
		n := len(s) - len(strings.TrimLeft(s[3:], spaces))
		if n == 3 {
			break
		}
		p.take(n)
		negate = !negate
	}
	var e Expr
	if p.word("not(") {
		negate = !negate
		e = p.inner()
	} else {
		e = p.check()
	}
	if negate {
		return &Not{e, at}
	}
	return e
}

// inner is what follows an opening parenthesis, with the closing one.
func (p *parser) inner() Expr {
	defer p.down()()
	p.blank()
	e := p.or()
	p.blank()
	if !p.word(")") {
		p.fail("expected a ')' token")
	}
	return e
}

func (p *parser) check() Expr {
	defer p.down()()
	at := p.pos
	p.blank()
	switch {
	case p.word("("):
		return p.inner()
	case p.take(fieldLen(p.rest())):
		return p.condition(p.field(p.last, at), at)
	case p.call():
		return p.condition(p.arguments(strings.TrimSuffix(p.last, "("), at), at)
	case p.take(identLen(p.rest())):
		return &Macro{p.last, at}
	}
	p.fail("expected a '(' token, a field check, or an identifier")
	return nil
}

// condition is the operator and the right side of a check.
func (p *parser) condition(left Operand, at Pos) Expr {
	defer p.down()()
	p.blank()
	c := &Check{Left: left, At: at}
	switch {
	case p.operator([]string{Exists}, false):
		c.Op = Exists
	case p.operator(numOps, false):
		c.Op = p.last
		c.Right = p.number()
	case p.operator(textOps, true):
		c.Op = p.last
		spaced := isLetter(c.Op[0]) || p.blank()
		pos, last := p.pos, p.last
		if spaced && p.operator(mods, true) && p.listFollows() {
			c.Mod = p.last
			c.Right = p.listValue(false)
		} else {
			p.pos, p.last = pos, last
			c.Right = p.text(true)
		}
	case p.operator(listOps, false):
		c.Op = p.last
		c.Right = p.listValue(true)
	default:
		p.fail("expected a valid check operator: one of %s", quotedWords(Operators(false)))
	}
	return c
}

// listFollows tells whether a list, or the name of one, comes next: then the word before
// was a modifier, and not a value that is spelled like one.
func (p *parser) listFollows() bool {
	s := p.rest()
	if strings.HasPrefix(s, "(") {
		return true
	}
	for _, w := range []string{"and", "or", "not"} {
		if r, ok := strings.CutPrefix(s, w); ok && (r == "" || !isLetter(r[0]) && !isDigit(r[0])) {
			return false
		}
	}
	return identLen(s) > 0
}

func quotedWords(words []string) string { return "'" + strings.Join(words, "', '") + "'" }
