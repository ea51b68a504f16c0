package compile

import (
	"strings"

	"github.com/gyre-sec/gyre/evaluator/celenv"
)

// mode says how a text fits a pattern.
type mode uint8

const (
	modeEqual mode = iota
	modePrefix
	modeSuffix
	modeContains
	modePath
	modeGlob
	modeCIDR
	modeRegex
	modePathMatch
	modeFNMatch
	modeFNMatchFold
	modeContainsHex
	modePrefixHex
)

var modeNames = [...]string{"in", "startsWith", "endsWith", "contains", "pathPrefix", "glob", "inCidr", "matches", "pmatch", "fnmatch", "ifnmatch", "bcontains", "bstartsWith"}

// pattern is a test of one string against constants: true if it fits any of pats. With
// fold it is the lower-case form of the string that must fit.
type pattern struct {
	mode mode
	fold bool
	pats []string // sorted, each once
}

func newPattern(m mode, fold bool, pats ...string) *pattern {
	return &pattern{m, fold, sortUnique(pats)}
}

func (p *pattern) String() string {
	name := modeNames[p.mode]
	if p.fold {
		name = "lower()." + name
	}
	return name + quoted(p.pats)
}

// holds is the plain form of the test, for constants.
func (p *pattern) holds(s string) bool {
	if p.fold {
		s = celenv.LowerASCII(s)
	}
	test := simpleTest(p.mode)
	for _, x := range p.pats {
		if test(s, x) {
			return true
		}
	}
	return false
}

// simpleTest is how one text is tested against one pattern of a mode that is no regular expression.
func simpleTest(m mode) func(s, pat string) bool {
	switch m {
	case modeEqual:
		return func(s, pat string) bool { return s == pat }
	case modePrefix:
		return strings.HasPrefix
	case modeSuffix:
		return strings.HasSuffix
	case modeContains:
		return strings.Contains
	case modePath:
		return celenv.PathPrefix
	case modeGlob:
		return celenv.Glob
	case modeCIDR:
		return celenv.InCIDR
	case modePathMatch:
		return celenv.PathMatch
	case modeFNMatch:
		return celenv.FNMatch
	case modeFNMatchFold:
		return celenv.FNMatchFold
	case modeContainsHex:
		return celenv.ContainsHex
	case modePrefixHex:
		return celenv.HasPrefixHex
	default:
		return func(s, pat string) bool { return compileRegex(pat)(s) }
	}
}

// matcher makes the fast form of the test.
func (p *pattern) matcher() func(string) bool {
	switch p.mode {
	case modeEqual:
		return equalAny(p.pats)
	case modePrefix:
		return prefixAny(p.pats)
	case modeSuffix:
		return suffixAny(p.pats)
	case modeContains:
		return containsAny(p.pats)
	case modePath:
		return pathAny(p.pats)
	case modeGlob:
		return globAny(p.pats)
	case modeCIDR:
		return cidrAny(p.pats)
	case modePathMatch:
		return pathMatchAny(p.pats)
	case modeFNMatch, modeFNMatchFold:
		return fnmatchAny(simpleTest(p.mode), p.pats)
	case modeContainsHex:
		return containsAny(fromHex(p.pats))
	case modePrefixHex:
		return prefixAny(fromHex(p.pats))
	default:
		return regexAny(p.pats)
	}
}

// few is up to how many constants are compared one by one.
const few = 3

func equalAny(pats []string) func(string) bool {
	switch len(pats) {
	case 0:
		return func(string) bool { return false }
	case 1:
		a := pats[0]
		return func(s string) bool { return s == a }
	case 2:
		a, b := pats[0], pats[1]
		return func(s string) bool { return s == a || s == b }
	case 3:
		a, b, c := pats[0], pats[1], pats[2]
		return func(s string) bool { return s == a || s == b || s == c }
	}
	set := make(map[string]struct{}, len(pats))
	var gate endGate
	for _, p := range pats {
		set[p] = struct{}{}
		gate.add(p)
	}
	return func(s string) bool {
		if !gate.may(s) {
			return false
		}
		_, in := set[s]
		return in
	}
}

// endGate refuses most strings that are not in a set by their length and last byte.
type endGate struct {
	lengths uint64
	last    [4]uint64
	empty   bool
}

func (g *endGate) add(s string) {
	if s == "" {
		g.empty = true
		return
	}
	g.lengths |= 1 << (len(s) & 63)
	c := s[len(s)-1]
	g.last[c>>6] |= 1 << (c & 63)
}

func (g *endGate) may(s string) bool {
	if s == "" {
		return g.empty
	}
	c := s[len(s)-1]
	return g.lengths>>(len(s)&63)&1 != 0 && g.last[c>>6]>>(c&63)&1 != 0
}

func prefixAny(pats []string) func(string) bool {
	if len(pats) == 1 {
		a := pats[0]
		return func(s string) bool { return strings.HasPrefix(s, a) }
	}
	if len(pats) <= few {
		return func(s string) bool {
			for _, p := range pats {
				if strings.HasPrefix(s, p) {
					return true
				}
			}
			return false
		}
	}
	t := newTrie(pats)
	return func(s string) bool { return t.prefix(s) }
}

func suffixAny(pats []string) func(string) bool {
	if len(pats) == 1 {
		a := pats[0]
		return func(s string) bool { return strings.HasSuffix(s, a) }
	}
	var last [4]uint64
	every := false
	for _, p := range pats {
		if p == "" {
			every = true
			continue
		}
		c := p[len(p)-1]
		last[c>>6] |= 1 << (c & 63)
	}
	if every {
		return func(string) bool { return true }
	}
	return func(s string) bool {
		if s == "" {
			return false
		}
		if c := s[len(s)-1]; last[c>>6]>>(c&63)&1 == 0 {
			return false
		}
		for _, p := range pats {
			if strings.HasSuffix(s, p) {
				return true
			}
		}
		return false
	}
}

// manySubstrings is from how many substrings on one pass of an automaton beats a search for each.
const manySubstrings = 8

func containsAny(pats []string) func(string) bool {
	if len(pats) == 1 {
		a := pats[0]
		return func(s string) bool { return strings.Contains(s, a) }
	}
	if len(pats) >= manySubstrings {
		if a := newAutomaton(pats); a != nil {
			return a.any
		}
	}
	return func(s string) bool {
		for _, p := range pats {
			if strings.Contains(s, p) {
				return true
			}
		}
		return false
	}
}

func pathAny(pats []string) func(string) bool {
	var dirs []string
	for _, p := range pats {
		if p != "" {
			dirs = append(dirs, strings.TrimSuffix(p, "/"))
		}
	}
	if len(dirs) <= few {
		return func(s string) bool {
			for _, d := range dirs {
				if s != "" && strings.HasPrefix(s, d) && (len(s) == len(d) || s[len(d)] == '/') {
					return true
				}
			}
			return false
		}
	}
	t := newTrie(dirs)
	return func(s string) bool { return s != "" && t.path(s) }
}
