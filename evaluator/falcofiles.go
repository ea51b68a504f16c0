package evaluator

import (
	"cmp"
	"errors"
	"slices"
	"strings"

	"github.com/gyre-sec/gyre/evaluator/falco"
	"github.com/gyre-sec/gyre/evaluator/rule"
	"github.com/gyre-sec/gyre/schemas/alertv1"
)

// Values of [Config.FalcoMatching].
const (
	matchFirst = "first"
	matchAll   = "all"
)

// falco returns the options of the loader of Falco files.
func (c Config) falco() (falco.Options, error) {
	o := falco.Options{AppendOutput: c.FalcoOutput, ExtraFields: c.FalcoFields}
	if c.FalcoPriority != "" {
		p, err := alertv1.ParsePriority(c.FalcoPriority)
		if err != nil {
			return o, err
		}
		o.Threshold, o.HasThreshold = p, true
	}
	for _, s := range c.FalcoDisable {
		o.Select = append(o.Select, selection(s, false))
	}
	for _, s := range c.FalcoEnable {
		o.Select = append(o.Select, selection(s, true))
	}
	return o, nil
}

func selection(s string, enable bool) falco.Selection {
	if tag, ok := strings.CutPrefix(s, "tag:"); ok {
		return falco.Selection{Enable: enable, Tag: tag}
	}
	return falco.Selection{Enable: enable, Rule: s}
}

// parse reads rule files of both languages. Falco's are told by their content and loaded one after the other, those of
// lower layers first; together they become files of the lowest layer, so that native files can replace their rules.
func parse(in []input, o falco.Options) (files []rule.File, warnings []falco.Issue, err error) {
	var errs rule.Errors
	in = slices.Clone(in)
	slices.SortStableFunc(in, func(a, b input) int { return cmp.Compare(a.layer, b.layer) })
	loader, some := falco.New(o), false
	for _, x := range in {
		if falco.Is(x.data) {
			some = true
			res := loader.Load(x.name, x.data)
			warnings = append(warnings, res.Warnings...)
			if list, ok := errors.AsType[rule.Errors](res.Err()); ok {
				errs = append(errs, list...)
			}
			continue
		}
		f, err := rule.Parse(x.name, x.data)
		if list, ok := errors.AsType[rule.Errors](err); ok {
			errs = append(errs, list...)
		}
		f.Layer = x.layer
		files = append(files, f)
	}
	if some && len(errs) == 0 {
		for _, f := range loader.Native(true) {
			f.Layer = layerBuiltin
			files = append(files, f)
		}
	}
	return files, latest(warnings), errs.Err()
}

// latest drops repeated warnings: each file that is loaded repeats those about earlier ones.
func latest(list []falco.Issue) []falco.Issue {
	seen := map[string]bool{}
	var out []falco.Issue
	for _, w := range list {
		if key := w.String(); !seen[key] {
			seen[key] = true
			out = append(out, w)
		}
	}
	return out
}
