// Package compile turns the checked conditions of all rules of a set together into one
// program of typed Go closures over decoded batches.
//
// Conditions become one graph of nodes in which equal subexpressions of different rules
// are the same node. The graph is specialised for each event kind, where evt.type is a
// constant and fields that the kind does not have are absent. What depends only on the
// acting process, its user and its container is decided once per row of the process
// table and batch; what several rules ask is decided once per event. The rules of a kind
// are arranged as a decision plan: conditions that rules share guard all of them, and
// rules that want a field to be one of some constants are found with one look-up.
//
// The verdicts are those of cel-go with the variables of package celenv: && and ||
// absorb errors of their other side, any other error makes the condition fail. Which of
// several errors is reported is not defined. A condition that uses something the
// compiler does not know is refused with [Unsupported]; it must be evaluated otherwise.
//
// A [Program] is immutable. A [Machine] runs it, one per goroutine; it allocates nothing
// for an event apart from what accessors of fields allocate.
package compile

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/gyre-sec/gyre/schemas/field"
)

type op uint8

const (
	opConst op = iota // a bool or int in num, a string in str
	opField
	opHas
	opVar // a loop's variable; num is the nesting depth of the loop
	opAnd
	opOr
	opNot
	opEq     // both sides of one type
	opLess   // of bool, int or string
	opLessEq // of bool, int or string
	opCond
	opIntSet // args[0] is one of ints
	opMatch  // args[0] fits pattern
	opDyn    // args[0] fits args[1], a string or list; num is the mode, fold in str
	opAdd
	opSub
	opMul
	opDiv
	opMod
	opNeg
	opSize
	opConcat
	opToInt
	opToStr
	opBasename
	opLower
	opDecode
	opIndex    // args[0][args[1]]
	opAncestor // args[0].ancestor(args[1])
	opValueOf  // what follows args[1]= in args[0]
	opHasValue // tells whether it is there
	opListConst
	opLoop // some, all or exactly one of args[0] satisfy args[1]; num is the loopKind, depth in ints[0]
)

type typ uint8

const (
	tBool typ = iota
	tInt
	tStr
	tList
)

type loopKind = int64

const (
	loopExists loopKind = iota
	loopAll
	loopOne
)

// level says how often a node must be decided.
type level uint8

const (
	levelConst level = iota
	levelRow         // once per process row and batch
	levelEvent
)

// node is one subexpression. Nodes are immutable once interned; equal ones are the same.
type node struct {
	id    int32
	op    op
	typ   typ
	fails bool // evaluation can end in an error
	kinds bool // the value depends on the event kind
	free  uint8
	level level
	args  []*node

	num   int64
	str   string
	strs  []string
	ints  []int64
	field *field.Field
	match *pattern

	size int     // nodes of the tree, with repetitions
	cost float64 // estimated ns, once
	p    float64 // estimated chance of being true
}

// graph holds every node once.
type graph struct {
	byKey map[string]*node
	key   []byte
}

func newGraph() *graph { return &graph{byKey: map[string]*node{}} }

func (n *node) isTrue() bool   { return n.op == opConst && n.typ == tBool && n.num == 1 }
func (n *node) isFalse() bool  { return n.op == opConst && n.typ == tBool && n.num == 0 }
func (n *node) isConst() bool  { return n.op == opConst || n.op == opListConst }
func (n *node) atom() *node    { return n.args[0] }
func (n *node) negated() bool  { return n.op == opNot }
func (n *node) strConst() bool { return n.op == opConst && n.typ == tStr }

// intern returns the node that is equal to n, which becomes it if there is none.
func (g *graph) intern(n *node) *node {
	k := append(g.key[:0], byte(n.op), byte(n.typ))
	k = binary.AppendVarint(k, n.num)
	text := func(s string) {
		k = binary.AppendUvarint(k, uint64(len(s)))
		k = append(k, s...)
	}
	text(n.str)
	k = binary.AppendUvarint(k, uint64(len(n.strs)))
	for _, s := range n.strs {
		text(s)
	}
	k = binary.AppendUvarint(k, uint64(len(n.ints)))
	for _, i := range n.ints {
		k = binary.AppendVarint(k, i)
	}
	if n.field != nil {
		text(n.field.Name)
	}
	if n.match != nil {
		k = append(k, byte(n.match.mode), b2u(n.match.fold))
		for _, s := range n.match.pats {
			text(s)
		}
	}
	k = append(k, 0xff)
	for _, a := range n.args {
		k = binary.AppendUvarint(k, uint64(a.id))
	}
	g.key = k
	if old, ok := g.byKey[string(k)]; ok {
		return old
	}
	n.id, n.size = int32(len(g.byKey)), 1
	for _, a := range n.args {
		n.size = min(n.size+a.size, 1<<40)
		n.fails = n.fails || a.fails
		n.kinds = n.kinds || a.kinds
		n.level = max(n.level, a.level)
		n.free |= a.free
	}
	switch n.op {
	case opVar:
		n.free, n.level = 1<<n.num, levelEvent
	case opLoop:
		n.free &^= 1 << n.ints[0]
		n.level = n.args[0].level
		if l := levelOfBody(n.args[1], 1<<n.ints[0]); l > n.level {
			n.level = l
		}
	}
	estimate(n)
	g.byKey[string(k)] = n
	return n
}

// levelOfBody is the level of n if the loop variables in bound are as constant as the list.
func levelOfBody(n *node, bound uint8) level {
	if n.free&bound == 0 {
		return n.level
	}
	if n.op == opVar {
		return levelConst
	}
	l := levelConst
	for _, a := range n.args {
		if n.op == opLoop {
			l = max(l, levelOfBody(a, bound|1<<n.ints[0]))
			continue
		}
		l = max(l, levelOfBody(a, bound))
	}
	return l
}

func b2u(b bool) byte {
	if b {
		return 1
	}
	return 0
}

func (g *graph) boolean(b bool) *node {
	return g.intern(&node{op: opConst, typ: tBool, num: int64(b2u(b))})
}
func (g *graph) integer(i int64) *node { return g.intern(&node{op: opConst, typ: tInt, num: i}) }
func (g *graph) text(s string) *node   { return g.intern(&node{op: opConst, typ: tStr, str: s}) }
func (g *graph) strings(l []string) *node {
	return g.intern(&node{op: opListConst, typ: tList, strs: l})
}

// fieldNode reads f; one that the engine may not keep per process row is of the event's level.
func (g *graph) fieldNode(f *field.Field, has bool) *node {
	n := &node{op: opField, field: f, typ: tStr, level: levelOf(f), kinds: f.Kinds != nil || f.Name == kindField}
	switch f.Type {
	case field.Int:
		n.typ = tInt
	case field.Bool:
		n.typ = tBool
	case field.List:
		n.typ = tList
	}
	if has {
		n.op, n.typ = opHas, tBool
	}
	return g.intern(n)
}

const kindField = "evt.type"

// ofEvent are the fields of a process or user whose value depends on the event too.
var ofEvent = map[string]bool{"proc.duration": true, "proc.ppid.duration": true}

func levelOf(f *field.Field) level {
	switch f.From {
	case field.FromProcess, field.FromUser, field.FromContainer, field.FromNode:
		if f.Kinds == nil && !ofEvent[f.Name] && !strings.HasPrefix(f.Name, "thread.tid") {
			return levelRow
		}
	}
	return levelEvent
}

// String shows the compiled form, for people.
func (n *node) String() string {
	list := func(sep string) string {
		s := make([]string, len(n.args))
		for i, a := range n.args {
			s[i] = a.String()
		}
		return strings.Join(s, sep)
	}
	switch n.op {
	case opConst:
		switch n.typ {
		case tBool:
			return fmt.Sprint(n.num == 1)
		case tInt:
			return fmt.Sprint(n.num)
		}
		return fmt.Sprintf("%q", n.str)
	case opListConst:
		return quoted(n.strs)
	case opField:
		return n.field.Name
	case opHas:
		return "has(" + n.field.Name + ")"
	case opVar:
		return fmt.Sprintf("$%d", n.num)
	case opAnd:
		return "(" + list(" && ") + ")"
	case opOr:
		return "(" + list(" || ") + ")"
	case opNot:
		return "!" + list("")
	case opEq:
		return "(" + list(" == ") + ")"
	case opLess:
		return "(" + list(" < ") + ")"
	case opLessEq:
		return "(" + list(" <= ") + ")"
	case opIntSet:
		return fmt.Sprintf("%s in %v", n.args[0], n.ints)
	case opMatch:
		return n.args[0].String() + "." + n.match.String()
	case opLoop:
		return fmt.Sprintf("%s.%s($%d, %s)", n.args[0], [...]string{"exists", "all", "exists_one"}[n.num], n.ints[0], n.args[1])
	}
	return fmt.Sprintf("%s(%s)", opNames[n.op], list(", "))
}

var opNames = map[op]string{
	opCond: "if", opDyn: "fits", opAdd: "add", opSub: "sub", opMul: "mul", opDiv: "div", opMod: "mod", opNeg: "neg", opSize: "size", opConcat: "concat",
	opToInt: "int", opToStr: "string", opBasename: "basename", opLower: "lower", opDecode: "b64decode", opIndex: "index", opAncestor: "ancestor", opValueOf: "valueOf", opHasValue: "hasValue",
}

func quoted(list []string) string {
	const most = 6
	var s []string
	for _, x := range list[:min(len(list), most)] {
		s = append(s, fmt.Sprintf("%q", x))
	}
	if len(list) > most {
		s = append(s, fmt.Sprintf("%d more", len(list)-most))
	}
	return "[" + strings.Join(s, ", ") + "]"
}

func sortUnique(list []string) []string {
	list = slices.Clone(list)
	slices.Sort(list)
	return slices.Compact(list)
}
