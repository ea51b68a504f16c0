package compile

import (
	"slices"
	"strings"

	"github.com/gyre-sec/gyre/evaluator/celenv"
	"github.com/gyre-sec/gyre/schemas/eventv1"
	"github.com/gyre-sec/gyre/schemas/field"
)

// The constructors keep conditions in one normal form: negations stand on atoms only,
// && and || are flat, sorted and without repetition, tests of one string against
// constants of one mode are one test, and constants are folded. All rewriting is exact
// in the three-valued logic of CEL, where a term is false, true or an error.

func (g *graph) not(n *node) *node {
	switch n.op {
	case opConst:
		return g.boolean(n.num == 0)
	case opNot:
		return n.args[0]
	case opAnd, opOr:
		args := make([]*node, len(n.args))
		for i, a := range n.args {
			args[i] = g.not(a)
		}
		if n.op == opAnd {
			return g.or(args...)
		}
		return g.and(args...)
	case opLess:
		return g.intern(&node{op: opLessEq, args: []*node{n.args[1], n.args[0]}})
	case opLessEq:
		return g.intern(&node{op: opLess, args: []*node{n.args[1], n.args[0]}})
	}
	return g.intern(&node{op: opNot, args: []*node{n}})
}

func (g *graph) and(terms ...*node) *node { return g.junction(opAnd, terms) }
func (g *graph) or(terms ...*node) *node  { return g.junction(opOr, terms) }

// junction is && or ||. For &&, false decides and true is neutral; for || the other way round.
func (g *graph) junction(o op, terms []*node) *node {
	flat := make([]*node, 0, len(terms))
	for _, t := range terms {
		switch {
		case t.op == o:
			flat = append(flat, t.args...)
		case t.op == opConst && (t.num == 1) != (o == opAnd):
			return t
		case t.op != opConst:
			flat = append(flat, t)
		}
	}
	flat = g.merge(o, flat)
	slices.SortFunc(flat, func(a, b *node) int { return int(a.id) - int(b.id) })
	flat = slices.Compact(flat)
	for _, t := range flat {
		if t.negated() && !t.fails {
			if _, both := slices.BinarySearchFunc(flat, t.atom(), func(a, b *node) int { return int(a.id) - int(b.id) }); both {
				return g.boolean(o == opOr)
			}
		}
	}
	if o == opAnd {
		flat = dropHas(flat)
	}
	switch len(flat) {
	case 0:
		return g.boolean(o == opAnd)
	case 1:
		return flat[0]
	}
	return g.intern(&node{op: o, args: flat})
}

// merge joins the tests of one string that || asks, or whose opposites && asks.
func (g *graph) merge(o op, terms []*node) []*node {
	type key struct {
		id   int32
		mode mode
		fold bool
	}
	groups := map[key][]*node{}
	for _, t := range terms {
		if m := matchIn(o, t); m != nil {
			k := key{m.args[0].id, m.match.mode, m.match.fold}
			groups[k] = append(groups[k], m)
		}
	}
	out := terms[:0:0]
	done := map[key]bool{}
	for _, t := range terms {
		m := matchIn(o, t)
		if m == nil {
			out = append(out, t)
			continue
		}
		k := key{m.args[0].id, m.match.mode, m.match.fold}
		if group := groups[k]; len(group) == 1 {
			out = append(out, t)
		} else if !done[k] {
			done[k] = true
			var pats []string
			for _, x := range group {
				pats = append(pats, x.match.pats...)
			}
			joined := g.matches(m.args[0], newPattern(m.match.mode, m.match.fold, pats...))
			if o == opAnd {
				joined = g.not(joined)
			}
			out = append(out, joined)
		}
	}
	return out
}

func matchIn(o op, t *node) *node {
	if o == opAnd {
		if !t.negated() {
			return nil
		}
		t = t.atom()
	}
	if t.op != opMatch {
		return nil
	}
	return t
}

// dropHas leaves out has(f) beside a test that an absent f does not pass.
func dropHas(terms []*node) []*node {
	needed := func(f *field.Field) bool {
		for _, t := range terms {
			switch {
			case t.op == opMatch && t.args[0].op == opField && t.args[0].field == f && !t.match.holds(""),
				t.op == opField && t.field == f,
				t.op == opIntSet && t.args[0].op == opField && t.args[0].field == f && !slices.Contains(t.ints, field.AbsentInt):
				return false
			}
		}
		return true
	}
	return slices.DeleteFunc(terms, func(t *node) bool { return t.op == opHas && !needed(t.field) })
}

func (g *graph) matches(s *node, p *pattern) *node {
	if s.strConst() {
		return g.boolean(p.holds(s.str))
	}
	if len(p.pats) == 0 && !s.fails {
		return g.boolean(false)
	}
	if s.op == opLowerASCII && !p.fold {
		return g.intern(&node{op: opMatch, args: s.args, match: &pattern{p.mode, true, p.pats}})
	}
	if p.mode == modeFNMatch && !slices.ContainsFunc(p.pats, func(s string) bool { return strings.ContainsAny(s, "[\\") }) {
		p = &pattern{modeGlob, p.fold, p.pats} // without sets and escapes they are the same
	}
	return g.intern(&node{op: opMatch, args: []*node{s}, match: p})
}

func (g *graph) equal(a, b *node) *node {
	if a.op == opConst {
		a, b = b, a
	}
	switch {
	case a.op == opConst && b.op == opConst:
		return g.boolean(a.num == b.num && a.str == b.str)
	case b.op == opConst && b.typ == tStr:
		return g.matches(a, newPattern(modeEqual, false, b.str))
	case b.op == opConst && b.typ == tInt:
		return g.inSet(a, []int64{b.num})
	case b.isTrue():
		return a
	case b.isFalse():
		return g.not(a)
	case a == b && !a.fails:
		return g.boolean(true)
	}
	if a.id > b.id {
		a, b = b, a
	}
	return g.intern(&node{op: opEq, args: []*node{a, b}})
}

func (g *graph) inSet(a *node, set []int64) *node {
	set = slices.Clone(set)
	slices.Sort(set)
	set = slices.Compact(set)
	switch {
	case a.op == opConst:
		return g.boolean(slices.Contains(set, a.num))
	case len(set) == 0 && !a.fails:
		return g.boolean(false)
	}
	return g.intern(&node{op: opIntSet, args: []*node{a}, ints: set})
}

func (g *graph) less(o op, a, b *node) *node {
	if a.op == opConst && b.op == opConst {
		c := a.num < b.num
		if a.typ == tStr {
			c = a.str < b.str
		}
		return g.boolean(c || o == opLessEq && a.num == b.num && a.str == b.str)
	}
	return g.intern(&node{op: o, args: []*node{a, b}})
}

func (g *graph) cond(c, a, b *node) *node {
	switch {
	case c.isTrue() || a == b && !c.fails:
		return a
	case c.isFalse():
		return b
	}
	return g.intern(&node{op: opCond, typ: a.typ, args: []*node{c, a, b}})
}

// specialiser rewrites nodes for events of one kind.
type specialiser struct {
	g    *graph
	kind eventv1.Kind
	done map[*node]*node
}

func (s *specialiser) node(n *node) *node {
	if !n.kinds {
		return n
	}
	if r, ok := s.done[n]; ok {
		return r
	}
	r := s.rewrite(n)
	s.done[n] = r
	return r
}

func (s *specialiser) rewrite(n *node) *node {
	g := s.g
	switch n.op {
	case opField:
		if n.field.Name == kindField {
			return g.text(s.kind.String())
		}
		if n.field.Has(s.kind) {
			return n
		}
		return g.absent(n.typ)
	case opHas:
		if n.field.Name == kindField {
			return g.boolean(true)
		}
		if n.field.Has(s.kind) {
			return n
		}
		return g.boolean(false)
	}
	args := make([]*node, len(n.args))
	for i, a := range n.args {
		args[i] = s.node(a)
	}
	return g.rebuild(n, args)
}

func (g *graph) absent(t typ) *node {
	switch t {
	case tBool:
		return g.boolean(false)
	case tInt:
		return g.integer(field.AbsentInt)
	case tList:
		return g.strings(nil)
	}
	return g.text("")
}

// rebuild is n with other arguments, folded again.
func (g *graph) rebuild(n *node, args []*node) *node {
	switch n.op {
	case opAnd, opOr:
		return g.junction(n.op, args)
	case opNot:
		return g.not(args[0])
	case opEq:
		return g.equal(args[0], args[1])
	case opLess, opLessEq:
		return g.less(n.op, args[0], args[1])
	case opCond:
		return g.cond(args[0], args[1], args[2])
	case opIntSet:
		return g.inSet(args[0], n.ints)
	case opMatch:
		return g.matches(args[0], n.match)
	case opDyn:
		return g.dynamic(mode(n.num), n.str != "", args[0], args[1])
	case opAncestors:
		if l := args[0]; l.op == opListConst {
			return g.strings(l.strs[min(1, len(l.strs)):])
		}
	case opBasename:
		if args[0].strConst() {
			return g.text(celenv.Basename(args[0].str))
		}
	}
	return g.intern(&node{op: n.op, typ: n.typ, fails: n.op.mayFail(), args: args, num: n.num, str: n.str, ints: n.ints})
}

// dynamic tests s against a string or list that may not be constant.
func (g *graph) dynamic(m mode, fold bool, s, arg *node) *node {
	if arg.isConst() {
		pats := arg.strs
		if arg.op == opConst {
			pats = []string{arg.str}
		}
		return g.matches(s, constPattern(m, fold, pats))
	}
	mark := ""
	if fold {
		mark = "fold"
	}
	return g.intern(&node{op: opDyn, args: []*node{s, arg}, num: int64(m), str: mark})
}
