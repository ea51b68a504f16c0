package compile

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/gyre-sec/gyre/evaluator/celenv"
	"github.com/gyre-sec/gyre/schemas/field"
)

type (
	boolFunc = func(*Machine) tri
	// intFunc, strFunc and listFunc return a value and no, or the number of an error.
	intFunc  = func(*Machine) (int64, tri)
	strFunc  = func(*Machine) (string, tri)
	listFunc = func(*Machine) ([]string, tri)
)

// generator makes closures of nodes, each once.
type generator struct {
	g     *graph
	p     *Program
	uses  []uint16 // by node id: how often the plan of one kind asks for it, at most
	terms map[*node]term
	texts map[*field.Field]int32
}

// memoCost is from what cost on a decision is kept.
const memoCost = 4

// term makes n ready to be used.
func (x *generator) term(n *node) term {
	if n.negated() {
		t := x.term(n.atom())
		t.neg = !t.neg
		return t
	}
	if t, ok := x.terms[n]; ok {
		return t
	}
	t := term{f: x.boolean(n)}
	switch {
	case n.free != 0 || n.op == opConst:
	case n.level <= levelRow:
		t.memo, t.slot = memoRow, int32(x.p.rowSlots)
		x.p.rowSlots++
	case n.cost > memoCost && int(n.id) < len(x.uses) && x.uses[n.id] > 1:
		t.memo, t.slot = memoEvent, int32(x.p.eventSlots)
		x.p.eventSlots++
	}
	x.terms[n] = t
	return t
}

// list makes the terms of && or || in their best order. Those about the process become one, which is decided once per row.
func (x *generator) list(o op, terms []*node) []term {
	var rows, rest []*node
	for _, t := range terms {
		if t.level <= levelRow && t.free == 0 {
			rows = append(rows, t)
		} else {
			rest = append(rest, t)
		}
	}
	if len(rows) > 1 && len(rest) > 0 {
		rows = []*node{x.g.junction(o, rows)}
	}
	var out []term
	for _, t := range order(append(rest, rows...), o == opAnd, nil) {
		out = append(out, x.term(t))
	}
	return out
}

// leaf makes the terms of a rule; if it is all about the process it is one term.
func (x *generator) leaf(terms []*node) []term {
	for _, t := range terms {
		if t.level > levelRow || t.free != 0 {
			return x.list(opAnd, terms)
		}
	}
	if len(terms) == 0 {
		return nil
	}
	return []term{x.term(x.g.and(terms...))}
}

func (x *generator) boolean(n *node) boolFunc {
	switch n.op {
	case opConst:
		v := tri(n.num)
		return func(*Machine) tri { return v }
	case opField:
		get := n.field.Bool
		return func(m *Machine) tri {
			v, ok := get(m.view)
			return truth(v && ok)
		}
	case opHas:
		return has(n.field)
	case opAnd:
		terms := x.list(opAnd, n.args)
		return func(m *Machine) tri { return m.all(terms) }
	case opOr:
		terms := x.list(opOr, n.args)
		return func(m *Machine) tri { return m.any(terms) }
	case opNot:
		t := x.term(n)
		return func(m *Machine) tri { return m.term(&t) }
	case opCond:
		c, a, b := x.term(n.args[0]), x.term(n.args[1]), x.term(n.args[2])
		return func(m *Machine) tri {
			switch v := m.term(&c); v {
			case yes:
				return m.term(&a)
			case no:
				return m.term(&b)
			default:
				return v
			}
		}
	case opEq, opLess, opLessEq:
		return x.compare(n)
	case opIntSet:
		return x.intSet(n)
	case opMatch:
		return x.match(n)
	case opDyn:
		return x.dynamic(n)
	case opLoop:
		return x.loop(n)
	}
	panic("compile: " + n.String() + " is not bool")
}

func truth(b bool) tri {
	if b {
		return yes
	}
	return no
}

func has(f *field.Field) boolFunc {
	switch f.Type {
	case field.Int:
		return func(m *Machine) tri { _, ok := f.Int(m.view); return truth(ok) }
	case field.Bool:
		return func(m *Machine) tri { _, ok := f.Bool(m.view); return truth(ok) }
	case field.List:
		return func(m *Machine) tri { _, ok := f.List(m.view); return truth(ok) }
	}
	return func(m *Machine) tri { _, ok := f.Str(m.view); return truth(ok) }
}

// verdict makes -1, 0 or 1 of two values the answer to n's question.
func verdict(n *node) func(int) tri {
	switch n.op {
	case opEq:
		return func(c int) tri { return truth(c == 0) }
	case opLess:
		return func(c int) tri { return truth(c < 0) }
	}
	return func(c int) tri { return truth(c <= 0) }
}

func (x *generator) compare(n *node) boolFunc {
	answer := verdict(n)
	switch n.args[0].typ {
	case tInt:
		return x.compareInt(n)
	case tStr:
		a, b := x.str(n.args[0]), x.str(n.args[1])
		return func(m *Machine) tri {
			s, err := a(m)
			if err != no {
				return err
			}
			t, err := b(m)
			if err != no {
				return err
			}
			return answer(strings.Compare(s, t))
		}
	case tList:
		a, b := x.strList(n.args[0]), x.strList(n.args[1])
		return func(m *Machine) tri {
			s, err := a(m)
			if err != no {
				return err
			}
			t, err := b(m)
			if err != no {
				return err
			}
			return truth(slices.Equal(s, t))
		}
	}
	a, b := x.term(n.args[0]), x.term(n.args[1])
	return func(m *Machine) tri {
		v := m.term(&a)
		if v > yes {
			return v
		}
		w := m.term(&b)
		if w > yes {
			return w
		}
		return answer(int(v) - int(w))
	}
}

func (x *generator) compareInt(n *node) boolFunc {
	a, b := x.integer(n.args[0]), x.integer(n.args[1])
	o := n.op
	return func(m *Machine) tri {
		s, err := a(m)
		if err != no {
			return err
		}
		t, err := b(m)
		if err != no {
			return err
		}
		switch o {
		case opEq:
			return truth(s == t)
		case opLess:
			return truth(s < t)
		}
		return truth(s <= t)
	}
}

func (x *generator) intSet(n *node) boolFunc {
	get, set := x.integer(n.args[0]), n.ints
	if len(set) == 1 {
		want := set[0]
		return func(m *Machine) tri {
			v, err := get(m)
			if err != no {
				return err
			}
			return truth(v == want)
		}
	}
	return func(m *Machine) tri {
		v, err := get(m)
		if err != no {
			return err
		}
		_, in := slices.BinarySearch(set, v)
		return truth(in)
	}
}

func (x *generator) match(n *node) boolFunc {
	test := n.match.matcher()
	if n.match.fold {
		get := x.str(n.args[0])
		return func(m *Machine) tri {
			s, err := get(m)
			if err != no {
				return err
			}
			return truth(test(m.lower(s)))
		}
	}
	if slot, ok := x.textSlot(n.args[0]); ok {
		return func(m *Machine) tri { return truth(test(m.text(slot))) }
	}
	get := x.str(n.args[0])
	return func(m *Machine) tri {
		s, err := get(m)
		if err != no {
			return err
		}
		return truth(test(s))
	}
}

// textSlot is where the value of a string field of the event is kept.
func (x *generator) textSlot(n *node) (int32, bool) {
	if n.op != opField || n.typ != tStr || n.level != levelEvent {
		return 0, false
	}
	slot, ok := x.texts[n.field]
	if !ok {
		slot = int32(len(x.p.fields))
		x.texts[n.field] = slot
		x.p.fields = append(x.p.fields, n.field)
	}
	return slot, true
}

func (x *generator) dynamic(n *node) boolFunc {
	get, test := x.str(n.args[0]), simpleTest(mode(n.num))
	if n.str != "" {
		plain := test
		test = func(s, pat string) bool { return plain(celenv.LowerASCII(s), celenv.LowerASCII(pat)) }
	}
	if n.args[1].typ == tStr {
		pat := x.str(n.args[1])
		return func(m *Machine) tri {
			s, err := get(m)
			if err != no {
				return err
			}
			p, err := pat(m)
			if err != no {
				return err
			}
			return truth(test(s, p))
		}
	}
	pats := x.strList(n.args[1])
	return func(m *Machine) tri {
		s, err := get(m)
		if err != no {
			return err
		}
		list, err := pats(m)
		if err != no {
			return err
		}
		for _, p := range list {
			if test(s, p) {
				return yes
			}
		}
		return no
	}
}

func (x *generator) loop(n *node) boolFunc {
	list, body, depth, kind := x.strList(n.args[0]), x.term(n.args[1]), n.ints[0], n.num
	return func(m *Machine) tri {
		items, err := list(m)
		if err != no {
			return err
		}
		outer, count := m.locals[depth], 0
		result := no
		if kind == loopAll {
			result = yes
		}
		for _, s := range items {
			m.locals[depth] = s
			v := m.term(&body)
			if v > yes {
				result = v
			} else if kind == loopOne {
				count += int(v)
			} else if (v == yes) == (kind == loopExists) {
				result = v
				break
			}
		}
		m.locals[depth] = outer
		if kind == loopOne && result <= yes {
			return truth(count == 1)
		}
		return result
	}
}

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

// arithmetic is that of CEL: a result that does not fit is an error.
func arithmetic(o op) func(a, b int64) (int64, tri) {
	switch o {
	case opAdd:
		return func(a, b int64) (int64, tri) {
			c := a + b
			if (a > 0 && b > 0 && c <= 0) || (a < 0 && b < 0 && c >= 0) {
				return 0, errOverflow
			}
			return c, no
		}
	case opSub:
		return func(a, b int64) (int64, tri) {
			c := a - b
			if (a >= 0 && b < 0 && c < 0) || (a < 0 && b > 0 && c >= 0) {
				return 0, errOverflow
			}
			return c, no
		}
	case opMul:
		return func(a, b int64) (int64, tri) {
			if a == 0 || b == 0 {
				return 0, no
			}
			c := a * b
			if c/b != a || a == -1 && b == math.MinInt64 || b == -1 && a == math.MinInt64 {
				return 0, errOverflow
			}
			return c, no
		}
	case opDiv:
		return func(a, b int64) (int64, tri) {
			switch {
			case b == 0:
				return 0, errDivide
			case a == math.MinInt64 && b == -1:
				return 0, errOverflow
			}
			return a / b, no
		}
	}
	return func(a, b int64) (int64, tri) {
		switch {
		case b == 0:
			return 0, errModulus
		case a == math.MinInt64 && b == -1:
			return 0, errOverflow
		}
		return a % b, no
	}
}
