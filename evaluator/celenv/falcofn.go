package celenv

import (
	"encoding/base64"
	"encoding/hex"
	"strings"
)

// PathMatch tells whether s is the path that the pattern describes or lies below it. The
// pattern is compared component by component, each with [FNMatch]: "/etc/*/conf.d"
// matches "/etc/nginx/conf.d/site". Repeated slashes count as one.
func PathMatch(s, pattern string) bool {
	if s == "" {
		return false
	}
	for {
		var want, have string
		if want, pattern = component(pattern); want == "" {
			return true
		}
		if have, s = component(s); have == "" {
			return false
		}
		if want != have && (!strings.ContainsAny(want, "?*[") || !FNMatch(have, want)) {
			return false
		}
	}
}

// component returns the first component of a path and the rest.
func component(path string) (first, rest string) {
	first, rest, _ = strings.Cut(strings.TrimLeft(path, "/"), "/")
	return first, rest
}

// ContainsFold tells whether sub is in s without regard to the case of ASCII letters.
func ContainsFold(s, sub string) bool {
	for i := 0; i+len(sub) <= len(s); i++ {
		if equalFold(s[i:i+len(sub)], sub) {
			return true
		}
	}
	return false
}

func equalFold(a, b string) bool {
	for i := range len(a) {
		if lowerByte(a[i]) != lowerByte(b[i]) {
			return false
		}
	}
	return true
}

// LowerASCII and UpperASCII change the case of ASCII letters only.
func LowerASCII(s string) string { return mapBytes(s, lowerByte) }

// UpperASCII is the counterpart of [LowerASCII].
func UpperASCII(s string) string { return mapBytes(s, upperByte) }

func mapBytes(s string, f func(byte) byte) string {
	for i := range len(s) {
		if f(s[i]) == s[i] {
			continue
		}
		b := []byte(s)
		for ; i < len(b); i++ {
			b[i] = f(b[i])
		}
		return string(b)
	}
	return s
}

// IsBase64 tells whether s is standard Base64, with or without padding.
func IsBase64(s string) bool {
	_, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(s, "="))
	return err == nil
}

// ContainsHex tells whether s contains the bytes that are given in hexadecimal; text that is no such number is in nothing.
func ContainsHex(s, digits string) bool {
	b, err := hex.DecodeString(digits)
	return err == nil && strings.Contains(s, string(b))
}

// HasPrefixHex is [ContainsHex] for the beginning of s.
func HasPrefixHex(s, digits string) bool {
	b, err := hex.DecodeString(digits)
	return err == nil && strings.HasPrefix(s, string(b))
}

// ValueOf returns what follows "name=" in the first element that begins so.
func ValueOf(list []string, name string) (string, bool) {
	for _, s := range list {
		if k, v, ok := strings.Cut(s, "="); ok && k == name {
			return v, true
		}
	}
	return "", false
}
