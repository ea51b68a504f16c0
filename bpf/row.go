package bpf

// rowOps and rowValues are the room in struct gyre_row.
const (
	rowOps    = 12
	rowValues = 6
)

// rowOp and rowValue are struct gyre_row_op and struct gyre_row of include/event.h.
type rowOp struct{ Op, Arg, Aux, Pad uint8 }

type rowValue struct {
	Kind      uint16
	Handler   uint8
	Condition uint8
	Arg       uint8
	NValues   uint8
	NOps      uint8
	NSlots    uint8
	Values    [rowValues]uint32
	Ops       [rowOps]rowOp
}

// Slots is how many slots the records of the row have, before a snapshot.
func (r Row) Slots() int { return r.slots(r.Ops) }

func (r Row) slots(list []Op) int {
	switch r.Handler {
	case HandleOpen:
		return OpenSlots
	case HandleExec:
		return ExecSlots
	case HandleMessage:
		return MessageSlots
	}
	n := 0
	for _, o := range list {
		n += o.Slots()
	}
	return n
}

// value is the row as the kernel side reads it, for one of its calls.
func (r Row) value(c Call) rowValue {
	list := r.Ops
	if c.Ops != nil {
		list = c.Ops
	}
	v := rowValue{
		Kind: r.Kind, Handler: uint8(r.Handler), Condition: r.If.Code, Arg: r.If.Arg,
		NValues: uint8(len(r.If.Values)), NOps: uint8(len(list)), NSlots: uint8(r.slots(list)),
	}
	copy(v.Values[:], r.If.Values)
	for i, o := range list {
		v.Ops[i] = rowOp{uint8(o.Code), o.Arg, o.Aux, 0}
	}
	return v
}
