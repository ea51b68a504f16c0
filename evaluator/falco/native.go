package falco

import (
	"crypto/sha256"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/gyre-sec/gyre/evaluator/falco/output"
	"github.com/gyre-sec/gyre/evaluator/falco/translate"
	"github.com/gyre-sec/gyre/evaluator/rule"
)

// Prefix begins the ids of rules and the names of lists and macros that come from Falco files,
// so that they cannot meet those of native files.
const (
	Prefix   = "falco_"
	idPrefix = "falco."
)

var (
	noIDs   = regexp.MustCompile(`[^a-z0-9]+`)
	mitreID = regexp.MustCompile(`^(T\d{4}(\.\d{3})?|TA\d{4})$`)
)

// Native returns the rules, with the lists and macros that they use, as native rule files: one for each file that was
// loaded, of the same name, so that errors name the right place. Rules that can never match are left out, and so are
// those that are switched off if enabledOnly is set.
func (l *Loader) Native(enabledOnly bool) []rule.File {
	if l.last == nil {
		return nil
	}
	n, out := l.last.names, &byFile{}
	ids := map[string]bool{}
	for i, r := range l.Rules() {
		if r.CEL.Const == translate.AlwaysFalse || enabledOnly && !r.Enabled {
			continue
		}
		native := r.native(i+1, ids)
		for _, f := range l.o.ExtraFields {
			native.Fields = append(native.Fields, rule.Text{Value: f, Pos: native.Pos})
		}
		f := out.file(r.item.ctx)
		f.Rules = append(f.Rules, native)
	}
	for _, m := range l.macros.order {
		state := l.last.macros[m.name]
		if name := n.ofKey["macro "+m.name]; state != nil && n.used[name] && state.done && state.err == nil && state.cond.Const == translate.Varies {
			f := out.file(m.ctx)
			f.Macros = append(f.Macros, rule.Macro{Name: name, Condition: rule.Text{Value: state.cond.CEL, Pos: m.condCtx.pos}, Pos: m.ctx.pos})
		}
	}
	for _, list := range l.lists.order {
		if name := n.ofKey["list "+list.name]; n.used[name] {
			f := out.file(list.ctx)
			f.Lists = append(f.Lists, rule.List{Name: name, Items: n.items(list.name), Pos: list.ctx.pos})
		}
	}
	if len(n.extra)+len(n.parts) > 0 {
		out.list = append(out.list, rule.File{Name: "falco", Lists: n.extra, Macros: n.parts})
	}
	return out.list
}

// byFile sorts items to the files that they are from.
type byFile struct{ list []rule.File }

func (b *byFile) file(c *context) *rule.File {
	i := slices.IndexFunc(b.list, func(f rule.File) bool { return f.Name == c.file.name })
	if i < 0 {
		i = len(b.list)
		b.list = append(b.list, rule.File{Name: c.file.name})
	}
	return &b.list[i]
}

// Convert returns what [Loader.Native] does as one file, with rules that do not know where they are from: their outputs
// are native templates.
func (l *Loader) Convert(name string) rule.File {
	out := rule.File{Name: name}
	for _, f := range l.Native(false) {
		out.Lists = append(out.Lists, f.Lists...)
		out.Macros = append(out.Macros, f.Macros...)
		out.Rules = append(out.Rules, f.Rules...)
	}
	slices.SortStableFunc(out.Rules, func(a, b rule.Rule) int { return a.Falco - b.Falco })
	for i := range out.Rules {
		r := &out.Rules[i]
		if t, err := output.Parse(r.Output.Value); err == nil {
			r.Output.Value = t.Native()
		}
		r.Falco = 0
	}
	return out
}

func (r *Rule) native(order int, ids map[string]bool) rule.Rule {
	out := rule.Rule{
		ID: ID(r.Name), Name: r.Name, Description: strings.TrimSpace(r.Description), Source: r.Source, Priority: r.Priority,
		Condition: rule.Text{Value: r.CEL.CEL, Pos: r.item.condCtx.pos}, Output: rule.Text{Value: r.Output, Pos: r.item.outCtx.pos},
		Tags: slices.Clone(r.Tags), Enabled: r.Enabled, Pos: r.item.ctx.pos, Falco: order,
	}
	if ids[out.ID] {
		sum := sha256.Sum256([]byte(r.Name))
		out.ID = fmt.Sprintf("%s-%x", out.ID[:min(len(out.ID), 90)], sum[:4])
	}
	ids[out.ID] = true
	for _, t := range r.Tags {
		if mitreID.MatchString(t) {
			out.MITRE = append(out.MITRE, t)
		}
	}
	return out
}

// ID makes the id of a rule from its name in Falco, such as falco.terminal-shell-in-container.
func ID(name string) string {
	s := idPrefix + strings.Trim(noIDs.ReplaceAllString(strings.ToLower(name), "-"), "-")
	return s[:min(len(s), 100)]
}
