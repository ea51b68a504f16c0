package wire

import (
	"encoding/binary"
	"math"

	"github.com/vmihailenco/msgpack/v5/msgpcode"
)

// Encoder writes one msgpack message into memory, which cannot fail. Every value has its shortest form, that of msgpack v5's encoder
// (TestEncodesAsCodec compares them).
type Encoder struct{ b []byte }

// NewEncoder returns an empty Encoder.
func NewEncoder() *Encoder { return &Encoder{b: make([]byte, 0, 64)} }

// Reset forgets what was written and keeps the memory.
func (e *Encoder) Reset() { e.b = e.b[:0] }

// Len is the number of bytes written.
func (e *Encoder) Len() int { return len(e.b) }

// Data returns what was written; it is valid until the next write or Reset.
func (e *Encoder) Data() []byte { return e.b }

// Array writes the header of an array of n elements.
func (e *Encoder) Array(n int) {
	switch {
	case n < 16:
		e.b = append(e.b, msgpcode.FixedArrayLow|byte(n))
	case n <= math.MaxUint16:
		e.b = append(e.b, msgpcode.Array16, byte(n>>8), byte(n))
	default:
		e.b = binary.BigEndian.AppendUint32(append(e.b, msgpcode.Array32), uint32(n))
	}
}

// Int writes an integer in its shortest form.
func (e *Encoder) Int(v int64) { e.b = appendInt(e.b, v) }

// Uint writes an unsigned integer in its shortest form.
func (e *Encoder) Uint(v uint64) { e.b = appendUint(e.b, v) }

// Ints writes integers in their shortest forms, one after the other.
func (e *Encoder) Ints(v []int64) {
	b := e.b
	for _, v := range v {
		if uint64(v) <= math.MaxInt8 {
			b = append(b, byte(v))
			continue
		}
		b = appendInt(b, v)
	}
	e.b = b
}

func appendInt(b []byte, v int64) []byte {
	switch {
	case v >= 0:
		return appendUint(b, uint64(v))
	case v >= -32:
		return append(b, byte(v))
	case v >= math.MinInt8:
		return append(b, msgpcode.Int8, byte(v))
	case v >= math.MinInt16:
		return append(b, msgpcode.Int16, byte(v>>8), byte(v))
	case v >= math.MinInt32:
		return append(b, msgpcode.Int32, byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
	default:
		return binary.BigEndian.AppendUint64(append(b, msgpcode.Int64), uint64(v))
	}
}

func appendUint(b []byte, v uint64) []byte {
	switch {
	case v <= math.MaxInt8:
		return append(b, byte(v))
	case v <= math.MaxUint8:
		return append(b, msgpcode.Uint8, byte(v))
	case v <= math.MaxUint16:
		return append(b, msgpcode.Uint16, byte(v>>8), byte(v))
	case v <= math.MaxUint32:
		return append(b, msgpcode.Uint32, byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
	default:
		return binary.BigEndian.AppendUint64(append(b, msgpcode.Uint64), v)
	}
}

// Bool writes a boolean.
func (e *Encoder) Bool(v bool) {
	c := msgpcode.False
	if v {
		c = msgpcode.True
	}
	e.b = append(e.b, c)
}

// String writes a string.
func (e *Encoder) String(s string) {
	if len(s) < 32 {
		e.b = append(e.b, msgpcode.FixedStrLow|byte(len(s)))
	} else {
		e.length(len(s), msgpcode.Str8, msgpcode.Str16, msgpcode.Str32)
	}
	e.b = append(e.b, s...)
}

// Bytes writes a byte string.
func (e *Encoder) Bytes(b []byte) {
	e.length(len(b), msgpcode.Bin8, msgpcode.Bin16, msgpcode.Bin32)
	e.b = append(e.b, b...)
}

// length writes a code and a length of 1, 2 or 4 bytes. Messages are far below 4 GiB.
func (e *Encoder) length(n int, c8, c16, c32 byte) {
	switch {
	case n <= math.MaxUint8:
		e.b = append(e.b, c8, byte(n))
	case n <= math.MaxUint16:
		e.b = append(e.b, c16, byte(n>>8), byte(n))
	default:
		e.b = binary.BigEndian.AppendUint32(append(e.b, c32), uint32(n))
	}
}

// Nil writes nil.
func (e *Encoder) Nil() { e.b = append(e.b, msgpcode.Nil) }
