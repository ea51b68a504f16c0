package field

import (
	"strconv"
	"unicode/utf8"
)

// EventJSON appends to dst one JSON object with every field that the event has and that is not empty, in
// the order of the catalogue, and returns the extended slice. Bytes that are not
// UTF-8 become U+FFFD.
func EventJSON(dst []byte, v *View) []byte {
	dst = append(dst, '{')
	first := true
	for _, f := range catalogue {
		x := f.Value(v)
		if x == nil || x == "" { // what is there and empty would only be noise here
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = append(appendJSONString(dst, f.Name), ':')
		switch x := x.(type) {
		case string:
			dst = appendJSONString(dst, x)
		case int64:
			dst = strconv.AppendInt(dst, x, 10)
		case bool:
			dst = strconv.AppendBool(dst, x)
		case []string:
			dst = append(dst, '[')
			for i, s := range x {
				if i > 0 {
					dst = append(dst, ',')
				}
				dst = appendJSONString(dst, s)
			}
			dst = append(dst, ']')
		}
	}
	return append(dst, '}')
}

func appendJSONString(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
			i++
		case c < 0x20 || c == 0x7f:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
			i++
		case c < utf8.RuneSelf:
			dst = append(dst, c)
			i++
		default:
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				dst = append(dst, "\ufffd"...)
			} else {
				dst = append(dst, s[i:i+n]...)
			}
			i += n
		}
	}
	return append(dst, '"')
}
