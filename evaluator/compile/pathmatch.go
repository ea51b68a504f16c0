package compile

import (
	"encoding/hex"
	"strings"

	"github.com/gyre-sec/gyre/evaluator/celenv"
)

// pathMatchAny tests paths against patterns of paths. Those that begin with a plain component are found by it.
func pathMatchAny(pats []string) func(string) bool {
	byFirst, rest := map[string][]string{}, []string(nil)
	for _, p := range pats {
		first := firstComponent(p)
		if first == "" || strings.ContainsAny(first, "?*[") {
			rest = append(rest, p)
			continue
		}
		byFirst[first] = append(byFirst[first], p)
	}
	any := func(s string, pats []string) bool {
		for _, p := range pats {
			if celenv.PathMatch(s, p) {
				return true
			}
		}
		return false
	}
	return func(s string) bool {
		if s == "" {
			return false
		}
		return any(s, byFirst[firstComponent(s)]) || any(s, rest)
	}
}

func firstComponent(path string) string {
	first, _, _ := strings.Cut(strings.TrimLeft(path, "/"), "/")
	return first
}

// fnmatchAny tests against patterns in turn, after a look at what each begins with.
func fnmatchAny(test func(s, pat string) bool, pats []string) func(string) bool {
	return func(s string) bool {
		for _, p := range pats {
			if p != "" && s != "" && p[0] == '/' && s[0] != '/' {
				continue
			}
			if test(s, p) {
				return true
			}
		}
		return false
	}
}

// fromHex decodes byte patterns; one that is no hexadecimal number is in nothing.
func fromHex(pats []string) []string {
	var out []string
	for _, p := range pats {
		if b, err := hex.DecodeString(p); err == nil {
			out = append(out, string(b))
		}
	}
	return sortUnique(out)
}
