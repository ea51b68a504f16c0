package translate

import (
	"fmt"

	"github.com/gyre-sec/gyre/evaluator/falco/vocab"
	"github.com/gyre-sec/gyre/schemas/field"
)

// fields compares a value with another one of the event.
func (t *translator) fields(l value, op string, r value) (cond, error) {
	switch {
	case op == "pmatch" || op == "regex":
		return cond{}, fmt.Errorf("operator '%s' does not support fields on the right-hand side", op)
	case l.typ == vocab.IPNet:
		return cond{}, fmt.Errorf("field %s does not support fields on the right-hand side", l.name)
	case l.noRight:
		return cond{}, fmt.Errorf("field %s does not support fields on the right-hand side", l.name)
	case r.noRight:
		return cond{}, fmt.Errorf("field %s cannot be used on the right-hand side", r.name)
	case l.typ != r.typ:
		return cond{}, fmt.Errorf("the types of %s (%s) and %s (%s) differ", l.name, l.typ, r.name, r.typ)
	case l.list != r.list && op != "in" && op != "intersects":
		return cond{}, fmt.Errorf("one of %s and %s is a list, the other is not", l.name, r.name)
	}
	if op == "==" {
		op = "="
	}
	if l.cases != nil {
		return l.eachCase(func(c value) (cond, error) { return t.fields(c, op, r) }), nil
	}
	if r.cases != nil {
		return r.eachCase(func(c value) (cond, error) { return t.fields(l, op, c) }), nil
	}
	both := and(l.there(), r.there())
	if both == alwaysFalse {
		return both, nil
	}
	if l.typ.Group() == vocab.Text {
		l, r = asText(l), asText(r)
	}
	if l.cel != r.cel && !l.list && !r.list {
		return cond{}, fmt.Errorf("%s and %s are not of the same type in gyre", l.name, r.name)
	}
	c, err := fieldOp(l, op, r)
	return and(both, c), err
}

func fieldOp(l value, op string, r value) (cond, error) {
	switch {
	case l.list && r.list && op == "in":
		return call(l.text, "all", "x", "x in "+r.text), nil
	case l.list && r.list:
		return call(l.text, "exists", "x", "x in "+r.text), nil
	case l.list:
		return call(l.text, map[string]string{"in": "all", "intersects": "exists"}[op], "x", "x == "+r.text), nil
	case r.list:
		return relate(l.text, "in", r.text), nil
	}
	names := map[string]string{
		"contains": "contains", "icontains": "icontains", "startswith": "startsWith", "endswith": "endsWith", "glob": "fnmatch", "iglob": "ifnmatch",
	}
	switch op {
	case "=", "in", "intersects":
		return relate(l.text, "==", r.text), nil
	case "!=", "<", "<=", ">", ">=":
		if l.cel == field.Bool && op != "!=" {
			return cond{}, fmt.Errorf("operator %s does not fit booleans", op)
		}
		return relate(l.text, op, r.text), nil
	}
	if n, ok := names[op]; ok && l.cel == field.String {
		return call(l.text, n, r.text), nil
	}
	return cond{}, fmt.Errorf("operator %s between fields is not supported here", op)
}
