package bpf

// OpCode is what an operation of a row appends to a record: enum gyre_op of include/event.h.
type OpCode uint8

// The operations. Those from [OpRaw] on are the decoder's alone.
const (
	OpNum OpCode = iota + 1
	OpU32
	OpU64
	OpU16
	OpFD
	OpPath
	OpFile
	OpString
	OpSocket
	OpCaps
	OpAt32
	OpAt64
	OpPair
)

// Operands that are no argument of the call: enum gyre_operand.
const (
	result = 6
	cwd    = 7
	zero   = 8
)

// Op appends slots to the record of a call; Arg and Aux say of what.
type Op struct {
	Code     OpCode
	Arg, Aux uint8
}

// Slots is how many slots the operation appends.
func (o Op) Slots() int {
	switch o.Code {
	case OpPath:
		return 2
	case OpFile:
		return 5
	case OpSocket:
		return 9
	case OpCaps:
		return 3
	default:
		return 1
	}
}

func num(arg uint8) Op          { return Op{OpNum, arg, 0} }
func u32(arg uint8) Op          { return Op{OpU32, arg, 0} }
func u64(arg uint8) Op          { return Op{OpU64, arg, 0} }
func u16(arg uint8) Op          { return Op{OpU16, arg, 0} }
func newFD() Op                 { return Op{OpFD, result, 0} }
func path(name, dirfd uint8) Op { return Op{OpPath, name, dirfd} }
func file(fd uint8) Op          { return Op{OpFile, fd, 0} }
func text(arg uint8) Op         { return Op{OpString, arg, 0} }
func at32(arg, offset uint8) Op { return Op{OpAt32, arg, offset} }
func at64(arg, offset uint8) Op { return Op{OpAt64, arg, offset} }
func pair(low uint8) Op         { return Op{OpPair, low, low + 1} }
func caps(header, d uint8) Op   { return Op{OpCaps, header, d} }

// Whose address the caller gives: enum gyre_address.
const (
	addrNone  = 0x40
	addrLocal = 0x20
)

func sock(fd uint8) Op              { return Op{OpSocket, fd, addrNone} }
func sockTo(fd, addr uint8) Op      { return Op{OpSocket, fd, addr} }
func sockBoundTo(fd, addr uint8) Op { return Op{OpSocket, fd, addr | addrLocal} }

// If is what must hold for a call to be reported: enum gyre_condition.
type If struct {
	Code   uint8
	Arg    uint8
	Values []uint32
}

func ifOK() If                              { return If{Code: 1} }
func ifIn(arg uint8, v ...uint32) If        { return If{2, arg, v} }
func ifNotIn(arg uint8, v ...uint32) If     { return If{3, arg, v} }
func ifSecurity(arg uint8) If               { return If{Code: 4, Arg: arg} }
func ifSocket012(arg uint8, v ...uint32) If { return If{5, arg, v} }
func ifSignal(arg uint8) If                 { return If{Code: 6, Arg: arg} }
func ifNewCode(fd uint8) If                 { return If{Code: 7, Arg: fd} }

// Handler is the program that makes the record: enum gyre_handler.
type Handler uint8

// The handlers.
const (
	HandleRow Handler = iota
	HandleOpen
	HandleExec
	HandleMessage
	handlerCount
)

// handlerNames are the programs by handler.
func handlerNames() [handlerCount]string {
	return [handlerCount]string{"on_row", "on_open", "on_exec", "on_message"}
}
