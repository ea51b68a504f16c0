package falco

import (
	"slices"

	"go.yaml.in/yaml/v3"
)

// override applies the entries under override. Each needs its key, and each key that could be changed its entry.
func (r *reader) override(n *yaml.Node, name, source string, c changes, ctx *context) *failure {
	for kind, keys := range map[string][]string{"append": c.appended, "replace": c.replaced} {
		for _, key := range keys {
			if get(n, key) == nil {
				return ctx.fail(ErrYAMLValidate, "An %s override for '%s' was specified but '%s' is not defined", kind, key, key)
			}
		}
	}
	if len(c.appended) > 0 {
		p, fail := r.keys(n, ctx, c.appended, required, true)
		if fail != nil {
			return fail
		}
		if fail := r.merge(&p, name, source, ctx); fail != nil {
			return fail
		}
	}
	if len(c.replaced) > 0 {
		p, fail := r.keys(n, ctx, c.replaced, required, false)
		if fail != nil {
			return fail
		}
		if fail := r.replace(&p, name, source, ctx); fail != nil {
			return fail
		}
	}
	for _, key := range replaceKeys {
		if v := get(n, key); v != nil && !slices.Contains(c.appended, key) && !slices.Contains(c.replaced, key) {
			return ctx.at(v, "overrides", key).fail(ErrYAMLValidate, "Unexpected key '%s': no corresponding entry under 'override' is defined.", key)
		}
	}
	return nil
}

// merge adds what p says to the rule.
func (r *reader) merge(p *part, name, source string, ctx *context) *failure {
	if !p.has("condition") {
		source = ""
	}
	prev, fail := r.previous(name, source, ctx)
	switch {
	case fail != nil:
		return fail
	case prev == nil:
		return ctx.fail(ErrValidate, msgNoRule)
	case len(p.keys) == 0:
		return ctx.fail(ErrValidate, "Appended rule must have exceptions or condition property")
	}
	if p.cond.s != "" {
		prev.cond = concat(prev.cond, made(" ", p.cond.start()), p.cond)
	}
	if p.output.s != "" {
		prev.output = concat(prev.output, made(" ", p.output.start()), p.output)
	}
	if p.desc != "" {
		prev.desc += " " + p.desc
	}
	prev.tags = uniqueSorted(append(slices.Clone(prev.tags), p.tags...))
	for i := range p.exceptions {
		if fail := addException(prev, &p.exceptions[i]); fail != nil {
			return fail
		}
	}
	r.l.next()
	return nil
}

// replace puts what p says in the place of what the rule has.
func (r *reader) replace(p *part, name, source string, ctx *context) *failure {
	if !p.has("condition") {
		source = ""
	}
	prev, fail := r.previous(name, source, ctx)
	if fail != nil {
		return fail
	}
	if prev == nil {
		return ctx.fail(ErrValidate, msgNoRule2)
	}
	for _, key := range p.keys {
		switch key {
		case "condition":
			prev.cond, prev.condCtx = p.cond, p.condCtx
		case "output":
			prev.output, prev.outCtx = p.output, p.outCtx
		case "desc":
			prev.desc = p.desc
		case "priority":
			prev.priority = p.priority
		case "capture":
			prev.capture = p.capture
		case "capture_duration":
			prev.captureMillis = p.captureMillis
		case "tags":
			prev.tags = p.tags
		case "exceptions":
			for i := range p.exceptions {
				if fail := validate(&p.exceptions[i], !prev.unknown); fail != nil {
					return fail
				}
			}
			prev.exceptions = p.exceptions
		case "enabled":
			prev.enabled = p.enabled
		case "warn_evttypes":
			prev.warnTypes = p.warnTypes
		case "skip-if-unknown-filter":
			prev.skipUnknown = p.skipUnknown
		}
	}
	r.l.next()
	return nil
}
