package wire_test

import (
	"errors"
	"testing"

	"github.com/gyre-sec/gyre/schemas/wire"
)

func TestHostileLengths(t *testing.T) {
	for name, data := range map[string][]byte{
		"array of 4 Gi":     {0xdd, 0xff, 0xff, 0xff, 0xff},
		"string of 4 Gi":    {0xdb, 0xff, 0xff, 0xff, 0xff, 'x'},
		"bin of 4 Gi":       {0xc6, 0xff, 0xff, 0xff, 0xff, 'x'},
		"map of 4 Gi":       {0xdf, 0xff, 0xff, 0xff, 0xff},
		"never used (0xc1)": {0xc1},
		"nothing":           {},
	} {
		t.Run(name, func(t *testing.T) {
			d := wire.NewDecoder()
			for _, read := range []func(){func() { d.Array("a", 10) }, func() { _ = d.String() }, func() { d.Bytes() }, func() { d.Skip(1) }, func() { d.Int() }} {
				d.Reset(data)
				read()
				d.Peek()
				if !errors.Is(d.Err(), wire.ErrMalformed) {
					t.Errorf("accepted: %v", d.Err())
				}
			}
		})
	}
}

func TestSkipIsBounded(t *testing.T) {
	deep := make([]byte, 1<<20)
	for i := range deep {
		deep[i] = 0x91
	}
	d := wire.NewDecoder()
	d.Reset(deep)
	d.Skip(1)
	if !errors.Is(d.Err(), wire.ErrMalformed) {
		t.Errorf("a million nested arrays were skipped: %v", d.Err())
	}
}

func TestFirstErrorStays(t *testing.T) {
	d := wire.NewDecoder()
	d.Reset([]byte{0xc0})
	d.Uint32()
	d.Fail("later")
	first := d.Err()
	d.Int()
	if !errors.Is(d.Err(), first) {
		t.Errorf("%v, was %v", d.Err(), first)
	}
}
