// Package wire reads and writes msgpack arrays for the versioned packages beside
// it. It adds to the msgpack codec what a decoder of hostile input needs: lengths
// are compared with the bytes that are left before anything is allocated, nesting
// of skipped values is bounded, and strings are cut from one copy of the input.
//
// A [Decoder] keeps its first error: read on and check [Decoder.Err] once.
package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/vmihailenco/msgpack/v5"
	"github.com/vmihailenco/msgpack/v5/msgpcode"
)

// ErrMalformed is wrapped by every decoding error: the same bytes will never decode.
var ErrMalformed = errors.New("malformed message")

// maxSkipDepth bounds the nesting of values that a reader skips.
const maxSkipDepth = 16

// Decoder reads one msgpack message. It is not safe for concurrent use.
type Decoder struct {
	data []byte
	text string // one copy of data; strings are cut from it
	r    bytes.Reader
	d    *msgpack.Decoder
	err  error
}

// NewDecoder returns a Decoder that has nothing to read; call [Decoder.Reset].
func NewDecoder() *Decoder {
	d := &Decoder{}
	d.d = msgpack.NewDecoder(&d.r)
	return d
}

// Reset makes d read data. Byte strings that d returns alias data; strings do not.
func (d *Decoder) Reset(data []byte) {
	d.data, d.text, d.err = data, "", nil
	d.r.Reset(data)
	d.d.Reset(&d.r)
}

// Err returns the first error.
func (d *Decoder) Err() error { return d.err }

// Len is the number of bytes not read yet.
func (d *Decoder) Len() int { return d.r.Len() }

// Fail records an error, unless there is one.
func (d *Decoder) Fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: byte %d: %s", ErrMalformed, len(d.data)-d.r.Len(), fmt.Sprintf(format, args...))
	}
}

func (d *Decoder) fail(what string, err error) {
	if errors.Is(err, io.EOF) {
		d.Fail("%s: message ends early", what)
		return
	}
	d.Fail("%s: %v", what, err)
}

// Array reads an array header and returns the number of elements, each of which
// takes at least one byte, so no more than the bytes left are believed. nil reads as 0.
func (d *Decoder) Array(what string, limit int) int {
	if d.err != nil {
		return 0
	}
	n, err := d.d.DecodeArrayLen()
	if err != nil {
		d.fail(what, err)
		return 0
	}
	if n < 0 {
		return 0
	}
	if n > d.r.Len() || n > limit {
		d.Fail("%s: %d elements, at most %d are possible here", what, n, min(limit, d.r.Len()))
		return 0
	}
	return n
}

// Int reads a signed integer of any width.
func (d *Decoder) Int() int64 {
	if d.err != nil {
		return 0
	}
	v, err := d.d.DecodeInt64()
	if err != nil {
		d.fail("integer", err)
	}
	return v
}

// Uint reads an unsigned integer of any width.
func (d *Decoder) Uint() uint64 {
	if d.err != nil {
		return 0
	}
	v, err := d.d.DecodeUint64()
	if err != nil {
		d.fail("unsigned integer", err)
	}
	return v
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
	if d.err != nil {
		return false
	}
	v, err := d.d.DecodeBool()
	if err != nil {
		d.fail("boolean", err)
	}
	return v
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
	if d.err != nil {
		return 0, 0
	}
	n, err := d.d.DecodeBytesLen()
	if err != nil {
		d.fail("string", err)
		return 0, 0
	}
	if n <= 0 {
		return 0, 0
	}
	if n > d.r.Len() {
		d.Fail("string of %d bytes, %d are left", n, d.r.Len())
		return 0, 0
	}
	from = len(d.data) - d.r.Len()
	if _, err := d.r.Seek(int64(n), io.SeekCurrent); err != nil {
		d.fail("string", err)
		return 0, 0
	}
	return from, from + n
}

// IsNil reads a nil if one is next and says whether it did.
func (d *Decoder) IsNil() bool { return d.next() == msgpcode.Nil && d.skipNil() }

func (d *Decoder) skipNil() bool {
	if err := d.d.DecodeNil(); err != nil {
		d.fail("nil", err)
	}
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
	if d.err != nil {
		return msgpcode.Nil
	}
	c, err := d.d.PeekCode()
	if err != nil {
		d.fail("value", err)
		return msgpcode.Nil
	}
	return c
}

// Skip reads past n values of any type, nested at most 16 deep.
func (d *Decoder) Skip(n int) { d.skip(n, 0) }

func (d *Decoder) skip(n, depth int) {
	if depth > maxSkipDepth {
		d.Fail("values nested deeper than %d", maxSkipDepth)
	}
	for ; n > 0 && d.err == nil; n-- {
		c := d.next()
		var inner int
		var err error
		switch {
		case msgpcode.IsFixedArray(c) || c == msgpcode.Array16 || c == msgpcode.Array32:
			inner, err = d.d.DecodeArrayLen()
		case msgpcode.IsFixedMap(c) || c == msgpcode.Map16 || c == msgpcode.Map32:
			inner, err = d.d.DecodeMapLen()
			inner *= 2
		case msgpcode.IsString(c) || msgpcode.IsBin(c):
			d.span()
			continue
		default:
			err = d.d.Skip()
		}
		if err != nil {
			d.fail("skipped value", err)
			return
		}
		if inner > d.r.Len() {
			d.Fail("%d values, %d bytes are left", inner, d.r.Len())
			return
		}
		d.skip(inner, depth+1)
	}
}

// Encoder writes one msgpack message into memory, which cannot fail.
type Encoder struct {
	buf bytes.Buffer
	e   *msgpack.Encoder
}

// NewEncoder returns an empty Encoder.
func NewEncoder() *Encoder {
	e := &Encoder{}
	e.e = msgpack.NewEncoder(&e.buf)
	return e
}

// Reset forgets what was written and keeps the memory.
func (e *Encoder) Reset() { e.buf.Reset() }

// Len is the number of bytes written.
func (e *Encoder) Len() int { return e.buf.Len() }

// Data returns what was written; it is valid until the next write or Reset.
func (e *Encoder) Data() []byte { return e.buf.Bytes() }

// Array writes the header of an array of n elements.
func (e *Encoder) Array(n int) { must(e.e.EncodeArrayLen(n)) }

// Int writes an integer in its shortest form.
func (e *Encoder) Int(v int64) { must(e.e.EncodeInt(v)) }

// Uint writes an unsigned integer in its shortest form.
func (e *Encoder) Uint(v uint64) { must(e.e.EncodeUint(v)) }

// Bool writes a boolean.
func (e *Encoder) Bool(v bool) { must(e.e.EncodeBool(v)) }

// String writes a string.
func (e *Encoder) String(s string) { must(e.e.EncodeString(s)) }

// Bytes writes a byte string.
func (e *Encoder) Bytes(b []byte) {
	if b == nil {
		b = []byte{}
	}
	must(e.e.EncodeBytes(b))
}

// Nil writes nil.
func (e *Encoder) Nil() { must(e.e.EncodeNil()) }

// must states that writes to a bytes.Buffer return no error: it panics instead when memory is out.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
