package falco

import (
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/gyre-sec/gyre/schemas/alertv1"
)

var (
	ruleKeys = []string{
		"rule", "condition", "output", "desc", "priority", "source", "enabled", "capture", "capture_duration", "warn_evttypes",
		"skip-if-unknown-filter", "tags", "exceptions", "override", "append",
	}
	appendKeys  = []string{"condition", "output", "desc", "tags", "exceptions"}
	replaceKeys = []string{
		"condition", "output", "desc", "priority", "capture", "capture_duration", "tags", "exceptions", "enabled", "warn_evttypes", "skip-if-unknown-filter",
	}
)

// Syscall is the source of rules that name none.
const Syscall = "syscall"

func (r *reader) rule(n *yaml.Node, top *context) *failure {
	name, ctx, fail := r.named(n, "rule", top)
	if fail != nil {
		return fail
	}
	source, _, fail := scalar(n, "source", ctx, optionalEmpty)
	if fail != nil {
		return fail
	}
	c, fail := r.overrides(n, ctx, appendKeys, replaceKeys)
	if fail != nil {
		return fail
	}
	has := func(key string) bool { return get(n, key) != nil }
	switch {
	case c.any():
		fail = r.override(n, name, source, c, ctx)
	case c.append:
		fail = r.appendRule(n, name, source, ctx)
	case !has("condition") && !has("output") && !has("desc") && !has("priority"):
		fail = r.toggle(n, name, ctx)
	default:
		fail = r.define(n, name, ctx)
	}
	if fail != nil {
		return fail
	}
	r.unknownKeys(n, ctx, ruleKeys...)
	return nil
}

// part is what an item says about a rule, for the keys that it has.
type part struct {
	keys []string
	ruleItem
}

func (p *part) has(key string) bool { return slices.Contains(p.keys, key) }

// keys reads the given keys of a rule; appending says that exceptions may be partial.
func (r *reader) keys(n *yaml.Node, ctx *context, keys []string, how need, appending bool) (part, *failure) {
	p := part{keys: keys, ruleItem: ruleItem{ctx: ctx}}
	for _, key := range keys {
		if fail := r.key(&p.ruleItem, n, key, ctx, how, appending); fail != nil {
			return p, fail
		}
	}
	return p, nil
}

func (r *reader) key(x *ruleItem, n *yaml.Node, key string, ctx *context, how need, appending bool) (fail *failure) {
	switch key {
	case "condition":
		if x.cond, _, fail = r.scalarText(n, key, ctx, how); fail == nil && get(n, key) != nil {
			x.condCtx = ctx.at(get(n, key), "rule condition", "")
		}
	case "output":
		if x.output, _, fail = r.scalarText(n, key, ctx, how); fail == nil && get(n, key) != nil {
			x.outCtx = ctx.at(get(n, key), "rule output", "")
		}
	case "desc":
		x.desc, _, fail = scalar(n, key, ctx, how)
	case "priority":
		var s string
		var ok bool
		if s, ok, fail = scalar(n, key, ctx, how); fail != nil || !ok {
			return fail
		}
		p, err := alertv1.ParsePriority(s)
		if err != nil {
			return ctx.at(get(n, key), "rule priority", "").fail(ErrYAMLValidate, "Invalid priority: %v", err)
		}
		x.priority = p
	case "capture":
		fail = boolean(n, key, ctx, how, &x.capture)
	case "capture_duration":
		fail = number(n, key, ctx, how, &x.captureMillis)
	case "enabled":
		fail = boolean(n, key, ctx, how, &x.enabled)
	case "warn_evttypes":
		fail = boolean(n, key, ctx, how, &x.warnTypes)
	case "skip-if-unknown-filter":
		fail = boolean(n, key, ctx, how, &x.skipUnknown)
	case "tags":
		var tags []string
		tags, fail = sequence(n, key, ctx, optional)
		x.tags = uniqueSorted(tags)
	case "exceptions":
		x.exceptions, fail = r.exceptions(n, ctx, appending)
	}
	return fail
}

func uniqueSorted(s []string) []string {
	s = slices.Clone(s)
	slices.Sort(s)
	return slices.Compact(s)
}

// previous finds the rule of this name; naming another source than it has is an error.
func (r *reader) previous(name, source string, ctx *context) (*ruleItem, *failure) {
	prev := r.l.rules.get(name)
	if prev != nil && prev.source != "" && source != "" && prev.source != source {
		return nil, ctx.fail(ErrValidate, msgOtherSrc)
	}
	return prev, nil
}

func (r *reader) define(n *yaml.Node, name string, ctx *context) *failure {
	p, fail := r.keys(n, ctx, []string{"condition", "output", "desc", "priority"}, required, false)
	if fail != nil {
		return fail
	}
	x := &p.ruleItem
	x.name, x.source, x.enabled, x.warnTypes = name, Syscall, true, true
	if s, ok, fail := scalar(n, "source", ctx, optional); fail != nil {
		return fail
	} else if ok {
		x.source = s
	}
	for _, key := range []string{"enabled", "capture", "capture_duration", "warn_evttypes", "skip-if-unknown-filter", "tags", "exceptions"} {
		if fail := r.key(x, n, key, ctx, optional, false); fail != nil {
			return fail
		}
	}
	prev, fail := r.previous(name, x.source, ctx)
	if fail != nil {
		return fail
	}
	if !r.l.evaluates(x.source) {
		x.unknown = true
		r.warn(ctx.fail(WarnUnknownSource, "Unknown source %s, skipping", x.source))
	}
	for i := range x.exceptions {
		if !x.exceptions[i].fields.set {
			return x.exceptions[i].ctx.fail(ErrValidate, "Rule exception item must have fields property with a list of fields")
		}
		if fail := validate(&x.exceptions[i], !x.unknown); fail != nil {
			return fail
		}
	}
	id := r.l.next()
	if prev != nil {
		x.index = prev.index
		*prev = *x
		return nil
	}
	x.index = id
	r.l.rules.add(name, *x)
	return nil
}

// toggle enables or disables an earlier rule.
func (r *reader) toggle(n *yaml.Node, name string, ctx *context) *failure {
	var on bool
	if fail := boolean(n, "enabled", ctx, required, &on); fail != nil {
		return fail
	}
	r.warn(ctx.fail(WarnDeprecated, msgEnabled))
	prev := r.l.rules.get(name)
	if prev == nil {
		return ctx.fail(ErrValidate, "Rule has 'enabled' key but no rule by that name already exists")
	}
	prev.enabled = on
	return nil
}

func (r *reader) appendRule(n *yaml.Node, name, source string, ctx *context) *failure {
	p, fail := r.keys(n, ctx, present(n, "condition", "exceptions"), required, true)
	if fail != nil {
		return fail
	}
	return r.merge(&p, name, source, ctx)
}

func present(n *yaml.Node, keys ...string) []string {
	return slices.DeleteFunc(slices.Clone(keys), func(k string) bool { return get(n, k) == nil })
}
