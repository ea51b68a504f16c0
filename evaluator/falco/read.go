package falco

import (
	"regexp"
	"slices"

	"go.yaml.in/yaml/v3"
)

var (
	macroForm = regexp.MustCompile(`^[a-zA-Z]+[a-zA-Z0-9_]*$`)
	listForm  = regexp.MustCompile(`^[^()"'\s=,]+$`)
)

const (
	msgAppend   = "the key 'append' is out of date: use an 'append' entry under 'override'"
	msgEnabled  = "a rule with nothing but 'enabled' is out of date: add 'enabled: replace' under 'override'"
	msgBoth     = "the keys 'override' and 'append: true' cannot be used together"
	msgNoList   = "the list is appended to, but no list of this name exists yet"
	msgNoMacro  = "the macro is appended to, but no macro of this name exists yet"
	msgNoRule   = "the rule is appended to, but no rule of this name exists yet"
	msgNoRule2  = "parts of the rule are replaced, but no rule of this name exists yet"
	msgOtherSrc = "Rule has been re-defined with a different source"
)

// reader reads one file into the loader's items.
type reader struct {
	l   *Loader
	f   *file
	res *Result
}

func (r *reader) warn(f *failure) { r.res.Warnings = append(r.res.Warnings, f.issue()) }

func (r *reader) read() *failure {
	docs, fail := documents(r.f)
	if fail != nil {
		return fail
	}
	top := r.f.context()
	for _, doc := range docs {
		if isNull(doc) {
			continue
		}
		if doc.Kind != yaml.SequenceNode {
			return top.at(doc, "rules content", "").fail(ErrYAMLValidate, "Rules content is not yaml array of objects")
		}
		for _, item := range doc.Content {
			item = resolve(item)
			if isNull(item) {
				continue
			}
			if fail := r.item(item, top); fail != nil {
				return fail
			}
		}
	}
	return nil
}

func (r *reader) item(n *yaml.Node, top *context) *failure {
	if n.Kind != yaml.MappingNode {
		return top.at(n, "rules content item", "").fail(ErrYAMLValidate, "Unexpected element type. Each element should be a yaml associative array.")
	}
	for _, k := range []struct {
		key  string
		read func(*yaml.Node, *context) *failure
	}{
		{"required_engine_version", r.engineVersion},
		{"required_plugin_versions", r.pluginVersions},
		{"list", r.list},
		{"macro", r.macro},
		{"rule", r.rule},
	} {
		if get(n, k.key) != nil {
			return k.read(n, top)
		}
	}
	r.warn(top.at(n, "rules content item", "").fail(WarnUnknownItem, "Unknown top level item"))
	return nil
}

// named reads the name of an item and returns the place of the item.
func (r *reader) named(n *yaml.Node, kind string, top *context) (string, *context, *failure) {
	name, _, fail := scalar(n, kind, top.at(n, kind, ""), required)
	if fail != nil {
		return "", nil, fail
	}
	return name, top.at(n, kind, name), nil
}

// changes are the entries under override, and whether append is set.
type changes struct {
	appended, replaced []string
	append             bool
}

func (c changes) any() bool { return len(c.appended)+len(c.replaced) > 0 }

// overrides reads append and override.
func (r *reader) overrides(n *yaml.Node, ctx *context, appendable, replaceable []string) (c changes, fail *failure) {
	if fail := boolean(n, "append", ctx, optional, &c.append); fail != nil {
		return c, fail
	}
	if c.append {
		r.warn(ctx.fail(WarnDeprecated, msgAppend))
	}
	o := get(n, "override")
	if o == nil {
		return c, nil
	}
	octx := ctx.at(n, "overrides", "")
	if o.Kind != yaml.MappingNode && !isNull(o) {
		return c, octx.fail(ErrYAMLValidate, "the value of 'override' must be a mapping")
	}
	for i := 0; i+1 < len(o.Content); i += 2 {
		k, v := resolve(o.Content[i]), resolve(o.Content[i+1])
		canAppend, canReplace := slices.Contains(appendable, k.Value), slices.Contains(replaceable, k.Value)
		kctx := octx.at(k, "overrides", k.Value)
		switch {
		case v.Value == "append" && canAppend:
			c.appended = append(c.appended, k.Value)
		case v.Value == "append":
			return c, kctx.fail(ErrYAMLValidate, "Key '%s' cannot be appended to, use 'replace' instead", k.Value)
		case v.Value == "replace" && canReplace:
			c.replaced = append(c.replaced, k.Value)
		case v.Value == "replace":
			return c, kctx.fail(ErrYAMLValidate, "Key '%s' cannot be replaced", k.Value)
		default:
			return c, octx.at(v, "value for", k.Value).fail(ErrYAMLValidate, "Invalid override operation for key '%s': '%s', use append or replace", k.Value, v.Value)
		}
	}
	if c.append && c.any() {
		return c, ctx.fail(ErrYAMLValidate, msgBoth)
	}
	return c, nil
}

func (r *reader) list(n *yaml.Node, top *context) *failure {
	name, ctx, fail := r.named(n, "list", top)
	if fail != nil {
		return fail
	}
	if !listForm.MatchString(name) {
		r.warn(ctx.fail(WarnListName, "List has an invalid name. Names match %s", listForm))
	}
	items, fail := sequence(n, "items", ctx, required)
	if fail != nil {
		return fail
	}
	c, fail := r.overrides(n, ctx, []string{"items"}, []string{"items"})
	if fail != nil {
		return fail
	}
	prev, id := r.l.lists.get(name), r.l.next()
	switch {
	case c.append || len(c.appended) > 0:
		if prev == nil {
			return ctx.fail(ErrValidate, msgNoList)
		}
		prev.items = append(slices.Clip(prev.items), items...)
		prev.visibility = id
	case prev != nil:
		*prev = listItem{name: name, items: items, index: prev.index, visibility: id, ctx: ctx}
	default:
		r.l.lists.add(name, listItem{name: name, items: items, index: id, visibility: id, ctx: ctx})
	}
	r.unknownKeys(n, ctx, "list", "items", "append", "override")
	return nil
}

func (r *reader) macro(n *yaml.Node, top *context) *failure {
	name, ctx, fail := r.named(n, "macro", top)
	if fail != nil {
		return fail
	}
	if !macroForm.MatchString(name) {
		r.warn(ctx.fail(WarnMacroName, "Macro has an invalid name. Names match %s", macroForm))
	}
	cond, _, fail := r.scalarText(n, "condition", ctx, required)
	if fail != nil {
		return fail
	}
	condCtx := ctx.at(get(n, "condition"), "macro condition", "")
	c, fail := r.overrides(n, ctx, []string{"condition"}, []string{"condition"})
	if fail != nil {
		return fail
	}
	prev, id := r.l.macros.get(name), r.l.next()
	switch {
	case c.append || len(c.appended) > 0:
		if prev == nil {
			return ctx.fail(ErrValidate, msgNoMacro)
		}
		prev.cond = concat(prev.cond, made(" ", cond.start()), cond)
		prev.visibility = id
	case prev != nil:
		*prev = macroItem{name: name, cond: cond, index: prev.index, visibility: id, ctx: ctx, condCtx: condCtx}
	default:
		r.l.macros.add(name, macroItem{name: name, cond: cond, index: id, visibility: id, ctx: ctx, condCtx: condCtx})
	}
	r.unknownKeys(n, ctx, "macro", "condition", "append", "override")
	return nil
}
