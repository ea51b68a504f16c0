// Package translate turns Falco conditions into CEL conditions that decide the same for
// every event.
//
// The one difference between the languages that shows everywhere: in Falco a check of a
// field that the event does not have is false, also with != and also below a negation
// ("not x = y" is then true). In CEL such a field reads as "", -1, false or [], so a
// check is guarded with has() wherever that value could satisfy it.
//
// A field that Falco knows and gyre's catalogue does not have counts as never there;
// [Condition.Missing] lists those.
package translate

import (
	"errors"
	"slices"

	"github.com/gyre-sec/gyre/evaluator/falco/filter"
	"github.com/gyre-sec/gyre/evaluator/falco/vocab"
)

// Condition is the result.
type Condition struct {
	// CEL is the condition; "true" or "false" if Const is set.
	CEL string
	// Const is set when the condition is the same for every event.
	Const Const
	// Missing are the fields that are never there, sorted.
	Missing []string
	// Unseen are the event types that the collector does not report, sorted.
	Unseen []string
	// Warnings are further remarks of the compiler.
	Warnings []Warning

	level level
}

// Const tells whether a condition is constant.
type Const uint8

// Values of Const.
const (
	Varies Const = iota
	AlwaysTrue
	AlwaysFalse
)

// Warning is a remark that does not keep a condition from loading.
type Warning struct {
	Pos filter.Pos
	Msg string
}

// Scope is what a condition can refer to. A zero Scope works for conditions without macros.
type Scope struct {
	// Macro returns a macro's translation and the name that stands for it in CEL.
	Macro func(name string) (Condition, string, error)
	// List returns the CEL name of the longest list that items begin with, and its length; 0 if there is none.
	List func(items []string) (name string, n int)
	// NewList makes a list for items that are too many to stand in a condition, and returns its CEL name.
	NewList func(items []string) string
	// NewMacro makes a macro for a part of a condition that is too long as a whole, and returns its CEL name.
	NewMacro func(cel string) string
}

// ErrUnknown is wrapped by errors about a field or an event type that Falco does not know.
var ErrUnknown = vocab.ErrUnknown

// Error is a condition that Falco would refuse, with its place.
type Error struct {
	Pos filter.Pos
	Err error
}

// Error returns the message without the place.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Parse translates the text of a condition. The error is a [*filter.Error] or an [*Error].
func Parse(text string, s Scope) (Condition, error) {
	e, err := filter.Parse(text)
	if err != nil {
		return Condition{}, err
	}
	return Translate(e, s)
}

// Translate translates a parsed condition. The error is an [*Error].
func Translate(e filter.Expr, s Scope) (Condition, error) {
	t := &translator{scope: s}
	b, err := t.expr(e)
	if err != nil {
		return Condition{}, err
	}
	c := Condition{CEL: b.text, Missing: t.missing, Unseen: t.unseen, Warnings: t.warnings, level: b.level}
	switch b.text {
	case alwaysTrue.text:
		c.Const = AlwaysTrue
	case alwaysFalse.text:
		c.Const = AlwaysFalse
	}
	slices.Sort(c.Missing)
	slices.Sort(c.Unseen)
	return c, nil
}

type translator struct {
	scope           Scope
	missing, unseen []string
	warnings        []Warning
	at              filter.Pos // of the check in hand, for messages
}

func (t *translator) fail(at filter.Pos, err error) error {
	if _, ok := errors.AsType[*Error](err); ok {
		return err
	}
	return &Error{at, err}
}

func note(list *[]string, items ...string) {
	for _, x := range items {
		if !slices.Contains(*list, x) {
			*list = append(*list, x)
		}
	}
}

func (t *translator) expr(e filter.Expr) (cond, error) {
	switch x := e.(type) {
	case *filter.And:
		return t.series(x.Parts, and)
	case *filter.Or:
		return t.series(x.Parts, or)
	case *filter.Not:
		c, err := t.expr(x.Part)
		return not(c), err
	case *filter.Macro:
		return t.macro(x)
	default:
		return t.check(e.(*filter.Check))
	}
}

func (t *translator) series(parts []filter.Expr, join func(...cond) cond) (cond, error) {
	out := make([]cond, len(parts))
	for i, p := range parts {
		c, err := t.expr(p)
		if err != nil {
			return cond{}, err
		}
		out[i] = c
	}
	return t.split(out, join), nil
}

// longCondition is how many bytes of CEL may stand in one condition if there can be macros for its parts.
const longCondition = 4000

// split joins parts; if there are too many, groups of them become macros.
func (t *translator) split(parts []cond, join func(...cond) cond) cond {
	whole := join(parts...)
	if len(whole.text) <= longCondition || t.scope.NewMacro == nil {
		return whole
	}
	var out, group []cond
	size := 0
	flush := func() {
		switch c := join(group...); {
		case len(group) == 0:
		case len(c.text) < 100: // not worth it
			out = append(out, group...)
		default:
			out = append(out, cond{t.scope.NewMacro(c.text), atom})
		}
		group, size = nil, 0
	}
	for _, p := range parts {
		if size+len(p.text) > longCondition {
			flush()
		}
		group = append(group, p)
		size += len(p.text)
	}
	flush()
	if len(out) >= len(parts) {
		return join(out...)
	}
	return t.split(out, join)
}

func (t *translator) macro(m *filter.Macro) (cond, error) {
	if t.scope.Macro == nil {
		return cond{}, &Error{m.At, errors.New("undefined macro '" + m.Name + "' used in filter")}
	}
	c, name, err := t.scope.Macro(m.Name)
	if err != nil {
		return cond{}, t.fail(m.At, err)
	}
	note(&t.missing, c.Missing...)
	note(&t.unseen, c.Unseen...)
	switch c.Const {
	case AlwaysTrue:
		return alwaysTrue, nil
	case AlwaysFalse:
		return alwaysFalse, nil
	}
	return cond{name, atom}, nil
}
