package wire

import (
	"bytes"

	"github.com/vmihailenco/msgpack/v5"
)

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
