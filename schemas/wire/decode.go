package wire

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/vmihailenco/msgpack/v5/msgpcode"
)

// Decoder reads one msgpack message. It is not safe for concurrent use.
type Decoder struct {
	data []byte
	at   int    // of the next byte; never beyond the end
	text string // one copy of data; strings are cut from it
	err  error
}

// NewDecoder returns a Decoder that has nothing to read; call [Decoder.Reset].
func NewDecoder() *Decoder { return &Decoder{} }

// Reset makes d read data. Byte strings that d returns alias data; strings do not.
func (d *Decoder) Reset(data []byte) { d.data, d.at, d.text, d.err = data, 0, "", nil }

// Err returns the first error.
func (d *Decoder) Err() error { return d.err }

// Len is the number of bytes not read yet.
func (d *Decoder) Len() int { return len(d.data) - d.at }

// Fail records an error, unless there is one.
func (d *Decoder) Fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: byte %d: %s", ErrMalformed, d.at, fmt.Sprintf(format, args...))
	}
}

func (d *Decoder) early(what string) { d.Fail("%s: message ends early", what) }

func (d *Decoder) wrong(what string, code byte) { d.Fail("%s: it begins with %#02x", what, code) }

// code reads the byte that a value begins with; false means that there is none.
func (d *Decoder) code(what string) (byte, bool) {
	if d.err != nil {
		return 0, false
	}
	if d.at >= len(d.data) {
		d.early(what)
		return 0, false
	}
	c := d.data[d.at]
	d.at++
	return c, true
}

// big reads n bytes, 1, 2, 4 or 8, as a big-endian number.
func (d *Decoder) big(what string, n int) uint64 {
	b := d.data[d.at:]
	if len(b) < n {
		d.early(what)
		return 0
	}
	d.at += n
	switch n {
	case 1:
		return uint64(b[0])
	case 2:
		return uint64(binary.BigEndian.Uint16(b))
	case 4:
		return uint64(binary.BigEndian.Uint32(b))
	default:
		return binary.BigEndian.Uint64(b)
	}
}

// Array reads an array header and returns the number of elements, each of which
// takes at least one byte, so no more than the bytes left are believed. nil reads as 0.
func (d *Decoder) Array(what string, limit int) int {
	c, ok := d.code(what)
	if !ok {
		return 0
	}
	var n uint64
	switch {
	case msgpcode.IsFixedArray(c):
		n = uint64(c & msgpcode.FixedArrayMask)
	case c == msgpcode.Array16:
		n = d.big(what, 2)
	case c == msgpcode.Array32:
		n = d.big(what, 4)
	case c != msgpcode.Nil:
		d.wrong(what, c)
	}
	if d.err != nil {
		return 0
	}
	if n > uint64(d.Len()) || n > uint64(limit) {
		d.Fail("%s: %d elements, at most %d are possible here", what, n, min(limit, d.Len()))
		return 0
	}
	return int(n)
}

// Int reads a signed integer of any width.
func (d *Decoder) Int() int64 {
	if d.err == nil && d.at < len(d.data) {
		if c := d.data[d.at]; c <= msgpcode.PosFixedNumHigh {
			d.at++
			return int64(c)
		}
	}
	return d.integer("integer")
}

// Uint reads an unsigned integer of any width.
func (d *Decoder) Uint() uint64 {
	if d.err == nil && d.at < len(d.data) {
		if c := d.data[d.at]; c <= msgpcode.PosFixedNumHigh {
			d.at++
			return uint64(c)
		}
	}
	return uint64(d.integer("unsigned integer"))
}

// integer reads an integer of any width; one beyond 63 bits wraps around, as it does between signed and unsigned.
func (d *Decoder) integer(what string) int64 {
	c, ok := d.code(what)
	if !ok {
		return 0
	}
	switch c {
	case msgpcode.Nil:
		return 0
	case msgpcode.Uint8:
		return int64(d.big(what, 1))
	case msgpcode.Int8:
		return int64(int8(d.big(what, 1)))
	case msgpcode.Uint16:
		return int64(d.big(what, 2))
	case msgpcode.Int16:
		return int64(int16(d.big(what, 2)))
	case msgpcode.Uint32:
		return int64(d.big(what, 4))
	case msgpcode.Int32:
		return int64(int32(d.big(what, 4)))
	case msgpcode.Uint64, msgpcode.Int64:
		return int64(d.big(what, 8))
	}
	if !msgpcode.IsFixedNum(c) {
		d.wrong(what, c)
		return 0
	}
	return int64(int8(c))
}

// Uint32 reads an unsigned integer that must fit 32 bits.
func (d *Decoder) Uint32() uint32 {
	v := d.Uint()
	if v > math.MaxUint32 {
		d.Fail("%d does not fit 32 bits", v)
		return 0
	}
	return uint32(v)
}

// Index reads a table index: -1, or less than n.
func (d *Decoder) Index(what string, n int) int32 {
	v := d.Int()
	if v < -1 || v >= int64(n) {
		d.Fail("%s index %d is outside of a table of %d", what, v, n)
		return -1
	}
	return int32(v)
}

// Bool reads a boolean.
func (d *Decoder) Bool() bool {
	c, ok := d.code("boolean")
	if ok && c != msgpcode.True && c != msgpcode.False && c != msgpcode.Nil {
		d.wrong("boolean", c)
	}
	return ok && c == msgpcode.True
}

// Bytes reads a byte string or string; the result aliases the input.
func (d *Decoder) Bytes() []byte {
	from, to := d.span()
	return d.data[from:to:to]
}

// String reads a string or byte string. Its bytes need not be UTF-8: paths and arguments are not.
func (d *Decoder) String() string {
	from, to := d.span()
	if from == to {
		return ""
	}
	if d.text == "" {
		d.text = string(d.data)
	}
	return d.text[from:to]
}

func (d *Decoder) span() (from, to int) {
	c, ok := d.code("string")
	if !ok {
		return 0, 0
	}
	var n uint64
	switch {
	case msgpcode.IsFixedString(c):
		n = uint64(c & msgpcode.FixedStrMask)
	case c == msgpcode.Str8 || c == msgpcode.Bin8:
		n = d.big("string", 1)
	case c == msgpcode.Str16 || c == msgpcode.Bin16:
		n = d.big("string", 2)
	case c == msgpcode.Str32 || c == msgpcode.Bin32:
		n = d.big("string", 4)
	case c != msgpcode.Nil:
		d.wrong("string", c)
	}
	if d.err != nil || n == 0 {
		return 0, 0
	}
	if n > uint64(d.Len()) {
		d.Fail("string of %d bytes, %d are left", n, d.Len())
		return 0, 0
	}
	from = d.at
	d.at += int(n)
	return from, d.at
}

// IsNil reads a nil if one is next and says whether it did.
func (d *Decoder) IsNil() bool {
	if d.next() != msgpcode.Nil {
		return false
	}
	d.code("nil")
	return true
}

// Type says what kind of value is next.
type Type uint8

// The types that [Decoder.Peek] tells apart.
const (
	Other Type = iota
	Nil
	Boolean
	Integer
	Text
	List
)

// Peek tells the type of the next value without reading it.
func (d *Decoder) Peek() Type {
	c := d.next()
	switch {
	case c == msgpcode.Nil:
		return Nil
	case c == msgpcode.True || c == msgpcode.False:
		return Boolean
	case msgpcode.IsFixedNum(c) || c >= msgpcode.Uint8 && c <= msgpcode.Int64:
		return Integer
	case msgpcode.IsString(c) || msgpcode.IsBin(c):
		return Text
	case msgpcode.IsFixedArray(c) || c == msgpcode.Array16 || c == msgpcode.Array32:
		return List
	default:
		return Other
	}
}

func (d *Decoder) next() byte {
	if d.err == nil && d.at >= len(d.data) {
		d.early("value")
	}
	if d.err != nil {
		return msgpcode.Nil
	}
	return d.data[d.at]
}
