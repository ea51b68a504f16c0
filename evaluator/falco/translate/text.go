package translate

import (
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/gyre-sec/gyre/evaluator/celenv"
	"github.com/gyre-sec/gyre/evaluator/falco/vocab"
	"github.com/gyre-sec/gyre/schemas/field"
)

// member is "v in (items)".
func (t *translator) member(v value, items []string) cond {
	var parts []cond
	if len(items) > 0 {
		parts = t.lists(v.text, items)
	}
	return v.guarded(or(parts...), slices.Contains(items, ""))
}

// manyItems is how many items of a list may stand in a condition if there can be a list for them.
const manyItems = 200

// lists splits items into runs that are lists with a name of their own, and the rest.
func (t *translator) lists(text string, items []string) []cond {
	var parts []cond
	var rest []string
	for i := 0; i < len(items); {
		name, n := "", 0
		if t.scope.List != nil {
			name, n = t.scope.List(items[i:])
		}
		if n < 2 {
			rest = append(rest, items[i])
			i++
			continue
		}
		parts = append(parts, relate(text, "in", name))
		i += n
	}
	switch n := len(rest); {
	case n == 0:
	case n == 1:
		parts = append(parts, relate(text, "==", quote(rest[0])))
	case n > manyItems && t.scope.NewList != nil && !slices.Contains(rest, ""):
		parts = append(parts, relate(text, "in", t.scope.NewList(rest)))
	default:
		parts = append(parts, relate(text, "in", quoteAll(rest)))
	}
	return parts
}

// text compares a string.
func (t *translator) text(v value, op string, values []string) (cond, error) {
	if v.cel == field.Int && (op == "=" || op == "in" || op == "!=") {
		return t.numberText(v, op, values), nil
	}
	v = asText(v)
	for i, s := range values { // bytes of a buffer, which no CEL string can hold
		if utf8.ValidString(s) {
			continue
		}
		hexOp, ok := map[string]string{"contains": "bcontains", "startswith": "bstartswith"}[op]
		if !ok {
			return cond{}, fmt.Errorf("operator %s with bytes that are not UTF-8 is not supported; use bcontains", op)
		}
		op, values = hexOp, []string{hex.EncodeToString([]byte(values[i]))}
	}
	if op == "in" {
		return t.member(v, values), nil
	}
	if op == "pmatch" {
		if len(values) == 0 {
			return alwaysFalse, nil
		}
		if len(values) == 1 {
			return v.guarded(call(v.text, "pmatch", quote(values[0])), false), nil
		}
		return v.guarded(call(v.text, "pmatch", quoteAll(values)), false), nil
	}
	c, hazard, err := textOp(v.text, op, values[0])
	if err != nil {
		return cond{}, err
	}
	return v.guarded(c, hazard), nil
}

// textOp is one comparison of a string; hazard tells whether an empty string satisfies it.
func textOp(text, op, s string) (c cond, hazard bool, err error) {
	switch op {
	case "=":
		return relate(text, "==", quote(s)), s == "", nil
	case "!=":
		return relate(text, "!=", quote(s)), s != "", nil
	case "<", "<=", ">", ">=":
		return relate(text, op, quote(s)), true, nil
	case "contains":
		return call(text, "contains", quote(s)), s == "", nil
	case "startswith":
		return call(text, "startsWith", quote(s)), s == "", nil
	case "endswith":
		return call(text, "endsWith", quote(s)), s == "", nil
	case "icontains":
		return call(text, "icontains", quote(s)), s == "", nil
	case "glob":
		name := "fnmatch"
		if !strings.ContainsAny(s, `[\`) {
			name = "glob" // means the same then
		}
		return call(text, name, quote(s)), celenv.FNMatch("", s), nil
	case "iglob":
		return call(text, "ifnmatch", quote(s)), celenv.FNMatch("", s), nil
	case "regex":
		pattern, empty, err := regex(s)
		return call(text, "matches", quote(pattern)), empty, err
	case "bcontains", "bstartswith":
		if !isHex(s) {
			return cond{}, false, fmt.Errorf("filter error: the value of %s must be bytes in hexadecimal, not %q", op, s)
		}
		name := map[string]string{"bcontains": "bcontains", "bstartswith": "bstartsWith"}[op]
		return call(text, name, quote(s)), s == "", nil
	}
	return cond{}, false, fmt.Errorf("operator %s does not fit a string", op)
}

// regex anchors a pattern at both ends, as Falco does. Falco's patterns are extended POSIX ones.
func regex(s string) (pattern string, matchesEmpty bool, err error) {
	re, err := regexp.CompilePOSIX(s)
	if err != nil {
		return "", false, fmt.Errorf("invalid regex pattern: %w", err)
	}
	re.Longest()
	pattern = "^(?:" + s + ")$"
	if strings.ContainsAny(s, "^$") { // they match at every line there
		pattern = `\A(?m:` + s + `)\z`
	}
	full, err := regexp.Compile(pattern)
	if err != nil {
		return "", false, fmt.Errorf("invalid regex pattern: %w", err)
	}
	return pattern, full.MatchString(""), nil
}

func isHex(s string) bool {
	for i := range len(s) {
		if !strings.ContainsRune("0123456789abcdefABCDEF", rune(s[i])) {
			return false
		}
	}
	return len(s)%2 == 0
}

// fixed decides a check of a constant.
func fixed(s, op, mod string, values []string) (cond, error) {
	holds := func(value string) (bool, error) {
		switch op {
		case "=", "in", "intersects":
			return s == value, nil
		case "!=":
			return s != value, nil
		case "contains":
			return strings.Contains(s, value), nil
		case "icontains":
			return celenv.ContainsFold(s, value), nil
		case "startswith":
			return strings.HasPrefix(s, value), nil
		case "endswith":
			return strings.HasSuffix(s, value), nil
		case "glob":
			return celenv.FNMatch(s, value), nil
		case "iglob":
			return celenv.FNMatchFold(s, value), nil
		case "pmatch":
			return celenv.PathMatch(s, value), nil
		case "regex":
			p, _, err := regex(value)
			if err != nil {
				return false, err
			}
			return regexp.MustCompile(p).MatchString(s), nil
		case "<":
			return s < value, nil
		case "<=":
			return s <= value, nil
		case ">":
			return s > value, nil
		default:
			return s >= value, nil
		}
	}
	n := 0
	for _, x := range values {
		ok, err := holds(x)
		if err != nil {
			return cond{}, err
		}
		if ok {
			n++
		}
	}
	yes := n > 0
	switch mod {
	case "oneof":
		yes = n == 1
	case "allof":
		yes = n > 0 && n == len(values)
	}
	if yes {
		return alwaysTrue, nil
	}
	return alwaysFalse, nil
}

// listCheck compares a field that has several values: in means that each is listed, intersects that one is.
func (t *translator) listCheck(v value, op string, values []string) (cond, error) {
	if v.cel != field.List {
		return alwaysFalse, fmt.Errorf("field %s is a list in Falco and text here", v.name)
	}
	if len(values) == 0 {
		return alwaysFalse, nil
	}
	one := value{text: "x", cel: field.String, plain: true, typ: vocab.String}
	macro := "exists"
	if op == "in" {
		macro = "all"
	}
	c := call(v.text, macro, "x", t.member(one, values).text)
	return v.guarded(c, op == "in"), nil
}
