package compile

import (
	"strings"

	"github.com/gyre-sec/gyre/evaluator/celenv"
)

// globber is one glob pattern taken apart: what the text must start and end with, and
// the pieces between in order. A pattern with ? or a set keeps the general matcher
// behind its literal start.
type globber struct {
	head, tail string
	middle     []string
	exact      bool   // no star: head is all of it
	general    string // the whole pattern if it needs the general matcher
}

func newGlobber(pat string) globber {
	if i := strings.IndexAny(pat, "*?["); i < 0 {
		return globber{head: pat, exact: true}
	} else if strings.ContainsAny(pat, "?[") {
		return globber{head: pat[:i], general: pat}
	}
	parts := strings.Split(pat, "*")
	g := globber{head: parts[0], tail: parts[len(parts)-1]}
	for _, p := range parts[1 : len(parts)-1] {
		if p != "" {
			g.middle = append(g.middle, p)
		}
	}
	return g
}

func (g *globber) match(s string) bool {
	if !strings.HasPrefix(s, g.head) {
		return false
	}
	switch {
	case g.exact:
		return len(s) == len(g.head)
	case g.general != "":
		return celenv.Glob(s, g.general)
	}
	s = s[len(g.head):]
	if !strings.HasSuffix(s, g.tail) {
		return false
	}
	s = s[:len(s)-len(g.tail)]
	for _, m := range g.middle {
		i := strings.Index(s, m)
		if i < 0 {
			return false
		}
		s = s[i+len(m):]
	}
	return true
}

func globAny(pats []string) func(string) bool {
	globs := make([]globber, len(pats))
	heads := make([]string, len(pats))
	for i, p := range pats {
		globs[i] = newGlobber(p)
		heads[i] = globs[i].head
	}
	if len(globs) == 1 {
		return globs[0].match
	}
	match := func(s string) bool {
		for i := range globs {
			if globs[i].match(s) {
				return true
			}
		}
		return false
	}
	if len(globs) <= few {
		return match
	}
	t := newTrie(heads) // no head, no match
	return func(s string) bool { return t.prefix(s) && match(s) }
}
