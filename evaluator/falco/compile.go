package falco

import (
	"errors"
	"slices"
	"strings"

	"github.com/gyre-sec/gyre/evaluator/falco/filter"
	"github.com/gyre-sec/gyre/evaluator/falco/translate"
	"github.com/gyre-sec/gyre/schemas/alertv1"
)

// Rule is a rule that was loaded, with everything that other items of the files changed in it.
type Rule struct {
	Name, Description, Source string
	Output                    string
	Priority                  alertv1.Priority
	Tags                      []string
	Enabled                   bool
	// Condition is the parsed condition with its exceptions and lists; macros are by name.
	Condition filter.Expr
	// CEL is the condition in CEL.
	CEL translate.Condition
	// MissingOutput are the fields of the output that gyre does not have.
	MissingOutput []string

	item *ruleItem
}

// macroState is a macro while rules are compiled.
type macroState struct {
	item *macroItem
	text text
	expr filter.Expr
	used bool
	// done: cond and err are the translation.
	done bool
	cond translate.Condition
	err  error
	// codes for the macro and its negation.
	codes [2]codeSet
}

// compiler is one pass over everything that the loader has.
type compiler struct {
	l      *Loader
	res    *Result
	lists  map[string][]string
	order  []string // names of lists
	used   map[string]bool
	macros map[string]*macroState
	names  *names
	rules  []*Rule
}

func (c *compiler) warn(f *failure) { c.res.Warnings = append(c.res.Warnings, f.issue()) }

func (c *compiler) run() *failure {
	c.expandLists()
	if fail := c.parseMacros(); fail != nil {
		return fail
	}
	for _, x := range c.l.rules.order {
		if x.unknown {
			continue
		}
		r, fail := c.rule(x)
		if fail != nil {
			return fail
		}
		if r != nil {
			c.rules = append(c.rules, r)
		}
	}
	for _, m := range c.l.macros.order {
		if !c.macros[m.name].used {
			c.warn(m.ctx.fail(WarnUnusedMacro, "Macro not referred to by any other rule/macro"))
		}
	}
	for _, l := range c.l.lists.order {
		if !c.used[l.name] {
			c.warn(l.ctx.fail(WarnUnusedList, "List not referred to by any other rule/macro"))
		}
	}
	return nil
}

// expandLists puts the items of lists that were defined before in the place of their names.
func (c *compiler) expandLists() {
	for _, l := range c.l.lists.order {
		var items []string
		for _, item := range l.items {
			if ref := c.l.lists.get(item); ref != nil && ref.index < l.visibility {
				c.used[ref.name] = true
				items = append(items, ref.items...)
				continue
			}
			items = append(items, item)
		}
		c.lists[l.name] = items
		c.order = append(c.order, l.name)
	}
}

// parse puts lists into a condition and parses it.
func (c *compiler) parse(t text, ctx *context) (filter.Expr, text, *failure) {
	for _, name := range c.order {
		var used bool
		if t, used = t.put(name, c.lists[name]); used {
			c.used[name] = true
		}
	}
	e, err := t.parse()
	if err != nil {
		offset := 0
		if at, ok := errors.AsType[*filter.Error](err); ok {
			offset = at.Pos.Offset
			err = errors.New(at.Msg)
		}
		return nil, t, ctx.within(t, offset, ErrCompileCondition, err.Error())
	}
	return e, t, nil
}

func (c *compiler) parseMacros() *failure {
	for _, m := range c.l.macros.order {
		e, t, fail := c.parse(m.cond, m.condCtx)
		if fail != nil {
			return fail
		}
		c.macros[m.name] = &macroState{item: m, text: t, expr: e}
	}
	for _, m := range c.l.macros.order {
		state := c.macros[m.name]
		visible := func(name string) bool {
			x := c.l.macros.get(name)
			return x != nil && x.index < m.visibility
		}
		if fail := c.references(state.expr, state.text, m.condCtx, visible, []string{m.name}); fail != nil {
			return fail
		}
	}
	return nil
}

// references marks the macros that a condition names, directly and through others, as used;
// one that does not exist, is not visible or names itself is an error.
func (c *compiler) references(e filter.Expr, t text, ctx *context, visible func(string) bool, path []string) (fail *failure) {
	checked := map[string]bool{}
	var walk func(e filter.Expr, path []string, at filter.Pos)
	walk = func(e filter.Expr, path []string, at filter.Pos) {
		filter.Walk(e, func(x filter.Expr) {
			m, ok := x.(*filter.Macro)
			if !ok || fail != nil {
				return
			}
			pos := at
			if pos.Line == 0 {
				pos = m.At
			}
			state := c.macros[m.Name]
			switch {
			case slices.Contains(path, m.Name):
				fail = ctx.within(t, pos.Offset, ErrValidate, "reference loop in macro '"+m.Name+"'")
			case state == nil || !visible(m.Name):
				fail = ctx.within(t, pos.Offset, ErrValidate, "Undefined macro '"+m.Name+"' used in filter.")
			case !checked[m.Name]:
				checked[m.Name] = true
				state.used = true
				walk(state.expr, append(path, m.Name), pos)
			}
		})
	}
	walk(e, path, filter.Pos{})
	return fail
}

// translateMacro translates a macro when a rule first uses it.
func (c *compiler) translateMacro(name string) (translate.Condition, string, error) {
	m := c.macros[name]
	if !m.done {
		m.done = true
		m.cond, m.err = translate.Translate(m.expr, c.scope())
		if m.err != nil {
			m.err = &macroError{m, m.err}
		}
	}
	return m.cond, c.names.macro(name), m.err
}

// macroError is a defect within the condition of a macro.
type macroError struct {
	macro *macroState
	err   error
}

func (e *macroError) Error() string { return e.err.Error() }
func (e *macroError) Unwrap() error { return e.err }

func (c *compiler) scope() translate.Scope {
	return translate.Scope{Macro: c.translateMacro, List: c.names.listOf, NewList: c.names.newList, NewMacro: c.names.newMacro}
}

func (c *compiler) codes(name string, negated bool) codeSet {
	m, i := c.macros[name], 0
	if negated {
		i = 1
	}
	if m.codes[i] == nil {
		m.codes[i] = possible(m.expr, negated, c.codes)
	}
	return slices.Clone(m.codes[i])
}

// rule compiles one rule; nil without a failure for one that is skipped.
func (c *compiler) rule(x *ruleItem) (*Rule, *failure) {
	cond, fail := conditionOf(x)
	if fail != nil {
		return nil, fail
	}
	out := strings.Trim(x.output.s, listBlanks)
	if strings.Contains(out, "%container.info") {
		c.warn(x.ctx.fail(WarnDeprecated, "%%container.info is out of date and prints nothing"))
		out = strings.ReplaceAll(out, "%container.info", "")
	}
	if c.l.o.AppendOutput != "" {
		out += " " + c.l.o.AppendOutput
	}
	r := &Rule{
		Name: x.name, Description: x.desc, Source: x.source, Output: out, Priority: x.priority, Tags: x.tags, Enabled: x.enabled, item: x,
	}
	if skip, fail := c.output(r, x); fail != nil || skip {
		return nil, fail
	}
	e, t, fail := c.parse(cond, x.condCtx)
	if fail != nil {
		return nil, fail
	}
	if fail := c.references(e, t, x.condCtx, func(string) bool { return true }, nil); fail != nil {
		return nil, fail
	}
	c.remarks(e, t, x)
	r.Condition = e
	cel, err := translate.Translate(e, c.scope())
	if err != nil {
		return nil, c.conditionError(err, t, x)
	}
	r.CEL = cel
	for _, w := range cel.Warnings {
		c.warn(x.condCtx.within(t, w.Pos.Offset, WarnCompileCondition, w.Msg))
	}
	c.notInGyre(r, x)
	if x.source == Syscall && x.warnTypes && typeCount(e, c.codes) > manyTypes {
		c.warn(x.ctx.fail(WarnNoEventType, "Rule matches too many evt.type values. This has a significant performance penalty."))
	}
	return r, nil
}
