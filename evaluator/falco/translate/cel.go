package translate

import (
	"fmt"
	"strings"
)

// level is how tightly the outermost operator of a CEL text binds.
type level uint8

const (
	anyOf level = iota // ||
	allOf              // &&
	relation
	sum
	unary
	atom
)

// cond is a CEL expression of type bool.
type cond struct {
	text  string
	level level
}

var (
	alwaysTrue  = cond{"true", atom}
	alwaysFalse = cond{"false", atom}
)

// within returns the text, in parentheses unless it binds at least as tightly as l.
func (c cond) within(l level) string {
	if c.level < l {
		return "(" + c.text + ")"
	}
	return c.text
}

func and(parts ...cond) cond { return series(parts, " && ", allOf, alwaysTrue, alwaysFalse) }
func or(parts ...cond) cond  { return series(parts, " || ", anyOf, alwaysFalse, alwaysTrue) }

// series joins conditions; neutral ones are left out and an absorbing one is the result.
func series(parts []cond, op string, l level, neutral, absorbing cond) cond {
	var kept []cond
	seen := map[string]bool{}
	for _, p := range parts {
		switch {
		case p == absorbing:
			return absorbing
		case p == neutral || seen[p.text]:
		default:
			seen[p.text] = true
			kept = append(kept, p)
		}
	}
	switch len(kept) {
	case 0:
		return neutral
	case 1:
		return kept[0]
	}
	texts := make([]string, len(kept))
	for i, p := range kept {
		texts[i] = p.within(l)
	}
	return cond{strings.Join(texts, op), l}
}

func not(c cond) cond {
	switch c {
	case alwaysTrue:
		return alwaysFalse
	case alwaysFalse:
		return alwaysTrue
	}
	return cond{"!" + c.within(unary), unary}
}

// relate is "a op b" of two texts that are atoms.
func relate(a, op, b string) cond { return cond{a + " " + op + " " + b, relation} }

// call is "a.name(args)".
func call(a, name string, args ...string) cond {
	return cond{a + "." + name + "(" + strings.Join(args, ", ") + ")", atom}
}

// quote writes a CEL string; s must be UTF-8.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\r':
			b.WriteString(`\r`)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

func quoteAll(items []string) string {
	out := make([]string, len(items))
	for i, s := range items {
		out[i] = quote(s)
	}
	return "[" + strings.Join(out, ", ") + "]"
}
