package compile

import (
	"cmp"
	"slices"
)

// plan decides a group of rules: some one by one, some only if a condition that they
// share holds, some only if a string that they test is one of the constants that they want.
type plan struct {
	leaves   []leaf
	guards   []guard
	switches []jump
}

type leaf struct {
	terms []term
	rule  int
}

type guard struct {
	term term
	then *plan
}

func (m *Machine) run(p *plan) {
	for i := range p.leaves {
		l := &p.leaves[i]
		switch v := m.all(l.terms); {
		case v == yes:
			m.hits = append(m.hits, Hit{Rule: l.rule})
		case v > yes:
			m.hits = append(m.hits, Hit{l.rule, failures[v]})
		}
	}
	for i := range p.guards {
		if g := &p.guards[i]; m.term(&g.term) == yes {
			m.run(g.then)
		}
	}
	for i := range p.switches {
		p.switches[i].run(m)
	}
}

// cond is a rule as the conditions that must all hold, and what deciding it alone is thought to cost.
type cond struct {
	rule  int
	terms []*node
	used  []*node // terms that a switch has looked at, without deciding them
	cost  float64
}

func newCond(rule int, n *node) cond {
	terms := []*node{n}
	switch {
	case n.isTrue():
		terms = nil
	case n.op == opAnd:
		terms = n.args
	}
	return condOf(rule, terms, nil)
}

func condOf(rule int, terms, used []*node) cond {
	c := cond{rule: rule, used: used}
	c.terms = order(terms, true, func(cost, _ float64) { c.cost = cost })
	return c
}

// without is c once n is known to hold.
func (c cond) without(n *node) cond {
	rest := make([]*node, 0, len(c.terms)-1)
	for _, t := range c.terms {
		if t != n {
			rest = append(rest, t)
		}
	}
	return condOf(c.rule, rest, c.used)
}

type planner struct{ x *generator }

// choice is a condition, or a string to switch on, and the rules that have it.
type choice struct {
	term   *node // the guard, nil for a switch
	on     *node // the string
	rules  []int // indexes
	saving float64
}

// deepest bounds the depth of plans.
const deepest = 8

func (b *planner) plan(rules []cond, depth int) *plan {
	p := &plan{}
	taken := make([]bool, len(rules))
	if depth < deepest && len(rules) > 1 {
		for _, c := range choices(rules) {
			free := slices.DeleteFunc(c.rules, func(i int) bool { return taken[i] })
			if len(free) < 2 || c.gain(rules, free) <= 0 {
				continue
			}
			for _, i := range free {
				taken[i] = true
			}
			if c.term != nil {
				sub := make([]cond, len(free))
				for j, i := range free {
					sub[j] = rules[i].without(c.term)
				}
				p.guards = append(p.guards, guard{b.x.term(c.term), b.plan(sub, depth+1)})
			} else {
				p.switches = append(p.switches, b.jump(c.on, rules, free, depth))
			}
		}
	}
	for i, r := range rules {
		if !taken[i] {
			p.leaves = append(p.leaves, leaf{b.x.leaf(r.terms), r.rule})
		}
	}
	return p
}

// choices lists what rules share, what saves most first.
func choices(rules []cond) []*choice {
	byNode := map[*node]*choice{}
	byText := map[*node]*choice{}
	note := func(m map[*node]*choice, n *node, c choice, i int) {
		x := m[n]
		if x == nil {
			x = &c
			m[n] = x
		}
		if k := len(x.rules); k == 0 || x.rules[k-1] != i {
			x.rules = append(x.rules, i)
		}
	}
	for i, r := range rules {
		for _, t := range r.terms {
			if t.fails {
				continue // a rule with an error must still see whether another of its terms is false
			}
			note(byNode, t, choice{term: t}, i)
			if slices.Contains(r.used, t) {
				continue
			}
			for _, on := range textsOf(t) {
				if _, ok := wantOf(t, on); ok {
					note(byText, on, choice{on: on}, i)
				}
			}
		}
	}
	var out []*choice
	for _, m := range []map[*node]*choice{byNode, byText} {
		for _, c := range m {
			if len(c.rules) > 1 {
				c.saving = c.gain(rules, c.rules)
				out = append(out, c)
			}
		}
	}
	slices.SortFunc(out, func(a, b *choice) int {
		return cmp.Or(cmp.Compare(b.saving, a.saving), cmp.Compare(a.node().id, b.node().id), cmp.Compare(len(a.rules), len(b.rules)))
	})
	return out
}

func (c *choice) node() *node {
	if c.term != nil {
		return c.term
	}
	return c.on
}

// lookup is about what finding a string in the tables of a switch costs.
const lookup = 12

// gain is what deciding these rules below c is thought to save for an event.
func (c *choice) gain(rules []cond, which []int) float64 {
	before, after := 0.0, 0.0
	for _, i := range which {
		before += rules[i].cost + costMemo
		if c.term != nil {
			after += c.term.p * (rules[i].without(c.term).cost + costMemo)
		} else {
			w := wanted(rules[i], c.on)
			after += w.term.p * (rules[i].below(w).cost + costMemo)
		}
	}
	if c.term != nil {
		return before - after - price(c.term) - costMemo
	}
	return before - after - price(c.on) - lookup
}
