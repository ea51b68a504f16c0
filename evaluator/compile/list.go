package compile

import (
	"strings"
	"unicode/utf8"
	"unsafe"

	"github.com/gyre-sec/gyre/evaluator/celenv"
)

// operands evaluates a list and strings after it; the number of an error, if there is one, is that of the first.
type operands struct {
	list listFunc
	strs []strFunc
}

func (x *generator) operands(n *node) operands {
	o := operands{list: x.strList(n.args[0])}
	for _, a := range n.args[1:] {
		o.strs = append(o.strs, x.str(a))
	}
	return o
}

func (o *operands) get(m *Machine) (list []string, a, b string, err tri) {
	if list, err = o.list(m); err != no {
		return nil, "", "", err
	}
	if len(o.strs) > 0 {
		if a, err = o.strs[0](m); err != no {
			return nil, "", "", err
		}
	}
	if len(o.strs) > 1 {
		b, err = o.strs[1](m)
	}
	return list, a, b, err
}

// ofList is a string made of a list.
func (x *generator) ofList(n *node) strFunc {
	o, what := x.operands(n), n.op
	return func(m *Machine) (string, tri) {
		list, a, b, err := o.get(m)
		if err != no {
			return "", err
		}
		var s string
		switch what {
		case opJoin:
			s = strings.Join(list, a)
		case opValueOf:
			s, _ = celenv.ValueOf(list, a)
		default:
			s, _ = celenv.OptValue(list, a, b)
		}
		return s, no
	}
}

// listTest is a question about a list, or whether a string is Base64.
func (x *generator) listTest(n *node) boolFunc {
	if n.op == opIsBase64 {
		get := x.str(n.args[0])
		return func(m *Machine) tri {
			s, err := get(m)
			if err != no {
				return err
			}
			return truth(celenv.IsBase64(s))
		}
	}
	o, what := x.operands(n), n.op
	return func(m *Machine) tri {
		list, a, b, err := o.get(m)
		if err != no {
			return err
		}
		var found bool
		if what == opHasValue {
			_, found = celenv.ValueOf(list, a)
		} else {
			_, found = celenv.OptValue(list, a, b)
		}
		return truth(found)
	}
}

// listOf is a list made of a list, nil if n is none.
func (x *generator) listOf(n *node) listFunc {
	var each func(string) string
	switch n.op {
	case opAncestors:
		get := x.strList(n.args[0])
		return func(m *Machine) ([]string, tri) {
			l, err := get(m)
			return l[min(1, len(l)):], err
		}
	case opGetOpt:
		o := x.operands(n)
		return func(m *Machine) ([]string, tri) {
			list, spec, _, err := o.get(m)
			if err != no {
				return nil, err
			}
			return celenv.GetOpt(list, spec), no
		}
	case opLowerEach:
		each = celenv.LowerASCII
	case opUpperEach:
		each = celenv.UpperASCII
	default:
		return nil
	}
	get := x.strList(n.args[0])
	return func(m *Machine) ([]string, tri) {
		l, err := get(m)
		if err != no {
			return nil, err
		}
		out := make([]string, len(l))
		for i, s := range l {
			out[i] = each(s)
		}
		return out, no
	}
}

// scratch is a string that is tested at once and then not needed: it is made in memory of the machine. ok is false for
// what needs no memory, or needs the same memory for its own parts.
func (x *generator) scratch(n *node) (get strFunc, ok bool) {
	switch n.op {
	case opJoin:
		list, sep := n.args[0], n.args[1]
		if list.op == opAncestors {
			list = list.args[0]
		}
		if list.op != opField || !sep.strConst() {
			return nil, false
		}
		all, between := x.strList(n.args[0]), sep.str
		return func(m *Machine) (string, tri) {
			l, err := all(m)
			if err != no {
				return "", err
			}
			m.line = m.line[:0]
			for i, s := range l {
				if i > 0 {
					m.line = append(m.line, between...)
				}
				m.line = append(m.line, s...)
			}
			return unsafe.String(unsafe.SliceData(m.line), len(m.line)), no
		}, true
	case opLower:
		of := x.str(n.args[0])
		return func(m *Machine) (string, tri) {
			s, err := of(m)
			if err != no {
				return "", err
			}
			for i := range len(s) {
				if s[i] >= utf8.RuneSelf {
					return strings.ToLower(s), no
				}
			}
			return m.lower(s), no
		}, true
	}
	return nil, false
}
