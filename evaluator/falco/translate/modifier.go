package translate

import (
	"fmt"
	"strings"

	"github.com/gyre-sec/gyre/evaluator/falco/filter"
	"github.com/gyre-sec/gyre/evaluator/falco/vocab"
	"github.com/gyre-sec/gyre/schemas/field"
)

// anyFunctions are those that take a list and hold if one of its items fits.
var anyFunctions = map[string]string{
	"contains": "containsAny", "startswith": "startsWithAny", "endswith": "endsWithAny", "icontains": "icontains",
	"bcontains": "bcontains", "bstartswith": "bstartsWith",
}

// modified is an operator with oneof, anyof or allof.
func (t *translator) modified(v value, op, mod string, values []string) (cond, error) {
	if v.typ.Group() == vocab.Network && op != "!=" {
		op = "="
	}
	switch {
	case len(values) == 0:
		return alwaysFalse, nil
	case len(values) == 1:
		return t.plainCheck(v, op, values)
	case op == "=" && mod == filter.AnyOf:
		return t.plainCheck(v, "in", values)
	case op == "=" && mod == filter.OneOf && v.typ.Group() == vocab.Text:
		return t.plainCheck(v, "in", once(values))
	case op == "!=" && mod == filter.AllOf:
		in, err := t.plainCheck(v, "in", values)
		return and(v.there(), not(in)), err
	}
	if fn := anyFunctions[op]; fn != "" && mod == filter.AnyOf && v.cel == field.String {
		if err := validHex(op, values); err != nil {
			return cond{}, err
		}
		hazard := false
		for _, s := range values {
			hazard = hazard || s == ""
		}
		return v.guarded(call(v.text, fn, quoteAll(values)), hazard), nil
	}
	parts := make([]cond, len(values))
	for i, s := range values {
		c, err := t.plainCheck(v, op, []string{s})
		if err != nil {
			return cond{}, err
		}
		parts[i] = c
	}
	switch mod {
	case filter.AnyOf:
		return or(parts...), nil
	case filter.AllOf:
		return and(parts...), nil
	}
	return exactlyOne(parts), nil
}

// once leaves the values that occur once: one that occurs twice is never equal to exactly one.
func once(values []string) []string {
	n := map[string]int{}
	for _, s := range values {
		n[s]++
	}
	var out []string
	for _, s := range values {
		if n[s] == 1 {
			out = append(out, s)
		}
	}
	return out
}

// exactlyOne holds if one part does and the others do not.
func exactlyOne(parts []cond) cond {
	if len(parts) == 2 {
		return relate(parts[0].within(sum), "!=", parts[1].within(sum))
	}
	texts := make([]string, len(parts))
	for i, p := range parts {
		texts[i] = p.text
	}
	return cond{"[" + strings.Join(texts, ", ") + "].exists_one(x, x)", atom}
}

func validHex(op string, values []string) error {
	if !strings.HasPrefix(op, "b") {
		return nil
	}
	for _, s := range values {
		if !isHex(s) {
			return fmt.Errorf("filter error: the value of %s must be bytes in hexadecimal, not %q", op, s)
		}
	}
	return nil
}
