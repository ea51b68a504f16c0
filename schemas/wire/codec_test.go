package wire_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/gyre-sec/gyre/schemas/wire"
)

// reads are the decoder's ways to read a value, each beside the codec's.
var reads = []struct {
	name  string
	wire  func(*wire.Decoder) any
	codec func(*msgpack.Decoder) (any, error)
}{
	{"Int", func(d *wire.Decoder) any { return d.Int() }, func(d *msgpack.Decoder) (any, error) { v, err := d.DecodeInt64(); return v, err }},
	{"Uint", func(d *wire.Decoder) any { return d.Uint() }, func(d *msgpack.Decoder) (any, error) { v, err := d.DecodeUint64(); return v, err }},
	{"Bool", func(d *wire.Decoder) any { return d.Bool() }, func(d *msgpack.Decoder) (any, error) { v, err := d.DecodeBool(); return v, err }},
	{"String", func(d *wire.Decoder) any { return d.String() }, func(d *msgpack.Decoder) (any, error) { v, err := d.DecodeString(); return v, err }},
	{"Bytes", func(d *wire.Decoder) any { return string(d.Bytes()) }, func(d *msgpack.Decoder) (any, error) { v, err := d.DecodeBytes(); return string(v), err }},
	{"Array", func(d *wire.Decoder) any { return d.Array("a", 1<<20) }, func(d *msgpack.Decoder) (any, error) { v, err := d.DecodeArrayLen(); return max(v, 0), err }},
	{"Skip", func(d *wire.Decoder) any { d.Skip(1); return nil }, func(d *msgpack.Decoder) (any, error) { return nil, d.Skip() }},
}

// agree compares both on one value: the same value, as many bytes read; what the codec refuses the decoder refuses.
func agree(t *testing.T, data []byte) {
	t.Helper()
	for i := range len(data) - 4 { // the codec makes room for what such lengths promise
		if c := data[i]; (c == 0xdb || c == 0xc6 || c == 0xc9) && binary.BigEndian.Uint32(data[i+1:]) > 1<<16 {
			return
		}
	}
	for _, r := range reads {
		src := bytes.NewReader(data)
		want, err := r.codec(msgpack.NewDecoder(src))
		d := wire.NewDecoder()
		d.Reset(data)
		got := r.wire(d)
		switch {
		case err != nil && d.Err() == nil:
			t.Errorf("%s of %x: %v, the codec says %v", r.name, data, got, err)
		case err == nil && d.Err() != nil && r.name != "Array" && r.name != "Skip": // their bounds are narrower
			t.Errorf("%s of %x: %v, the codec says %v", r.name, data, d.Err(), want)
		case err == nil && d.Err() == nil && (got != want || d.Len() != src.Len()):
			t.Errorf("%s of %x: %v with %d bytes left, the codec says %v with %d", r.name, data, got, d.Len(), want, src.Len())
		}
	}
}

func TestAgreesWithCodec(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for c := range 256 {
		for n := range 20 {
			data := make([]byte, 1+n)
			for i := range data {
				data[i] = byte(r.Uint32())
			}
			data[0] = byte(c)
			agree(t, data)
			for i := 1; i < len(data); i++ { // lengths that can be
				data[i] = byte(r.IntN(3))
			}
			agree(t, data)
		}
	}
}

func FuzzAgreesWithCodec(f *testing.F) {
	f.Add([]byte{0xda, 0, 1, 'x'})
	f.Add([]byte{0x82, 1, 2, 3, 0xc0})
	f.Add([]byte{0xc7, 2, 9, 1, 2})
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<12 {
			return
		}
		agree(t, data)
	})
}

// TestEncodesAsCodec writes values around every change of form, and compares with what the codec writes.
func TestEncodesAsCodec(t *testing.T) {
	var ints []int64
	for shift := range 64 {
		for d := int64(-2); d <= 2; d++ {
			ints = append(ints, int64(1)<<shift+d, -(int64(1)<<shift)+d)
		}
	}
	lengths := []int{0, 1, 15, 16, 31, 32, 127, 128, 255, 256, 257, 65535, 65536, 65537}
	e := wire.NewEncoder()
	var buf bytes.Buffer
	c := msgpack.NewEncoder(&buf)
	check := func(what string, v any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(e.Data(), buf.Bytes()) || e.Len() != buf.Len() {
			t.Errorf("%s %v: %x, the codec writes %x", what, v, e.Data()[:min(16, e.Len())], buf.Bytes()[:min(16, buf.Len())])
		}
		e.Reset()
		buf.Reset()
	}
	for _, v := range ints {
		e.Int(v)
		check("int", v, c.EncodeInt(v))
		e.Uint(uint64(v))
		check("uint", uint64(v), c.EncodeUint(uint64(v)))
	}
	for _, n := range lengths {
		s := strings.Repeat("x", n)
		e.String(s)
		check("string of", n, c.EncodeString(s))
		e.Bytes([]byte(s))
		check("bytes of", n, c.EncodeBytes([]byte(s)))
		e.Array(n)
		check("array of", n, c.EncodeArrayLen(n))
	}
	e.Bytes(nil) // an empty byte string, not nil
	check("no bytes", "", c.EncodeBytes([]byte{}))
	e.Bool(true)
	e.Bool(false)
	e.Nil()
	check("bools and nil", "", errors.Join(c.EncodeBool(true), c.EncodeBool(false), c.EncodeNil()))
}
