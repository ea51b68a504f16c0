package compile

import (
	"encoding/binary"
	"slices"
	"strings"
)

// jump is a switch on a string: it finds the plans of the rules that want the string to be
// what it is, by its whole value or by how it starts. A string of the process is looked up
// once per row.
type jump struct {
	get   strFunc
	row   int32 // first of two slots of the row's answer, -1 for strings of the event
	gate  endGate
	exact map[string]*plan
	trie  *trie // nil for none
	// chains are the plans of a place in the trie and of those on the way to it, by its number.
	chains [][]*plan
	values []*plan // those of exact, for the slots
	index  map[string]uint32
}

func (j *jump) run(m *Machine) {
	if j.row >= 0 {
		j.runRow(m)
		return
	}
	s, _ := j.get(m)
	if j.gate.may(s) {
		if p := j.exact[s]; p != nil {
			m.run(p)
		}
	}
	if j.trie != nil {
		for _, p := range j.chains[j.trie.deepest(s)] {
			m.run(p)
		}
	}
}

func (j *jump) runRow(m *Machine) {
	slots := m.jumps[j.row : j.row+2]
	if slots[0] == 0 {
		s, _ := j.get(m)
		slots[0] = j.index[s] + 1
		if j.trie != nil {
			slots[1] = uint32(j.trie.deepest(s))
		}
	}
	if i := slots[0]; i > 1 {
		m.run(j.values[i-2])
	}
	if j.trie != nil {
		for _, p := range j.chains[slots[1]] {
			m.run(p)
		}
	}
}

// want is what a term demands of a string: to be one of some values, or to start with one of some prefixes.
type want struct {
	term     *node
	exact    []string
	prefixes []string // none starts with another
	decided  bool     // the term holds if the demand is met
}

// textsOf are the strings that t may demand something of.
func textsOf(t *node) []*node {
	switch t.op {
	case opMatch:
		if !t.fails && t.free == 0 {
			return t.args
		}
	case opAnd:
		var out []*node
		for _, a := range t.args {
			out = append(out, textsOf(a)...)
		}
		return out
	case opOr:
		return textsOf(t.args[0]) // the others must demand something of it too
	}
	return nil
}

// wantOf derives from t a demand on a string.
func wantOf(t, on *node) (want, bool) {
	w := want{term: t}
	switch t.op {
	case opOr:
		for _, a := range t.args {
			x, ok := wantOf(a, on)
			if !ok {
				return w, false
			}
			w.prefixes = append(append(w.prefixes, x.exact...), x.prefixes...)
		}
		w.prefixes = shortest(w.prefixes)
		return w, !slices.Contains(w.prefixes, "")
	case opAnd:
		for _, a := range t.args {
			if x, ok := wantOf(a, on); ok && !t.fails {
				x.term, x.decided = t, false
				return x, true
			}
		}
		return w, false
	}
	if t.op != opMatch || t.args[0] != on || t.match.fold || t.fails {
		return w, false
	}
	switch t.match.mode {
	case modeEqual:
		w.exact, w.decided = t.match.pats, true
		return w, true
	case modePrefix:
		w.prefixes, w.decided = t.match.pats, true
	case modePath:
		for _, p := range t.match.pats {
			if p != "" {
				w.prefixes = append(w.prefixes, strings.TrimSuffix(p, "/"))
			}
		}
	case modeGlob:
		for _, p := range t.match.pats {
			w.prefixes = append(w.prefixes, newGlobber(p).head)
		}
	default:
		return w, false
	}
	w.prefixes = shortest(w.prefixes)
	return w, !slices.Contains(w.prefixes, "")
}

// shortest leaves out what starts with another.
func shortest(list []string) []string {
	var out []string
	for _, s := range sortUnique(list) {
		if n := len(out); n == 0 || !strings.HasPrefix(s, out[n-1]) {
			out = append(out, s)
		}
	}
	return out
}

// wanted is what c demands of a string; it does demand something.
func wanted(c cond, on *node) want {
	var best want
	for _, t := range c.terms {
		if slices.Contains(c.used, t) {
			continue
		}
		if w, ok := wantOf(t, on); ok && (best.term == nil || len(w.exact) > 0 && len(best.exact) == 0) {
			best = w
		}
	}
	return best
}

// below is c once its demand is met.
func (c cond) below(w want) cond {
	if w.decided {
		return c.without(w.term)
	}
	return condOf(c.rule, c.terms, append(slices.Clone(c.used), w.term))
}

// jump makes the switch on a string. Values that select the same rules share a plan.
func (b *planner) jump(on *node, rules []cond, which []int, depth int) jump {
	values, prefixes := map[string][]int{}, map[string][]int{}
	below := map[int]cond{}
	for _, i := range which {
		w := wanted(rules[i], on)
		below[i] = rules[i].below(w)
		for _, v := range w.exact {
			values[v] = append(values[v], i)
		}
		for _, v := range w.prefixes {
			prefixes[v] = append(prefixes[v], i)
		}
	}
	j := jump{get: b.x.str(on), row: -1, exact: make(map[string]*plan, len(values))}
	if on.level <= levelRow {
		j.row = int32(b.x.p.rowJumps)
		b.x.p.rowJumps += 2
		j.index = make(map[string]uint32, len(values))
	}
	made := map[string]*plan{}
	planOf := func(list []int) *plan {
		var key []byte
		for _, i := range list {
			key = binary.AppendUvarint(key, uint64(i))
		}
		p := made[string(key)]
		if p == nil {
			sub := make([]cond, len(list))
			for k, i := range list {
				sub[k] = below[i]
			}
			p = b.plan(sub, depth+1)
			made[string(key)] = p
		}
		return p
	}
	for _, v := range sortedKeys(values) {
		p := planOf(values[v])
		j.exact[v] = p
		j.gate.add(v)
		if j.index != nil {
			j.values = append(j.values, p)
			j.index[v] = uint32(len(j.values))
		}
	}
	if len(prefixes) > 0 {
		keys := sortedKeys(prefixes)
		j.trie = newTrie(keys)
		j.chains = make([][]*plan, len(j.trie.nodes))
		var open []string // words that k starts with, the shortest first
		for _, k := range keys {
			for len(open) > 0 && !strings.HasPrefix(k, open[len(open)-1]) {
				open = open[:len(open)-1]
			}
			open = append(open, k)
			chain := make([]*plan, len(open))
			for i, w := range open {
				chain[i] = planOf(prefixes[w])
			}
			j.chains[j.trie.deepest(k)] = chain
		}
	}
	return j
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
