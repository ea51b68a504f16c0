package compile

import (
	"encoding/binary"
	"fmt"
	"slices"

	"cel.dev/cel-go/common/ast"

	"github.com/gyre-sec/gyre/schemas/eventv1"
	"github.com/gyre-sec/gyre/schemas/field"
)

// MaxParts bounds a condition with its macros in their places.
const MaxParts = 50_000

// TooLarge is the error for a condition beyond [MaxParts].
type TooLarge struct{ Parts int }

// Error implements error.
func (e *TooLarge) Error() string {
	return fmt.Sprintf("with its macros the condition has %d parts or more, at most %d are allowed", e.Parts, MaxParts)
}

// Program decides all rules that were compiled together. It is immutable.
type Program struct {
	plans      [eventv1.KindCount]*plan // index 0: kinds of a newer release; nil where no rule can hold
	alone      [eventv1.KindCount]map[int]term
	fields     []*field.Field // string fields of the event that are read at most once for it
	rowSlots   int
	rowJumps   int
	eventSlots int
}

// Builder collects the rules of a program.
type Builder struct {
	t     *translator
	rules []root
}

// root is the condition of a rule and the kinds for which it can hold; kind 0 stands for those of a newer release.
type root struct {
	rule  int
	cond  *node
	kinds []eventv1.Kind
}

// NewBuilder returns a builder for conditions that use these lists and checked macros.
func NewBuilder(lists map[string][]string, macros map[string]ast.Expr) *Builder {
	return &Builder{t: &translator{g: newGraph(), lists: lists, macros: macros, done: map[string]*node{}}}
}

// Add compiles the checked condition of a rule and those of its exceptions, to be decided for events of these kinds. The
// error is [TooLarge], or [Unsupported] if it must be evaluated otherwise; the builder can be used on then.
func (b *Builder) Add(rule int, cond ast.Expr, exceptions []ast.Expr, kinds []eventv1.Kind) error {
	terms := make([]*node, 0, 1+len(exceptions))
	for i, e := range append([]ast.Expr{cond}, exceptions...) {
		b.t.scope = b.t.scope[:0]
		n, err := b.t.expr(e)
		if err != nil {
			return fmt.Errorf("compile condition: %w", err)
		}
		if n.typ != tBool {
			return unsupported("a condition that is not bool")
		}
		if i > 0 {
			n = b.t.g.not(n)
		}
		terms = append(terms, n)
	}
	n := b.t.g.and(terms...)
	b.rules = append(b.rules, root{rule, n, kinds})
	return nil
}

// Form describes the compiled condition.
type Form struct {
	// Text is the normal form, in the syntax of conditions where it has one.
	Text string
	// Fields are the names of the fields that it reads, sorted.
	Fields []string
	// Cost is the estimate of what deciding it takes, in nanoseconds, when all about the process is known; First when nothing is.
	Cost, First float64
}

// Form describes the rule that was added last.
func (b *Builder) Form() Form {
	if len(b.rules) == 0 {
		return Form{}
	}
	n := b.rules[len(b.rules)-1].cond
	names, seen := map[string]bool{}, map[*node]bool{}
	var visit func(*node)
	visit = func(n *node) {
		if seen[n] {
			return
		}
		seen[n] = true
		if n.field != nil {
			names[n.field.Name] = true
		}
		for _, a := range n.args {
			visit(a)
		}
	}
	visit(n)
	return Form{shown(n), sortedKeys(names), n.cost, first(n)}
}

// longest is how long the text of a form may get; macros can make it grow without end.
const longest = 8 << 10

func shown(n *node) string {
	if n.size > longest {
		return fmt.Sprintf("(too long to show: %d parts)", n.size)
	}
	return n.String()
}

// Build makes the program. The builder must not be used afterwards.
func (b *Builder) Build() *Program {
	p := &Program{}
	x := &generator{g: b.t.g, p: p, terms: map[*node]term{}, texts: map[*field.Field]int32{}}
	var rules [eventv1.KindCount][]cond
	for k := range rules {
		s := &specialiser{g: x.g, kind: eventv1.Kind(k), done: map[*node]*node{}}
		for _, r := range b.rules {
			if slices.Contains(r.kinds, eventv1.Kind(k)) {
				if n := s.node(r.cond); !n.isFalse() {
					rules[k] = append(rules[k], newCond(r.rule, n))
				}
			}
		}
	}
	x.count(&rules)
	shared := map[string]*plan{}
	for k := range rules {
		if len(rules[k]) == 0 {
			continue
		}
		key := keyOf(rules[k])
		if shared[key] == nil {
			shared[key] = (&planner{x}).plan(rules[k], 0)
		}
		p.plans[k] = shared[key]
		p.alone[k] = map[int]term{}
		for _, c := range rules[k] {
			p.alone[k][c.rule] = x.term(x.g.and(c.terms...))
		}
	}
	return p
}

func keyOf(rules []cond) string {
	var k []byte
	for _, c := range rules {
		k = binary.AppendUvarint(k, uint64(c.rule))
		for _, t := range c.terms {
			k = binary.AppendUvarint(k, uint64(t.id)+1)
		}
		k = append(k, 0)
	}
	return string(k)
}

// count finds how often the rules of one kind ask for each node.
func (x *generator) count(rules *[eventv1.KindCount][]cond) {
	n := len(x.g.byKey)
	x.uses = make([]uint16, n)
	uses, stamp := make([]uint16, n), make([]uint16, n)
	var visit func(now uint16, t *node)
	visit = func(now uint16, t *node) {
		if stamp[t.id] == now {
			uses[t.id] = min(uses[t.id]+1, 1<<15)
		} else {
			stamp[t.id], uses[t.id] = now, 1
			for _, a := range t.args {
				visit(now, a)
			}
		}
		x.uses[t.id] = max(x.uses[t.id], uses[t.id])
	}
	for k := range rules {
		for _, c := range rules[k] {
			for _, t := range c.terms {
				visit(uint16(k+1), t)
			}
		}
	}
}
