package compile

import (
	"errors"
	"slices"
	"unsafe"

	"github.com/gyre-sec/gyre/schemas/eventv1"
	"github.com/gyre-sec/gyre/schemas/field"
)

// tri is what a condition comes to: 0 false, 1 true, anything else the number of an error.
type tri uint8

const (
	no tri = iota
	yes
	errDivide
	errModulus
	errOverflow
	errIndex
	errConvert
)

// failures are the errors by number.
var failures = [...]error{
	errDivide: errors.New("division by zero"), errModulus: errors.New("modulus by zero"), errOverflow: errors.New("integer overflow"),
	errIndex: errors.New("index out of bounds"), errConvert: errors.New("text is no number"),
}

// Hit is a rule that is decided other than false.
type Hit struct {
	// Rule is the number that [Builder.Add] was given.
	Rule int
	// Err is why the condition failed; nil if it holds.
	Err error
}

// Machine evaluates events with a program. It is not safe for concurrent use.
type Machine struct {
	p    *Program
	view *field.View

	batch    uint32
	batchPtr *eventv1.Batch
	rowGen   []uint32 // batch for which the row has a block
	rowBlock []int32  // blocks are given to processes that act, in the order in which they do
	blocks   int
	rowCells []byte
	row      []byte // decisions about the acting process: 0 not made, else tri + 1
	rowJumps []uint32
	jumps    []uint32 // of the acting process: 0 not looked up, else plan of the switch + 1

	event  uint32
	cells  []uint32 // event<<4 | tri
	texts  []textCell
	locals [8]string
	buf    []byte // of lower
	line   []byte // of scratch
	hits   []Hit
}

// textCell is the value of a string field for the event that it carries.
type textCell struct {
	event uint32
	value string
}

// Machine returns a new machine.
func (p *Program) Machine() *Machine {
	return &Machine{p: p, cells: make([]uint32, p.eventSlots), texts: make([]textCell, len(p.fields))}
}

// maxEvent is where the event stamp starts again; four bits of a cell are the decision.
const maxEvent = 1<<28 - 1

// Batch makes m read events of b, forgetting all that it knew of processes. It must be called whenever b was decoded anew.
func (m *Machine) Batch(v *field.View, b *eventv1.Batch) {
	m.view, m.batchPtr = v, b
	if m.batch++; m.batch == 0 {
		clear(m.rowGen)
		m.batch = 1
	}
	m.blocks = 0
	if rows := len(b.Procs) + 1; rows > len(m.rowGen) {
		m.rowGen = append(m.rowGen, make([]uint32, rows-len(m.rowGen))...)
		m.rowBlock = append(m.rowBlock, make([]int32, rows-len(m.rowBlock))...)
	}
}

// Eval returns the rules that hold or fail for e, which the view must read, in ascending order. The result is valid until the next call.
func (m *Machine) Eval(v *field.View, e *eventv1.Event) []Hit {
	kind := e.Kind
	if !kind.Known() {
		kind = 0
	}
	m.hits = m.hits[:0]
	plan := m.p.plans[kind]
	if plan == nil {
		return nil
	}
	if b, _ := v.Current(); b != m.batchPtr || v != m.view {
		m.Batch(v, b)
	}
	m.next(e)
	m.run(plan)
	if len(m.hits) > 1 {
		slices.SortFunc(m.hits, func(a, b Hit) int { return a.Rule - b.Rule })
	}
	return m.hits
}

// next turns to an event: its process's decisions are opened, those about the event before are void.
func (m *Machine) next(e *eventv1.Event) {
	if m.event++; m.event > maxEvent {
		clear(m.cells)
		clear(m.texts)
		m.event = 1
	}
	row := int(e.Proc) + 1
	if row < 0 || row >= len(m.rowGen) {
		row = 0
	}
	known := m.rowGen[row] == m.batch
	if !known {
		m.rowGen[row], m.rowBlock[row] = m.batch, int32(m.blocks)
		m.blocks++
	}
	n, j, i := m.p.rowSlots, m.p.rowJumps, int(m.rowBlock[row])
	if (i+1)*n > len(m.rowCells) || (i+1)*j > len(m.rowJumps) {
		m.rowCells = append(m.rowCells, make([]byte, (i+1)*n-len(m.rowCells))...)
		m.rowJumps = append(m.rowJumps, make([]uint32, (i+1)*j-len(m.rowJumps))...)
	}
	m.row, m.jumps = m.rowCells[i*n:(i+1)*n], m.rowJumps[i*j:(i+1)*j]
	if !known {
		clear(m.row)
		clear(m.jumps)
	}
}

// Cost evaluates one rule for the event that [Machine.Eval] saw last, with nothing known of it or its process, as for measuring.
func (m *Machine) Cost(rule int, e *eventv1.Event) {
	kind := e.Kind
	if !kind.Known() {
		kind = 0
	}
	t, ok := m.p.alone[kind][rule]
	if !ok {
		return
	}
	m.next(e)
	clear(m.row)
	clear(m.jumps)
	m.term(&t)
}

type memo uint8

const (
	memoNone memo = iota
	memoRow
	memoEvent
)

// term is a condition where it is used: what it comes to may be known already, and it may be negated.
type term struct {
	f    func(*Machine) tri
	slot int32
	memo memo
	neg  bool
}

func (m *Machine) term(t *term) tri {
	var v tri
	switch t.memo {
	case memoRow:
		c := m.row[t.slot]
		if c == 0 {
			c = byte(t.f(m)) + 1
			m.row[t.slot] = c
		}
		v = tri(c - 1)
	case memoEvent:
		c := m.cells[t.slot]
		if c>>4 != m.event {
			c = m.event<<4 | uint32(t.f(m))
			m.cells[t.slot] = c
		}
		v = tri(c & 15)
	default:
		v = t.f(m)
	}
	if t.neg && v <= yes {
		v ^= 1
	}
	return v
}

// all is &&: false decides, else an error, else true.
func (m *Machine) all(terms []term) tri {
	result := yes
	for i := range terms {
		switch v := m.term(&terms[i]); {
		case v == no:
			return no
		case v > yes:
			result = v
		}
	}
	return result
}

// any is ||: true decides, else an error, else false.
func (m *Machine) any(terms []term) tri {
	result := no
	for i := range terms {
		switch v := m.term(&terms[i]); {
		case v == yes:
			return yes
		case v > yes:
			result = v
		}
	}
	return result
}

// text reads a string field of the event once.
func (m *Machine) text(slot int32) string {
	if t := &m.texts[slot]; t.event == m.event {
		return t.value
	}
	return m.read(slot)
}

func (m *Machine) read(slot int32) string {
	t := &m.texts[slot]
	s, ok := m.p.fields[slot].Str(m.view)
	if !ok {
		s = ""
	}
	t.event, t.value = m.event, s
	return s
}

// lower is celenv.LowerASCII without an allocation; the result is valid until the next call.
func (m *Machine) lower(s string) string {
	i := 0
	for i < len(s) && (s[i] < 'A' || 'Z' < s[i]) {
		i++
	}
	if i == len(s) {
		return s
	}
	m.buf = append(m.buf[:0], s...)
	for ; i < len(m.buf); i++ {
		if c := m.buf[i]; 'A' <= c && c <= 'Z' {
			m.buf[i] = c + ('a' - 'A')
		}
	}
	return unsafe.String(unsafe.SliceData(m.buf), len(m.buf))
}
