package wire

import "github.com/vmihailenco/msgpack/v5/msgpcode"

// Skip reads past n values of any type, nested at most 16 deep.
func (d *Decoder) Skip(n int) { d.skip(n, 0) }

const skipped = "skipped value"

func (d *Decoder) skip(n, depth int) {
	if n > 0 && depth > maxSkipDepth {
		d.Fail("values nested deeper than %d", maxSkipDepth)
	}
	for ; n > 0 && d.err == nil; n-- {
		c := d.next()
		if msgpcode.IsString(c) || msgpcode.IsBin(c) {
			d.span()
			continue
		}
		d.code(skipped)
		inner := uint64(0)
		switch {
		case d.err != nil:
			return
		case msgpcode.IsFixedArray(c):
			inner = uint64(c & msgpcode.FixedArrayMask)
		case msgpcode.IsFixedMap(c):
			inner = 2 * uint64(c&msgpcode.FixedMapMask)
		case c == msgpcode.Array16:
			inner = d.big(skipped, 2)
		case c == msgpcode.Array32:
			inner = d.big(skipped, 4)
		case c == msgpcode.Map16:
			inner = 2 * d.big(skipped, 2)
		case c == msgpcode.Map32:
			inner = 2 * d.big(skipped, 4)
		default:
			d.pass(d.width(c))
			continue
		}
		if inner > uint64(d.Len()) {
			d.Fail("%d values, %d bytes are left", inner, d.Len())
		}
		if d.err == nil {
			d.skip(int(inner), depth+1)
		}
	}
}

// width is how many bytes follow the first one of a value that is neither string nor list nor map.
func (d *Decoder) width(c byte) uint64 {
	switch c {
	case msgpcode.Nil, msgpcode.False, msgpcode.True:
		return 0
	case msgpcode.Uint8, msgpcode.Int8:
		return 1
	case msgpcode.Uint16, msgpcode.Int16, msgpcode.FixExt1: // an extension has a byte for its type
		return 2
	case msgpcode.FixExt2:
		return 3
	case msgpcode.Uint32, msgpcode.Int32, msgpcode.Float:
		return 4
	case msgpcode.FixExt4:
		return 5
	case msgpcode.Uint64, msgpcode.Int64, msgpcode.Double:
		return 8
	case msgpcode.FixExt8:
		return 9
	case msgpcode.FixExt16:
		return 17
	case msgpcode.Ext8:
		return d.big(skipped, 1) + 1
	case msgpcode.Ext16:
		return d.big(skipped, 2) + 1
	case msgpcode.Ext32:
		return d.big(skipped, 4) + 1
	}
	if !msgpcode.IsFixedNum(c) {
		d.wrong(skipped, c)
	}
	return 0
}

// pass reads past n bytes.
func (d *Decoder) pass(n uint64) {
	if n > uint64(d.Len()) {
		d.early(skipped)
		return
	}
	d.at += int(n)
}
