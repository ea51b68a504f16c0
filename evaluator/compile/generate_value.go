package compile

import (
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/gyre-sec/gyre/evaluator/celenv"
	"github.com/gyre-sec/gyre/schemas/field"
)

func (x *generator) integer(n *node) intFunc {
	switch n.op {
	case opConst:
		v := n.num
		return func(*Machine) (int64, tri) { return v, no }
	case opField:
		get := n.field.Int
		return func(m *Machine) (int64, tri) {
			if v, ok := get(m.view); ok {
				return v, no
			}
			return field.AbsentInt, no
		}
	case opCond:
		c, a, b := x.term(n.args[0]), x.integer(n.args[1]), x.integer(n.args[2])
		return func(m *Machine) (int64, tri) {
			switch v := m.term(&c); v {
			case yes:
				return a(m)
			case no:
				return b(m)
			default:
				return 0, v
			}
		}
	case opSize:
		return x.size(n.args[0])
	case opToInt:
		get := x.str(n.args[0])
		return func(m *Machine) (int64, tri) {
			s, err := get(m)
			if err != no {
				return 0, err
			}
			v, bad := strconv.ParseInt(s, 10, 64)
			if bad != nil {
				return 0, errConvert
			}
			return v, no
		}
	case opNeg:
		get := x.integer(n.args[0])
		return func(m *Machine) (int64, tri) {
			v, err := get(m)
			if err == no && v == math.MinInt64 {
				err = errOverflow
			}
			return -v, err
		}
	}
	a, b, do := x.integer(n.args[0]), x.integer(n.args[1]), arithmetic(n.op)
	return func(m *Machine) (int64, tri) {
		v, err := a(m)
		if err != no {
			return 0, err
		}
		w, err := b(m)
		if err != no {
			return 0, err
		}
		return do(v, w)
	}
}

func (x *generator) size(n *node) intFunc {
	if n.typ == tList {
		get := x.strList(n)
		return func(m *Machine) (int64, tri) {
			l, err := get(m)
			return int64(len(l)), err
		}
	}
	get := x.str(n)
	return func(m *Machine) (int64, tri) {
		s, err := get(m)
		return int64(utf8.RuneCountInString(s)), err
	}
}

func (x *generator) str(n *node) strFunc {
	if slot, ok := x.textSlot(n); ok {
		return func(m *Machine) (string, tri) { return m.text(slot), no }
	}
	switch n.op {
	case opConst:
		s := n.str
		return func(*Machine) (string, tri) { return s, no }
	case opVar:
		i := n.num
		return func(m *Machine) (string, tri) { return m.locals[i], no }
	case opField:
		get := n.field.Str
		return func(m *Machine) (string, tri) {
			if s, ok := get(m.view); ok {
				return s, no
			}
			return "", no
		}
	case opCond:
		c, a, b := x.term(n.args[0]), x.str(n.args[1]), x.str(n.args[2])
		return func(m *Machine) (string, tri) {
			switch v := m.term(&c); v {
			case yes:
				return a(m)
			case no:
				return b(m)
			default:
				return "", v
			}
		}
	case opConcat:
		a, b := x.str(n.args[0]), x.str(n.args[1])
		return func(m *Machine) (string, tri) {
			s, err := a(m)
			if err != no {
				return "", err
			}
			t, err := b(m)
			return s + t, err
		}
	case opToStr:
		return x.toText(n.args[0])
	case opBasename:
		return x.mapped(n, celenv.Basename)
	case opLower:
		return x.mapped(n, strings.ToLower)
	case opDecode:
		return x.mapped(n, celenv.DecodeBase64)
	case opIndex, opAncestor:
		return x.element(n)
	case opValueOf:
		find := x.valueOf(n)
		return func(m *Machine) (string, tri) {
			s, _, err := find(m)
			return s, err
		}
	}
	panic("compile: " + n.String() + " is no string")
}

func (x *generator) mapped(n *node, f func(string) string) strFunc {
	get := x.str(n.args[0])
	return func(m *Machine) (string, tri) {
		s, err := get(m)
		return f(s), err
	}
}

func (x *generator) toText(n *node) strFunc {
	if n.typ == tBool {
		t := x.term(n)
		return func(m *Machine) (string, tri) {
			v := m.term(&t)
			if v > yes {
				return "", v
			}
			return strconv.FormatBool(v == yes), no
		}
	}
	get := x.integer(n)
	return func(m *Machine) (string, tri) {
		v, err := get(m)
		return strconv.FormatInt(v, 10), err
	}
}

func (x *generator) element(n *node) strFunc {
	list, at := x.strList(n.args[0]), x.integer(n.args[1])
	outside := errIndex
	if n.op == opAncestor {
		outside = no
	}
	return func(m *Machine) (string, tri) {
		l, err := list(m)
		if err != no {
			return "", err
		}
		i, err := at(m)
		if err != no {
			return "", err
		}
		if i < 0 || i >= int64(len(l)) {
			return "", outside
		}
		return l[i], no
	}
}

// valueOf finds an element of a list of name=value.
func (x *generator) valueOf(n *node) func(*Machine) (string, bool, tri) {
	list, name := x.strList(n.args[0]), x.str(n.args[1])
	return func(m *Machine) (string, bool, tri) {
		l, err := list(m)
		if err != no {
			return "", false, err
		}
		key, err := name(m)
		if err != no {
			return "", false, err
		}
		v, ok := celenv.ValueOf(l, key)
		return v, ok, no
	}
}

func (x *generator) strList(n *node) listFunc {
	switch n.op {
	case opListConst:
		l := n.strs
		return func(*Machine) ([]string, tri) { return l, no }
	case opField:
		get := n.field.List
		return func(m *Machine) ([]string, tri) {
			if l, ok := get(m.view); ok {
				return l, no
			}
			return nil, no
		}
	case opCond:
		c, a, b := x.term(n.args[0]), x.strList(n.args[1]), x.strList(n.args[2])
		return func(m *Machine) ([]string, tri) {
			switch v := m.term(&c); v {
			case yes:
				return a(m)
			case no:
				return b(m)
			default:
				return nil, v
			}
		}
	}
	panic("compile: " + n.String() + " is no list")
}
