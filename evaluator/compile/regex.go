package compile

import (
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"unicode/utf8"
)

// regexAny tells whether one of the expressions, which are valid, is found in the text.
func regexAny(pats []string) func(string) bool {
	if len(pats) == 1 {
		return compileRegex(pats[0])
	}
	all := make([]func(string) bool, len(pats))
	for i, p := range pats {
		all[i] = compileRegex(p)
	}
	return func(s string) bool {
		for _, f := range all {
			if f(s) {
				return true
			}
		}
		return false
	}
}

// compileRegex runs the regular expression only if the text has the literal that every match holds, and not at
// all if the expression is nothing but a literal, perhaps tied to an end of the text.
func compileRegex(pat string) func(string) bool {
	re, err := regexp.Compile(pat)
	if err != nil {
		return func(string) bool { return false } // celenv refuses it before
	}
	tree, err := syntax.Parse(pat, syntax.Perl)
	if err != nil {
		return re.MatchString
	}
	tree = tree.Simplify()
	parts := []*syntax.Regexp{tree}
	for len(parts) == 1 && (parts[0].Op == syntax.OpConcat || parts[0].Op == syntax.OpCapture) {
		parts = parts[0].Sub
	}
	begin, end := false, false
	if len(parts) > 0 && parts[0].Op == syntax.OpBeginText {
		begin, parts = true, parts[1:]
	}
	if len(parts) > 0 && parts[len(parts)-1].Op == syntax.OpEndText {
		end, parts = true, parts[:len(parts)-1]
	}
	lit, leading, whole := required(parts)
	switch {
	case lit == "":
		return re.MatchString
	case whole && begin && end:
		return func(s string) bool { return s == lit }
	case whole && begin:
		return func(s string) bool { return strings.HasPrefix(s, lit) }
	case whole && end:
		return func(s string) bool { return strings.HasSuffix(s, lit) }
	case whole:
		return func(s string) bool { return strings.Contains(s, lit) }
	case begin && leading:
		return func(s string) bool { return strings.HasPrefix(s, lit) && re.MatchString(s) }
	}
	return func(s string) bool { return strings.Contains(s, lit) && re.MatchString(s) }
}

// required is the longest literal that the concatenation of parts always holds; whether it comes first, and whether
// it is everything.
func required(parts []*syntax.Regexp) (lit string, leading, whole bool) {
	for i, p := range parts {
		s := literalOf(p)
		if len(s) > len(lit) {
			lit, leading = s, i == 0 && p.Op == syntax.OpLiteral
		}
	}
	return lit, leading, len(parts) == 1 && parts[0].Op == syntax.OpLiteral && lit != ""
}

func literalOf(p *syntax.Regexp) string {
	switch p.Op {
	case syntax.OpLiteral:
		if p.Flags&syntax.FoldCase != 0 {
			return ""
		}
		if slices.Contains(p.Rune, utf8.RuneError) { // also matches bytes that are not UTF-8
			return ""
		}
		return string(p.Rune)
	case syntax.OpCapture, syntax.OpPlus:
		return literalOf(p.Sub[0])
	case syntax.OpRepeat:
		if p.Min > 0 {
			return literalOf(p.Sub[0])
		}
	case syntax.OpConcat:
		s, _, _ := required(p.Sub)
		return s
	}
	return ""
}
