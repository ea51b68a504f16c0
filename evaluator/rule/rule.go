// Package rule reads rule files as people write them: YAML with lists, macros and
// rules whose conditions are CEL. It checks shape, names and types and keeps the
// place of everything, so that whoever compiles a condition can report an error at
// its line and column in the file. It does not compile conditions.
//
// A file is one or more YAML documents, each a mapping with the keys lists, macros,
// rules and overrides. Values are immutable after [Parse].
package rule

import (
	"time"

	"github.com/gyre-sec/gyre/schemas/alertv1"
)

// Limits of one file; a file beyond them is refused.
const (
	MaxFileBytes = 4 << 20
	MaxListItems = 10_000
)

// Pos is a place in a file; both numbers count from 1, columns in characters.
type Pos struct{ Line, Col int }

// File is the content of one rule file.
type File struct {
	Name string
	// Layer orders files: what a higher layer defines replaces the list, macro or rule
	// of the same name in lower ones. Within a layer names must be unique.
	Layer  int
	Lists  []List
	Macros []Macro
	Rules  []Rule
	// Overrides change rules of this or lower layers, which stay as they are in their files.
	Overrides []Override
}

// Exception is a condition under which a rule does not match.
type Exception struct {
	Name      string
	Condition Text
}

// Throttle folds matches of the same key: after one alert the others of the window are only counted.
type Throttle struct {
	// Key are the fields whose values tell matches apart; none means that all are alike.
	Key    []Text
	Window time.Duration
}

// Bounds of a throttle's window.
const (
	MinWindow = time.Second
	MaxWindow = 24 * time.Hour
)

// Override changes a rule of another file.
type Override struct {
	Rule Text
	// Enabled, Priority replace what the rule says; nil leaves it.
	Enabled  *bool
	Priority *alertv1.Priority
	// Throttle replaces the rule's if it is not nil.
	Throttle *Throttle
	// Tags and Exceptions are added; an exception of the same name is replaced.
	Tags       []string
	Exceptions []Exception
	Pos        Pos
}

// List is a named constant that conditions use with `in` and the *Any functions.
type List struct {
	Name  string
	Items []string
	Pos   Pos
}

// Macro is a named condition.
type Macro struct {
	Name      string
	Condition Text
	Pos       Pos
}

// Rule is one rule.
type Rule struct {
	ID          string
	Name        string
	Description string
	// Source of the events that the rule is about: "syscall".
	Source     string
	Condition  Text
	Output     Text
	Priority   alertv1.Priority
	Tags       []string
	MITRE      []string
	Enabled    bool
	Fields     []Text
	References []string
	// Falco is 0 for a native rule. For one from a Falco file it is the place in Falco's order, from 1:
	// its output is a Falco template.
	Falco      int
	Exceptions []Exception
	// Throttle is nil if every match is an alert.
	Throttle *Throttle
	// Correlation is nil for a rule about single events. A rule with steps has no Condition.
	Correlation *Correlation
	Pos         Pos
}

// Text is a string of a file that remembers where its characters stand.
type Text struct {
	Value string
	Pos   Pos
	// places[i] is the place of the i-th character.
	places []Pos
}

// Plain is a Text that comes from no file: its places are those in the string itself.
func Plain(s string) Text {
	t := Text{Value: s, Pos: Pos{1, 1}}
	p := t.Pos
	for _, r := range s {
		t.places = append(t.places, p)
		p = p.next(r)
	}
	return t
}

// At returns the place in the file of character number i of the text, counted from 0.
func (t Text) At(i int) Pos {
	switch {
	case len(t.places) == 0 || i < 0:
		return t.Pos
	case i >= len(t.places):
		last := t.places[len(t.places)-1]
		return Pos{last.Line, last.Col + 1}
	default:
		return t.places[i]
	}
}

// AtLine returns the place of a line (from 1) and column (from 0, in characters) of the
// text, which is how CEL reports them.
func (t Text) AtLine(line, col int) Pos {
	i := 0
	for _, r := range t.Value {
		if line <= 1 {
			break
		}
		if r == '\n' {
			line--
		}
		i++
	}
	return t.At(i + col)
}

func (p Pos) next(r rune) Pos {
	if r == '\n' {
		return Pos{p.Line + 1, 1}
	}
	return Pos{p.Line, p.Col + 1}
}
