package eventv1

import "github.com/gyre-sec/gyre/schemas/wire"

// EventFlag tells how an event came about.
type EventFlag uint16

// The event flags.
const (
	// FlagCompat32: made through a 32-bit entry point.
	FlagCompat32 EventFlag = 1 << iota
	// FlagIOUring: submitted through io_uring.
	FlagIOUring
	// FlagTruncated: a string of the event was longer than the collector reads.
	FlagTruncated
)

// FileFlag tells what is known of a file.
type FileFlag uint32

// The file flags.
const (
	// FileUpperLayer: the file lies in the upper layer of an overlay.
	FileUpperLayer FileFlag = 1 << iota
	// FileMemfd: the file lives in memory only, see memfd_create(2).
	FileMemfd
	// FileDeleted: the file had no name any more.
	FileDeleted
)

// Event is one decoded event. It is a plain value; its strings are indexes into
// the batch's string table, see [Batch.Text].
type Event struct {
	Kind  Kind
	Flags EventFlag
	CPU   uint16
	// NArgs is how many of Args were on the wire; the others are zero.
	NArgs uint8
	// Proc is the row of the process that acted, -1 if it is not known.
	Proc int32
	TID  uint32
	// Seq is the event's number on its node and boot: with these two, its identity.
	Seq uint64
	// Time is in nanoseconds since the Unix epoch.
	Time int64
	// Ret is the result of the call: negative is -errno. It is 0 for kinds that are no call.
	Ret  int64
	Args [MaxArgs]int64
}

// Failed tells whether the call returned an error.
func (e *Event) Failed() bool { return e.Ret < 0 }

// Str returns a string argument's index.
func (e *Event) Str(arg int) StrID { return StrID(e.Args[arg]) }

// encode appends the event with its first n arguments; seq and time are those of the event before.
func (e *Event) encode(x *wire.Encoder, n int, seq uint64, time int64) {
	x.Array(eventLen + n)
	x.Uint(uint64(e.Kind))
	x.Uint(e.Seq - seq)
	rest := [eventLen - 2]int64{e.Time - time, int64(e.Proc), int64(e.TID), e.Ret, int64(e.CPU), int64(e.Flags)}
	x.Ints(rest[:])
	x.Ints(e.Args[:n])
}
