// Package falco loads Falco rule files and turns them into rules of gyre.
//
// It follows Falco 0.44 (engine 0.63): lists, macros, rules, appending, overriding,
// exceptions and the errors and warnings about them; files are loaded one after the
// other and later ones change what earlier ones defined. Conditions become CEL, see
// package translate, so that one engine evaluates rules of both languages.
//
// Only events of system calls are evaluated. Rules of other sources are read, checked
// as far as that needs no knowledge of their fields, and skipped.
package falco

import (
	"bytes"
	"slices"
	"unicode/utf8"

	"github.com/gyre-sec/gyre/evaluator/celenv"
	"github.com/gyre-sec/gyre/evaluator/rule"
	"github.com/gyre-sec/gyre/schemas/alertv1"
)

// Options of a [Loader]. The zero value loads every rule.
type Options struct {
	// Threshold drops rules of less severe priorities when set is true.
	Threshold    alertv1.Priority
	HasThreshold bool
	// Select switches rules on and off after everything was loaded, in order.
	Select []Selection
	// AppendOutput is put behind the output of every rule, after a blank.
	AppendOutput string
	// ExtraFields are attached to the alerts of every rule.
	ExtraFields []string
}

// Selection switches rules on or off: those whose name matches Rule, see [celenv.FNMatch], and that have the tag; either may be empty.
type Selection struct {
	Enable bool
	Rule   string
	Tag    string
}

// Loader keeps what files defined. Make one with [New]; it is not safe for concurrent use.
type Loader struct {
	o      Options
	lists  ordered[listItem]
	macros ordered[macroItem]
	rules  ordered[ruleItem]
	index  int
	last   *compiler // the last one that succeeded
}

// New returns a Loader without rules.
func New(o Options) *Loader { return &Loader{o: o} }

func (l *Loader) next() int {
	l.index++
	return l.index - 1
}

func (l *Loader) evaluates(source string) bool { return source == Syscall }

// Is tells whether a file is one of Falco's: its first document is a sequence.
func Is(data []byte) bool {
	for line := range bytes.Lines(bytes.TrimPrefix(data, []byte("\ufeff"))) {
		s := bytes.TrimSpace(line)
		switch {
		case len(s) == 0, s[0] == '#', bytes.HasPrefix(s, []byte("---")), s[0] == '%':
			continue
		}
		return s[0] == '-' || s[0] == '['
	}
	return false
}

// Load reads a file and compiles everything that was loaded so far. What an unsuccessful file defined
// before its first error stays defined, but the rules are those of the last success.
func (l *Loader) Load(name string, data []byte) *Result {
	res := &Result{Name: name, Successful: true, Errors: []Issue{}, Warnings: []Issue{}}
	refuse := func(f *failure) *Result {
		res.Successful = false
		res.Errors = append(res.Errors, f.issue())
		return res
	}
	f := newFile(name, string(data))
	switch {
	case len(data) > rule.MaxFileBytes:
		return refuse(f.context().fail(ErrFileRead, "the file has %d bytes, at most %d are allowed", len(data), rule.MaxFileBytes))
	case !utf8.Valid(data):
		return refuse(f.context().fail(ErrYAMLParse, "the file is not UTF-8 text"))
	}
	if fail := (&reader{l: l, f: f, res: res}).read(); fail != nil {
		return refuse(fail)
	}
	c := &compiler{l: l, res: res, lists: map[string][]string{}, used: map[string]bool{}, macros: map[string]*macroState{}}
	c.names = newNames(c)
	if fail := c.run(); fail != nil {
		return refuse(fail)
	}
	l.last = c
	return res
}

// Rules lists the rules in the order of their definition, also those that are switched off. The selection and the
// priority threshold have been applied.
func (l *Loader) Rules() []*Rule {
	if l.last == nil {
		return nil
	}
	var out []*Rule
	for _, r := range l.last.rules {
		if l.o.HasThreshold && r.Priority > l.o.Threshold {
			continue
		}
		for _, s := range l.o.Select {
			if s.matches(r) {
				r.Enabled = s.Enable
			}
		}
		out = append(out, r)
	}
	return out
}

func (s Selection) matches(r *Rule) bool {
	if s.Tag == "" && s.Rule == "" {
		return false
	}
	return (s.Tag == "" || slices.Contains(r.Tags, s.Tag)) && (s.Rule == "" || celenv.FNMatch(r.Name, s.Rule))
}
