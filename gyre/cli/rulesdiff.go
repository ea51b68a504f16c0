package cli

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/aymanbagabas/go-udiff"
	"github.com/spf13/cobra"

	"github.com/gyre-sec/gyre/evaluator/rule"
	"github.com/gyre-sec/gyre/evaluator/rulestore"
	"github.com/gyre-sec/gyre/schemas/rulesv1"
)

func (a *app) diffCommand() *cobra.Command {
	var f remoteFlags
	return a.remote(&cobra.Command{
		Use: "diff DIR|FILE|DIGEST [DIR|FILE|DIGEST]", Short: "Show how rule files and versions of a rule set differ", Args: cobra.RangeArgs(1, 2),
		Long: "With one directory: what pushing it would change. With one digest: what changed from that version to the current one.\n" +
			"With two: what changes from the first to the second. \"current\" is the current version.",
		Example: "  gyre rules diff rules/\n  gyre rules diff 3fa1c2 9be044",
		RunE:    func(_ *cobra.Command, args []string) error { return a.diff(args, f) },
	}, &f)
}

// side is one of the two that are compared.
type side struct {
	label string
	files []rulesv1.File
}

func (a *app) diff(args []string, f remoteFlags) error {
	return a.withStore(&f, func(ctx context.Context, s *rulestore.Store) error {
		load := func(arg string) (side, bool, error) {
			if _, err := os.Stat(arg); err == nil {
				m, err := readWorkTree(arg, f.set)
				if err != nil {
					m = workTree{}
				}
				files, err := localFiles([]string{arg}, m)
				return side{strings.TrimSuffix(arg, "/"), files}, true, err
			}
			if arg == "current" {
				if v, err := s.Current(ctx); err != nil || v.Revision == 0 || v.Deleted {
					return side{f.set + "@none", nil}, false, err
				}
			}
			v, err := pick(ctx, s, []string{arg}, f.set)
			if err != nil {
				return side{}, false, err
			}
			return side{versionName(f.set, v), v.Doc.Files}, false, nil
		}
		from, local, err := load(args[0])
		if err != nil {
			return err
		}
		other := "current"
		if len(args) == 2 {
			other = args[1]
		}
		to, _, err := load(other)
		if err != nil {
			return err
		}
		if len(args) == 1 && local {
			from, to = to, from
		}
		return a.writeDiff(from, to)
	})
}

func (a *app) writeDiff(from, to side) error {
	if sameFiles(from.files, to.files) {
		_, err := fmt.Fprintf(a.out, "%s and %s are the same\n", from.label, to.label)
		return err
	}
	var b strings.Builder
	old, fresh := byName(from.files), byName(to.files)
	names := maps.Clone(old)
	maps.Copy(names, fresh)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		x, y := from.label+"/"+name, to.label+"/"+name
		if _, there := old[name]; !there {
			x = "/dev/null"
		}
		if _, there := fresh[name]; !there {
			y = "/dev/null"
		}
		b.WriteString(udiff.Unified(x, y, old[name], fresh[name]))
	}
	if b.Len() == 0 {
		b.WriteString("the same files in another order\n")
	}
	c, err := ruleChanges(from.files, to.files)
	if err != nil {
		fmt.Fprintf(&b, "rules: one of the two does not check: %v\n", err)
	} else {
		b.WriteString(c.String())
	}
	_, err = fmt.Fprint(a.out, b.String())
	return err
}

func byName(files []rulesv1.File) map[string]string {
	m := map[string]string{}
	for _, f := range files {
		m[f.Name] = string(f.Data)
	}
	return m
}

// changes are the ids of enabled rules that differ between two versions.
type changes struct{ added, removed, changed []string }

// String has a line for each kind of change.
func (c changes) String() string {
	var b strings.Builder
	for _, x := range []struct {
		what string
		ids  []string
	}{{"added", c.added}, {"removed", c.removed}, {"changed", c.changed}} {
		if len(x.ids) > 0 {
			fmt.Fprintf(&b, "rules %-8s %d: %s\n", x.what, len(x.ids), strings.Join(x.ids, ", "))
		}
	}
	if b.Len() == 0 {
		b.WriteString("no rule differs\n")
	}
	return b.String()
}

// ruleChanges compares the rules of two versions, each over the shipped ones: a rule has changed if what it does has,
// also by a list or macro that it names.
func ruleChanges(from, to []rulesv1.File) (changes, error) {
	old, err := meanings(from)
	if err != nil {
		return changes{}, err
	}
	fresh, err := meanings(to)
	if err != nil {
		return changes{}, err
	}
	var c changes
	for _, id := range slices.Sorted(maps.Keys(fresh)) {
		switch was, there := old[id]; {
		case !there:
			c.added = append(c.added, id)
		case was != fresh[id]:
			c.changed = append(c.changed, id)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(old)) {
		if _, there := fresh[id]; !there {
			c.removed = append(c.removed, id)
		}
	}
	return c, nil
}

// meanings is, by id, everything that an enabled rule is and does.
func meanings(files []rulesv1.File) (map[string]string, error) {
	set, err := checked(files)
	if err != nil {
		return nil, err
	}
	m := map[string]string{}
	for _, r := range set.Rules() {
		var text strings.Builder
		text.WriteString(string(rule.Format(rule.File{Rules: []rule.Rule{r.Rule}})) + r.Form)
		for _, x := range r.Except() {
			fmt.Fprintf(&text, "\nexcept %s: %s", x.Name, x.Condition.Value)
		}
		if t := r.Throttle; t != nil {
			fmt.Fprintf(&text, "\nthrottle %s", t.Window)
			for _, k := range r.ThrottleKey {
				text.WriteString(" " + k.Name)
			}
		}
		m[r.ID] = text.String()
	}
	return m, nil
}
