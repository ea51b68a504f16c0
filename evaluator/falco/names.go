package falco

import (
	"crypto/sha256"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/gyre-sec/gyre/evaluator/rule"
)

var noWord = regexp.MustCompile(`[^a-z0-9_]+`)

// names gives lists and macros their names in native rules.
type names struct {
	c     *compiler
	taken map[string]string // by native name, what it stands for
	ofKey map[string]string // native names by what they stand for
	used  map[string]bool   // native names that a condition uses

	byFirst map[string][]string // names of lists by their first item
	itemsOf map[string][]string
	extra   []rule.List // lists and macros made for conditions
	parts   []rule.Macro
}

func newNames(c *compiler) *names {
	return &names{c: c, taken: map[string]string{}, ofKey: map[string]string{}, used: map[string]bool{}, itemsOf: map[string][]string{}}
}

func (n *names) name(kind, name string) string {
	key := kind + " " + name
	if s, ok := n.ofKey[key]; ok {
		return s
	}
	base := Prefix + strings.Trim(noWord.ReplaceAllString(strings.ToLower(name), "_"), "_")
	s := base
	for i := 2; n.taken[s] != ""; i++ {
		s = fmt.Sprintf("%s_%d", base, i)
	}
	n.taken[s], n.ofKey[key] = key, s
	return s
}

func (n *names) macro(name string) string {
	s := n.name("macro", name)
	n.used[s] = true
	return s
}

// listOf finds the longest list of at least two items that begins items.
func (n *names) listOf(items []string) (string, int) {
	if n.byFirst == nil {
		n.byFirst = map[string][]string{}
		for _, name := range n.c.order {
			l := n.items(name)
			n.itemsOf[name] = l
			if len(l) > 1 && !slices.ContainsFunc(l, blank) && len(l) <= rule.MaxListItems {
				n.byFirst[l[0]] = append(n.byFirst[l[0]], name)
			}
		}
	}
	best := ""
	for _, name := range n.byFirst[items[0]] {
		l := n.itemsOf[name]
		if len(l) <= len(items) && len(l) > len(n.itemsOf[best]) && slices.Equal(l, items[:len(l)]) {
			best = name
		}
	}
	if best == "" {
		return "", 0
	}
	s := n.name("list", best)
	n.used[s] = true
	return s, len(n.itemsOf[best])
}

func blank(s string) bool { return strings.TrimSpace(s) == "" }

// newList makes a list for many items that have none.
func (n *names) newList(items []string) string {
	sum := sha256.Sum256([]byte(strings.Join(items, "\x00")))
	s := n.name("items", fmt.Sprintf("list_%x", sum[:4]))
	if !n.used[s] {
		n.used[s] = true
		n.extra = append(n.extra, rule.List{Name: s, Items: slices.Clone(items), Pos: rule.Pos{Line: 1, Col: 1}})
	}
	return s
}

// newMacro makes a macro for a part of a long condition.
func (n *names) newMacro(cel string) string {
	sum := sha256.Sum256([]byte(cel))
	s := n.name("part", fmt.Sprintf("part_%x", sum[:4]))
	if !n.used[s] {
		n.used[s] = true
		n.parts = append(n.parts, rule.Macro{Name: s, Condition: rule.Text{Value: cel, Pos: rule.Pos{Line: 1, Col: 1}}, Pos: rule.Pos{Line: 1, Col: 1}})
	}
	return s
}

func (n *names) items(name string) []string {
	l := make([]string, len(n.c.lists[name]))
	for i, s := range n.c.lists[name] {
		l[i] = unquoted(s)
	}
	return l
}

// unquoted is an item without the quotes that it may have for use in conditions.
func unquoted(s string) string {
	if len(s) > 1 && (s[0] == '"' || s[0] == '\'') && s[len(s)-1] == s[0] && !strings.Contains(s, `\`) {
		return s[1 : len(s)-1]
	}
	return s
}
