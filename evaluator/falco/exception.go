package falco

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/gyre-sec/gyre/evaluator/falco/filter"
	"github.com/gyre-sec/gyre/evaluator/falco/translate"
)

// exceptions reads the exceptions of a rule; partial ones, without fields, are allowed for those that are appended.
func (r *reader) exceptions(n *yaml.Node, ctx *context, partial bool) ([]exception, *failure) {
	list := get(n, "exceptions")
	if list == nil || isNull(list) {
		return nil, nil
	}
	lctx := ctx.at(list, "exceptions", "")
	if list.Kind != yaml.SequenceNode {
		return nil, lctx.fail(ErrYAMLValidate, "Rule exceptions must be a sequence")
	}
	var out []exception
	for _, x := range list.Content {
		e, fail := r.exception(resolve(x), ctx, lctx, partial)
		if fail != nil {
			return nil, fail
		}
		if slices.ContainsFunc(out, func(o exception) bool { return o.name == e.name }) {
			r.warn(e.ctx.fail(WarnExceptionName, "Multiple definitions of exception '%s' in the same rule", e.name))
		}
		out = append(out, e)
	}
	return out, nil
}

func (r *reader) exception(n *yaml.Node, ctx, list *context, partial bool) (e exception, fail *failure) {
	at := list.at(n, "exception", "")
	if n.Kind != yaml.MappingNode {
		return e, at.fail(ErrYAMLValidate, "Rule exception must be a mapping")
	}
	if e.name, _, fail = scalar(n, "name", at, required); fail != nil {
		return e, fail
	}
	e.ctx = ctx.at(n, "exception", e.name)
	fields := get(n, "fields")
	if fields == nil && !partial {
		return e, e.ctx.fail(ErrYAMLValidate, "Item has no mapping for key 'fields'")
	}
	for _, k := range []struct {
		key  string
		into *entry
	}{{"fields", &e.fields}, {"comps", &e.comps}} {
		if v := get(n, k.key); v != nil {
			if *k.into, fail = r.entryOf(v, k.key, e.ctx, 0); fail != nil {
				return e, fail
			}
		}
	}
	values := get(n, "values")
	switch {
	case values == nil && partial:
		r.warn(e.ctx.fail(WarnAppendNoValues, "Overriding/appending exception with no values"))
	case values == nil || isNull(values):
	case values.Kind != yaml.SequenceNode:
		return e, e.ctx.at(values, "exception values", "").fail(ErrYAMLValidate, "Rule exception values must be a sequence")
	default:
		vctx := e.ctx.at(values, "exception values", "")
		for _, v := range values.Content {
			v, fail := r.entryOf(resolve(v), "values", vctx, 0)
			if fail != nil {
				return e, fail
			}
			e.values = append(e.values, v)
		}
	}
	return e, nil
}

// validate completes and checks the fields and operators of an exception.
func validate(e *exception, checkFields bool) *failure {
	names := []entry{e.fields}
	if e.fields.list {
		names = e.fields.items
		if !e.comps.set {
			e.comps = entry{set: true, list: true}
			for range names {
				e.comps.items = append(e.comps.items, entry{set: true, item: made("=", place{})})
			}
		}
		if !e.comps.list || len(e.comps.items) != len(names) {
			return e.ctx.fail(ErrValidate, "Fields and comps lists must have equal length")
		}
		for i := range e.comps.items {
			c := &e.comps.items[i]
			c.item = c.item.trimmed()
			if op := c.item.s; !slices.Contains(filter.Operators(false), op) && !modified(op) {
				return e.ctx.fail(ErrValidate, "'%s' is not a supported comparison operator", op)
			}
		}
	} else {
		if !e.comps.set {
			e.comps = entry{set: true, item: made("in", place{})}
		}
		if e.comps.list {
			return e.ctx.fail(ErrValidate, "Fields and comps must both be strings")
		}
		e.comps.item = e.comps.item.trimmed()
		if op := e.comps.item.s; !slices.Contains(filter.Operators(true), op) && !modified(op) {
			return e.ctx.fail(ErrValidate, "When fields is a single value, comps must be one of (in, pmatch, intersects) or a modifier operator (e.g. startswith oneof)")
		}
	}
	if !checkFields {
		return nil
	}
	for _, f := range names {
		if _, err := translate.Parse(f.item.s+" exists", translate.Scope{}); err != nil {
			return e.ctx.fail(ErrValidate, "'%s' is not a supported filter field", f.item.s)
		}
	}
	return nil
}

// modified tells whether a text is an operator with oneof, anyof or allof.
func modified(s string) bool {
	words := strings.Fields(s)
	return len(words) == 2 && filter.Modifiable(words[0]) && slices.Contains([]string{filter.OneOf, filter.AnyOf, filter.AllOf}, words[1])
}

func takesList(op string) bool { return slices.Contains(filter.Operators(true), op) || modified(op) }

// addException adds the values of e to the exception of the same name, or e itself.
func addException(x *ruleItem, e *exception) *failure {
	i := slices.IndexFunc(x.exceptions, func(o exception) bool { return o.name == e.name })
	switch {
	case i < 0 && !e.fields.set:
		return e.ctx.fail(ErrValidate, "Rule exception must have fields property with a list of fields")
	case i < 0 && len(e.values) == 0:
		return e.ctx.fail(ErrValidate, "Rule exception must have values property with a list of values")
	case i < 0:
		if fail := validate(e, !x.unknown); fail != nil {
			return fail
		}
		x.exceptions = append(slices.Clip(x.exceptions), *e)
	case e.fields.set:
		return e.ctx.fail(ErrValidate, "Can not append exception fields to existing exception, only values")
	case e.comps.set:
		return e.ctx.fail(ErrValidate, "Can not append exception comps to existing exception, only values")
	default:
		x.exceptions = slices.Clone(x.exceptions)
		x.exceptions[i].values = append(slices.Clip(x.exceptions[i].values), e.values...)
	}
	return nil
}

// conditionOf is the condition of a rule with its exceptions: "(condition) and not (...) and not (...)".
func conditionOf(x *ruleItem) (text, *failure) {
	if len(x.exceptions) == 0 {
		return x.cond, nil
	}
	at := x.cond.start()
	parts := []text{made("(", at), x.cond, made(")", at)}
	for i := range x.exceptions {
		e := &x.exceptions[i]
		part, fail := single(e)
		if e.fields.list {
			part, fail = tuples(e)
		}
		if fail != nil {
			return text{}, fail
		}
		if part != nil {
			parts = append(parts, made(" and not ", e.start()))
			parts = append(parts, part...)
		}
	}
	return concat(parts...), nil
}

func (e *exception) start() place { return place{e.ctx.file.name, e.ctx.pos} }

// single is an exception about one field: (field op (value, value)).
func single(e *exception) ([]text, *failure) {
	if len(e.values) == 0 {
		return nil, nil
	}
	at := e.start()
	out := []text{made("(", at), e.fields.item, made(" "+e.comps.item.s+" (", at)}
	for i, v := range e.values {
		if v.list {
			return nil, e.ctx.fail(ErrValidate, "Expected values array to contain a list of strings")
		}
		if i > 0 {
			out = append(out, made(", ", at))
		}
		out = append(out, v.item.quoted())
	}
	return append(out, made("))", at)), nil
}

// tuples is an exception about several fields: ((a op x and b op y) or (...)).
func tuples(e *exception) ([]text, *failure) {
	if len(e.values) == 0 {
		return nil, nil
	}
	at := e.start()
	out := []text{made("(", at)}
	for i, v := range e.values {
		if !v.list || len(v.items) != len(e.fields.items) {
			return nil, e.ctx.fail(ErrValidate, "Fields and values lists must have equal length")
		}
		if i > 0 {
			out = append(out, made(" or ", at))
		}
		out = append(out, made("(", at))
		for k, f := range e.fields.items {
			if k > 0 {
				out = append(out, made(" and ", at))
			}
			op := e.comps.items[k].item.s
			out = append(out, made(" ", at), f.item, made(" "+op+" ", at))
			out = append(out, v.items[k].right(op, at)...)
		}
		out = append(out, made(")", at))
	}
	return append(out, made(")", at)), nil
}

// right is a value as the right side of an operator.
func (v entry) right(op string, at place) []text {
	switch {
	case v.list:
		out := []text{made("(", at)}
		for i, x := range v.items {
			if i > 0 {
				out = append(out, made(", ", at))
			}
			out = append(out, x.item.quoted())
		}
		return append(out, made(")", at))
	case takesList(op) && !strings.HasPrefix(v.item.s, "("):
		return []text{made("(", at), v.item, made(")", at)}
	case takesList(op):
		return []text{v.item}
	default:
		return []text{v.item.quoted()}
	}
}

// quoted puts a text with blanks in quotes unless it has some.
func (t text) quoted() text {
	if quoteItem(t.s) == t.s {
		return t
	}
	return concat(made(`"`, t.start()), t, made(`"`, t.start()))
}
