package daemon

import (
	"reflect"
	"unicode"
	"unicode/utf8"
)

type reflectValue = reflect.Value

func valueOf(ptr any) reflect.Value { return reflect.ValueOf(ptr).Elem() }

// isPlainUTF8 says whether YAML can hold s: control characters other than those JSON escapes are not in its set.
func isPlainUTF8(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if unicode.Is(unicode.Cs, r) || r == 0xFEFF || r == 0xFFFE || r == 0xFFFF {
			return false
		}
	}
	return true
}
