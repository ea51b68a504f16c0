package falco

import (
	"github.com/gyre-sec/gyre/evaluator/falco/filter"
	"github.com/gyre-sec/gyre/evaluator/falco/vocab"
)

// manyTypes is how many event codes a condition may hold for without a warning.
const manyTypes = 100

// codeSet is a set of Falco's event codes.
type codeSet []bool

// codesOf returns the codes for which a macro, or its negation, can hold.
type codesOf func(name string, negated bool) codeSet

// typeCount is for how many event codes a condition can hold, as Falco counts them: checks of
// evt.type and of numbers of events that cannot be restrict it, everything else does not.
func typeCount(e filter.Expr, macro codesOf) int {
	n := 0
	for _, in := range possible(e, false, macro) {
		if in {
			n++
		}
	}
	return n
}

func every(in bool) codeSet {
	s := make(codeSet, vocab.Codes())
	for i := range s {
		s[i] = in
	}
	return s
}

// possible pushes negations down to the checks, as De Morgan says.
func possible(e filter.Expr, negated bool, macro codesOf) codeSet {
	switch x := e.(type) {
	case *filter.And:
		return combine(x.Parts, negated, !negated, macro)
	case *filter.Or:
		return combine(x.Parts, negated, negated, macro)
	case *filter.Not:
		return possible(x.Part, !negated, macro)
	case *filter.Macro:
		return macro(x.Name, negated)
	}
	s, restricts := checkCodes(e.(*filter.Check))
	if restricts && negated {
		for i := range s {
			s[i] = !s[i]
		}
	}
	return s
}

func combine(parts []filter.Expr, negated, and bool, macro codesOf) codeSet {
	out := every(and)
	for _, p := range parts {
		for i, in := range possible(p, negated, macro) {
			if and {
				out[i] = out[i] && in
			} else {
				out[i] = out[i] || in
			}
		}
	}
	return out
}

func checkCodes(c *filter.Check) (s codeSet, restricts bool) {
	f, ok := c.Left.(*filter.Field)
	if !ok || c.Mod != "" {
		return every(true), false
	}
	values := literals(c.Right)
	switch f.Name {
	case "evt.num":
		if n := never(c.Op, values); n != 0 {
			return every(n > 0), true
		}
	case "evt.type", "syscall.type":
		switch c.Op {
		case "=", "==", "in", "!=":
			out := every(false)
			for _, v := range values {
				for _, code := range vocab.CodesOf(v) {
					out[code] = true
				}
			}
			if c.Op == "!=" {
				for i := range out {
					out[i] = !out[i]
				}
			}
			return out, true
		}
	}
	return every(true), false
}

// never is -1 for a check of evt.num that never holds, 1 for one that always does, as numbers begin with 1.
func never(op string, values []string) int {
	zero := len(values) == 1 && values[0] == "0"
	one := len(values) == 1 && values[0] == "1"
	switch {
	case zero && (op == "=" || op == "==" || op == "in" || op == "<" || op == "<="), one && op == "<":
		return -1
	case zero && (op == "!=" || op == ">" || op == ">="), one && op == ">=":
		return 1
	}
	return 0
}

func literals(o filter.Operand) []string {
	switch x := o.(type) {
	case *filter.Text:
		return []string{x.Value}
	case *filter.List:
		var out []string
		for _, i := range x.Items {
			if t, ok := i.(*filter.Text); ok {
				out = append(out, t.Value)
			}
		}
		return out
	}
	return nil
}
