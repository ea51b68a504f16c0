package filter

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Blanks separate words of a condition; spaces is the wider class that ends a bare word.
const (
	blanks = " \t\b\r\n"
	spaces = " \t\n\v\f\r"
)

// Operators by what may stand on their right side. A word must be followed by a blank
// where the table says so, as "contains" must and "in" need not.
var (
	numOps  = []string{"<=", "<", ">=", ">"}
	textOps = []string{"==", "=", "!=", "glob", "iglob", "contains", "icontains", "bcontains", "startswith", "bstartswith", "endswith", "regex"}
	listOps = []string{"intersects", "in", "pmatch"}
	mods    = []string{OneOf, AnyOf, AllOf}
	calls   = []string{"tolower", "toupper", "b64", "basename", "len", "join", "concat", "getopt"}
)

// Operators lists every operator, or only those that take a list.
func Operators(listOnly bool) []string {
	if listOnly {
		return append([]string{}, listOps...)
	}
	all := append([]string{Exists}, numOps...)
	return append(append(all, textOps...), listOps...)
}

// Modifiable tells whether an operator can be followed by oneof, anyof or allof.
func Modifiable(op string) bool {
	return slices.Contains(textOps, op)
}

func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }
func isDigit(c byte) bool  { return c >= '0' && c <= '9' }
func isWord(c byte) bool   { return isLetter(c) || isDigit(c) || c == '_' }

// The scanners return how many bytes at the beginning of s are such a token, 0 for none.

func identLen(s string) int {
	if s == "" || !isLetter(s[0]) {
		return 0
	}
	n := 1
	for n < len(s) && isWord(s[n]) {
		n++
	}
	return n
}

func fieldLen(s string) int {
	n := identLen(s)
	if n == 0 {
		return 0
	}
	for first := n; ; {
		more := 0
		if n < len(s) && s[n] == '.' {
			more = identLen(s[n+1:])
		}
		if more == 0 {
			if n == first {
				return 0
			}
			return n
		}
		n += 1 + more
	}
}

func bareLen(s string) int { return lenWithout(s, `()"'=,`+spaces) }

func argLen(s string) int { return lenWithout(s, `[]"'`+spaces) }

func lenWithout(s, stop string) int {
	if i := strings.IndexAny(s, stop); i >= 0 {
		return i
	}
	return len(s)
}

func hexLen(s string) int {
	if len(s) < 3 || s[0] != '0' || s[1] != 'x' && s[1] != 'X' {
		return 0
	}
	n := 2
	for n < len(s) && (isDigit(s[n]) || s[n] >= 'a' && s[n] <= 'f' || s[n] >= 'A' && s[n] <= 'F') {
		n++
	}
	if n == 2 {
		return 0
	}
	return n
}

func numLen(s string) int {
	n := 0
	if n < len(s) && (s[n] == '+' || s[n] == '-') {
		n++
	}
	start := n
	for n < len(s) && isDigit(s[n]) {
		n++
	}
	if n == start {
		return 0
	}
	if n < len(s) && s[n] == '.' {
		n++
		for n < len(s) && isDigit(s[n]) {
			n++
		}
	}
	if n+2 < len(s) && (s[n] == 'e' || s[n] == 'E') && (s[n+1] == '+' || s[n+1] == '-') && isDigit(s[n+2]) {
		n += 3
		for n < len(s) && isDigit(s[n]) {
			n++
		}
	}
	return n
}

// quotedLen is the length of a quoted string with its quotes, 0 if it does not end. A
// quote behind a backslash does not end it, whatever stands before the backslash.
func quotedLen(s string) int {
	if s == "" || s[0] != '\'' && s[0] != '"' {
		return 0
	}
	for i := 1; i < len(s); i++ {
		if s[i] == s[0] && s[i-1] != '\\' {
			return i + 1
		}
	}
	return 0
}

var escapes = map[byte]byte{'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t', ' ': '\\', '\\': '\\', '/': '/'}

// unquote returns the value of a quoted string, which is given with its quotes.
func unquote(s string) (string, error) {
	quote, in := s[0], s[1:len(s)-1]
	var b strings.Builder
	for i := 0; i < len(in); i++ {
		if in[i] != '\\' {
			b.WriteByte(in[i])
			continue
		}
		if i++; i == len(in) {
			break
		}
		c := in[i]
		if v, ok := escapes[c]; ok {
			b.WriteByte(v)
			continue
		}
		switch c {
		case '"', '\'':
			if c != quote {
				return "", fmt.Errorf(`\%c cannot be used inside of %c quotes`, c, quote)
			}
			b.WriteByte(c)
		case 'x':
			if i+2 >= len(in) {
				return "", fmt.Errorf(`\x must be followed by two hexadecimal digits`)
			}
			v, err := strconv.ParseUint(in[i+1:i+3], 16, 8)
			if err != nil {
				return "", fmt.Errorf(`\x must be followed by two hexadecimal digits, not %q`, in[i+1:i+3])
			}
			b.WriteByte(byte(v))
			i += 2
		default:
			return "", fmt.Errorf(`unknown escape \%c`, c)
		}
	}
	return b.String(), nil
}
