package compile

import (
	"slices"
	"strings"

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
	case opHasValue:
		find := x.valueOf(n)
		return func(m *Machine) tri {
			_, ok, err := find(m)
			if err != no {
				return err
			}
			return truth(ok)
		}
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
