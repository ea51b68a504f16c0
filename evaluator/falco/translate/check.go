package translate

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/gyre-sec/gyre/evaluator/falco/filter"
	"github.com/gyre-sec/gyre/evaluator/falco/vocab"
	"github.com/gyre-sec/gyre/schemas/field"
)

func (t *translator) check(c *filter.Check) (cond, error) {
	t.at = c.At
	left, err := t.operand(c.Left)
	if err != nil {
		return cond{}, err
	}
	if err := gate(left, c.Op, c.Mod); err != nil {
		return cond{}, t.fail(c.At, err)
	}
	if c.Op == filter.Exists {
		return left.there(), nil
	}
	if call, ok := c.Right.(*filter.Call); ok {
		right, err := t.operand(call)
		if err != nil {
			return cond{}, err
		}
		b, err := t.fields(left, c.Op, right)
		if err != nil {
			return cond{}, t.fail(call.At, err)
		}
		return b, nil
	}
	values := constants(c.Right)
	op := c.Op
	if op == "==" {
		op = "="
	}
	b, err := t.constants(left, op, c.Mod, values)
	if err != nil {
		return cond{}, t.fail(c.Right.Pos(), err)
	}
	return b, nil
}

func constants(o filter.Operand) []string {
	if text, ok := o.(*filter.Text); ok {
		return []string{text.Value}
	}
	items := o.(*filter.List).Items
	out := make([]string, len(items))
	for i, x := range items {
		out[i] = x.(*filter.Text).Value
	}
	return out
}

// gates are the operators that fit each group of types, beside exists.
var gates = map[vocab.Group]map[string]bool{
	vocab.Text:    set("=", "==", "!=", "<", "<=", ">", ">=", "contains", "icontains", "in", "intersects", "startswith", "endswith", "glob", "iglob", "pmatch", "regex"),
	vocab.Number:  set("=", "==", "!=", "<", "<=", ">", ">=", "in", "intersects"),
	vocab.Boolean: set("=", "==", "!=", "in", "intersects"),
	vocab.Network: set("=", "==", "!=", "in", "intersects"),
	vocab.Buffer:  set("=", "==", "!=", "contains", "in", "intersects", "startswith", "endswith", "bcontains", "bstartswith"),
}

var groupNames = map[vocab.Group]string{
	vocab.Text: "string", vocab.Number: "numeric", vocab.Boolean: "boolean", vocab.Network: "ip address and network", vocab.Buffer: "buffer", vocab.Other: "such",
}

func set(words ...string) map[string]bool {
	m := map[string]bool{}
	for _, w := range words {
		m[w] = true
	}
	return m
}

// gate refuses operators that do not fit the type of the left side.
func gate(v value, op, mod string) error {
	g := v.typ.Group()
	switch {
	case op == filter.Exists:
		return nil
	case v.list:
		if op != "in" && op != "intersects" || mod != "" {
			return fmt.Errorf("filter error: '%s' operator not supported for list filters", op)
		}
		return nil
	case g == vocab.Other:
		return nil // the type depends on the event, so Falco checks nothing at load
	case !gates[g][op]:
		return fmt.Errorf("filter error: '%s' operator not supported for %s filters", op, groupNames[g])
	}
	return nil
}

// constants compares a value with constants.
func (t *translator) constants(v value, op, mod string, values []string) (cond, error) {
	if v.typ != vocab.Bytes {
		for _, s := range values {
			if !utf8.ValidString(s) || containsNUL(s) {
				return cond{}, errors.New("filter error: a value must be UTF-8 text without NUL bytes")
			}
		}
	}
	switch {
	case v.name == "evt.type" || v.name == "syscall.type":
		return t.types(v, op, mod, values)
	case v.constant != nil:
		return fixed(*v.constant, op, mod, values)
	}
	if op == "intersects" && !v.list {
		op = "in"
	}
	if v.absent {
		return alwaysFalse, t.validate(v, op, values)
	}
	if v.ends != nil {
		return t.ends(v, op, mod, values)
	}
	if v.cases != nil {
		return v.eachCase(func(c value) (cond, error) { return t.constants(c, op, mod, values) }), nil
	}
	if v.each {
		return t.eachAncestor(v, op, mod, values)
	}
	if mod != "" {
		return t.modified(v, op, mod, values)
	}
	return t.plainCheck(v, op, values)
}

func containsNUL(s string) bool {
	for i := range len(s) {
		if s[i] == 0 {
			return true
		}
	}
	return false
}

func (t *translator) plainCheck(v value, op string, values []string) (cond, error) {
	if v.list {
		return t.listCheck(v, op, values)
	}
	switch v.typ.Group() {
	case vocab.Number:
		if v.cel == field.String { // the catalogue has the digits
			v.text, v.cel, v.plain = "int("+v.text+")", field.Int, false
		}
		return t.number(v, op, values)
	case vocab.Boolean:
		return boolean(v, op, values)
	case vocab.Network:
		return t.address(v, op, values)
	default:
		return t.text(v, op, values)
	}
}

// validate checks the constants of a check whose field gyre does not have, as Falco would.
func (t *translator) validate(v value, op string, values []string) error {
	if v.list {
		return nil
	}
	v.absent, v.text, v.plain = false, "x", true
	switch v.typ.Group() {
	case vocab.Number:
		v.cel = field.Int
	case vocab.Boolean:
		v.cel = field.Bool
	default:
		v.cel = field.String
	}
	for _, s := range values {
		if _, err := t.plainCheck(v, op, []string{s}); err != nil {
			return err
		}
	}
	return nil
}

// ends compares both ends of a connection: one suffices, but != must hold for both.
func (t *translator) ends(v value, op, mod string, values []string) (cond, error) {
	if v.network && op == "in" && len(values) > 1 {
		values = values[:1] // Falco compares fd.net with the first network of a list only
		t.warnings = append(t.warnings, Warning{t.at, "fd.net in (...) looks at the first network only, as in Falco"})
	}
	var parts []cond
	for _, e := range v.ends {
		e.name, e.typ, e.network = v.name, v.typ, v.network
		if op == "!=" { // an end that is not known differs from everything
			e.guards = nil
		}
		c, err := t.constants(e, op, mod, values)
		if err != nil {
			return cond{}, err
		}
		parts = append(parts, c)
	}
	if op == "!=" {
		return and(v.there(), and(parts...)), nil
	}
	return or(parts...), nil
}

// eachAncestor holds if the check does for one of the processes above.
func (t *translator) eachAncestor(v value, op, mod string, values []string) (cond, error) {
	if mod == "" && (op == "=" || op == "in" && len(values) == 1) {
		return relate(quote(values[0]), "in", v.text), nil
	}
	one := value{name: v.name, typ: v.typ, text: "a", cel: field.String, plain: true}
	c, err := t.constants(one, op, mod, values)
	if err != nil || c == alwaysFalse {
		return c, err
	}
	return cond{v.text + ".exists(a, " + c.text + ")", atom}, nil
}
