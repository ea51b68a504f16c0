package translate

import (
	"errors"
	"fmt"
	"math"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/gyre-sec/gyre/evaluator/falco/vocab"
	"github.com/gyre-sec/gyre/schemas/field"
)

// widths are the bits of the unsigned types, negative for signed ones.
var widths = map[vocab.Type]int{
	"int8": -8, "int16": -16, "int32": -32, "int64": -64, "fd": -64, "errno": -64, "pid": -64,
	"uint8": 8, "flags8": 8, "enumflags8": 8, "uint16": 16, "flags16": 16, "enumflags16": 16,
	"uint32": 32, "flags32": 32, "mode": 32, "enumflags32": 32, "uid": 32, "gid": 32,
	"double": -32, "uint64": 64, "reltime": 64, "abstime": 64,
}

// bigger stands for unsigned constants above every int64.
const bigger = math.MaxInt64

// parseNumber reads a constant of a type; big tells that it lies above the numbers that gyre has.
func parseNumber(typ vocab.Type, s string) (n int64, big bool, err error) {
	if typ == vocab.Port {
		p, err := port(s)
		return p, false, err
	}
	width, ok := widths[typ]
	if !ok {
		width = 64
	}
	fail := fmt.Errorf("filter error: %q is no %s", s, typ)
	digits, negative := strings.CutPrefix(strings.TrimPrefix(s, "+"), "-")
	base := 10
	if hex, ok := strings.CutPrefix(strings.ToLower(digits), "0x"); ok {
		digits, base = hex, 16
	}
	if width < 0 {
		if negative {
			digits = "-" + digits
		}
		if n, err = strconv.ParseInt(digits, base, -width); err != nil {
			return 0, false, fail
		}
		return n, false, nil
	}
	u, err := strconv.ParseUint(digits, base, width)
	if err != nil {
		return 0, false, fail
	}
	if negative { // wraps around
		u = -u & (math.MaxUint64 >> (64 - width))
	}
	return int64(min(u, bigger)), u > bigger, nil
}

// port is a number or the name of a service.
func port(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	if strings.Trim(s, "0123456789") == "" {
		n, err := strconv.ParseUint(s, 10, 16)
		if err != nil {
			return 0, fmt.Errorf("filter error: %s is no port", s)
		}
		return int64(n), nil
	}
	for _, network := range []string{"tcp", "udp"} {
		if n, err := net.LookupPort(network, s); err == nil {
			return int64(n), nil
		}
	}
	return 0, errors.New("unrecognized protocol " + s)
}

// number compares an integer.
func (t *translator) number(v value, op string, values []string) (cond, error) {
	if op == "in" {
		return numbers(v, values)
	}
	n, big, err := parseNumber(v.typ, values[0])
	if err != nil {
		return cond{}, err
	}
	if isID(v) && op != "=" && op != "!=" {
		return orderedID(v, op, n), nil
	}
	n = identity(v, n)
	if v.name == "evt.num" { // which begins with 1, so that rules use evt.num = 0 for "never"
		if c, ok := ofNum(op, n); ok {
			return c, nil
		}
	}
	if big {
		switch op {
		case "=", ">", ">=":
			return alwaysFalse, nil
		default:
			return v.there(), nil
		}
	}
	celOp := op
	if op == "=" {
		celOp = "=="
	}
	return v.guarded(relate(v.text, celOp, strconv.FormatInt(n, 10)), compare(field.AbsentInt, op, n)), nil
}

// ofNum decides checks of evt.num that have the same result for all numbers from 1.
func ofNum(op string, n int64) (cond, bool) {
	switch {
	case op == "=" && n == 0, op == "<" && n <= 1, op == "<=" && n == 0:
		return alwaysFalse, true
	case op == "!=" && n == 0, op == ">" && n == 0, op == ">=" && n <= 1:
		return alwaysTrue, true
	}
	return cond{}, false
}

// isID tells whether a value is the id of a user or group, which is unsigned in Falco.
func isID(v value) bool {
	return v.typ == "uint32" && (strings.HasPrefix(v.name, "user.") || strings.HasPrefix(v.name, "group."))
}

// identity turns Falco's number for no user, 4294967295, into gyre's, -1.
func identity(v value, n int64) int64 {
	if n == math.MaxUint32 && isID(v) {
		return -1
	}
	return n
}

// orderedID is < and its like for an id, where no user, -1, is the greatest.
func orderedID(v value, op string, n int64) cond {
	nobody := relate(v.text, "==", "-1")
	c := relate(v.text, op, strconv.FormatInt(n, 10))
	switch {
	case !compare(math.MaxUint32, op, n):
		return v.guarded(and(c, not(nobody)), true)
	case n == math.MaxUint32 && op == ">=":
		return v.guarded(nobody, true)
	case op == "<=":
		return v.there()
	}
	return v.guarded(or(c, nobody), true)
}

func compare(a int64, op string, b int64) bool {
	switch op {
	case "=":
		return a == b
	case "!=":
		return a != b
	case "<":
		return a < b
	case "<=":
		return a <= b
	case ">":
		return a > b
	default:
		return a >= b
	}
}

func numbers(v value, values []string) (cond, error) {
	list := make([]int64, 0, len(values))
	for _, s := range values {
		n, big, err := parseNumber(v.typ, s)
		if err != nil {
			return cond{}, err
		}
		if !big {
			list = append(list, identity(v, n))
		}
	}
	return inNumbers(v, list), nil
}

func inNumbers(v value, list []int64) cond {
	if len(list) == 0 {
		return alwaysFalse
	}
	c := relate(v.text, "==", strconv.FormatInt(list[0], 10))
	if len(list) > 1 {
		texts := make([]string, len(list))
		for i, n := range list {
			texts[i] = strconv.FormatInt(n, 10)
		}
		c = relate(v.text, "in", "["+strings.Join(texts, ", ")+"]")
	}
	return v.guarded(c, slices.Contains(list, field.AbsentInt))
}

// numberText compares a number of the catalogue that Falco has as decimal text.
func (t *translator) numberText(v value, op string, values []string) cond {
	var list []int64
	for _, s := range values {
		if n, err := strconv.ParseInt(s, 10, 64); err == nil && strconv.FormatInt(n, 10) == s {
			list = append(list, n)
		}
	}
	if op == "!=" {
		return and(and(v.guards...), not(inNumbers(value{text: v.text, plain: true}, list)))
	}
	return inNumbers(v, list)
}

func boolean(v value, op string, values []string) (cond, error) {
	if v.cel != field.Bool {
		return alwaysFalse, fmt.Errorf("field %s is a boolean in Falco and not here", v.name)
	}
	yes, no := false, false
	for _, s := range values {
		switch s {
		case "true":
			yes = true
		case "false":
			no = true
		default:
			return cond{}, fmt.Errorf("filter error: unrecognized boolean value %s", s)
		}
	}
	if op == "!=" {
		yes, no = no, yes
	}
	is := cond{v.text, atom}
	switch {
	case yes && no:
		return v.there(), nil
	case yes:
		return v.guarded(is, false), nil
	case no:
		return v.guarded(not(is), true), nil
	}
	return alwaysFalse, nil
}
