package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/gyre-sec/gyre/evaluator"
	"github.com/gyre-sec/gyre/evaluator/rule"
	"github.com/gyre-sec/gyre/evaluator/rules"
	"github.com/gyre-sec/gyre/evaluator/ruleset"
	"github.com/gyre-sec/gyre/evaluator/rulestore"
	"github.com/gyre-sec/gyre/evaluator/ruletest"
	"github.com/gyre-sec/gyre/schemas/field"
)

func (a *app) fieldsCommand() *cobra.Command {
	var asJSON, markdown, falcoFields bool
	c := &cobra.Command{Use: "fields [PREFIX]", Short: "List the fields that rules can use", Args: cobra.MaximumNArgs(1), RunE: func(_ *cobra.Command, args []string) error {
		prefix := ""
		if len(args) > 0 {
			prefix = args[0]
		}
		if falcoFields {
			return a.falcoFields(prefix, asJSON, markdown)
		}
		enc := json.NewEncoder(a.out)
		enc.SetEscapeHTML(false)
		t := table.NewWriter()
		t.SetStyle(table.StyleLight)
		t.AppendHeader(table.Row{"field", "type", "from", "meaning"})
		for _, f := range field.All() {
			if !strings.HasPrefix(f.Name, prefix) {
				continue
			}
			if asJSON {
				kinds := []string{}
				for _, k := range f.Kinds {
					kinds = append(kinds, k.String())
				}
				if err := enc.Encode(map[string]any{"name": f.Name, "type": f.Type.String(), "from": f.From, "doc": f.Doc, "kinds": kinds}); err != nil {
					return err
				}
				continue
			}
			t.AppendRow(table.Row{f.Name, f.Type.String(), f.From, f.Doc})
		}
		switch {
		case asJSON:
			return nil
		case markdown:
			_, err := fmt.Fprintln(a.out, t.RenderMarkdown())
			return err
		default:
			_, err := fmt.Fprintln(a.out, t.Render())
			return err
		}
	}}
	c.Flags().BoolVar(&asJSON, "json", false, "one JSON object per line")
	c.Flags().BoolVar(&markdown, "markdown", false, "as a Markdown table")
	c.Flags().BoolVar(&falcoFields, "falco", false, "list Falco's fields instead, and whether gyre has them")
	return c
}

func (a *app) rulesCommand() *cobra.Command {
	c := &cobra.Command{Use: "rules", Short: "Check, convert, test and list rules, and give them to a fleet"}
	c.AddCommand(
		a.explainCommand(),
		a.checkCommand(),
		a.convertCommand(),
		&cobra.Command{Use: "schema", Short: "Print the JSON Schema of rule files, for editors", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprint(a.out, rule.Schema)
			return err
		}},
		&cobra.Command{Use: "test [DIR...]", Short: "Run the cases of rules: the shipped ones, or those of directories with rule files and cases.yaml", RunE: func(_ *cobra.Command, args []string) error {
			return a.testRules(args)
		}},
		a.listCommand(), a.pushCommand(), a.pullCommand(), a.diffCommand(), a.versionsCommand(), a.rollbackCommand(), a.rulesKeygenCommand(),
	)
	return c
}

func (a *app) listCommand() *cobra.Command {
	var f remoteFlags
	var fromBucket bool
	c := a.remote(&cobra.Command{Use: "list [DIR...]", Short: "List the shipped rules, with those of directories or of the rule set in NATS over them", RunE: func(_ *cobra.Command, args []string) error {
		if !fromBucket {
			own, err := evaluator.ReadFiles(args)
			if err != nil {
				return err
			}
			set, err := compile(own)
			if err != nil {
				return err
			}
			return a.writeRules(set, "")
		}
		if len(args) > 0 {
			return fmt.Errorf("list rules: name directories or --remote, not both")
		}
		return a.withStore(&f, func(ctx context.Context, s *rulestore.Store) error {
			v, err := pick(ctx, s, nil, f.set)
			if err != nil {
				return err
			}
			set, err := checked(v.Doc.Files)
			if err != nil {
				return err
			}
			return a.writeRules(set, " with "+versionName(f.set, v))
		})
	}}, &f)
	c.Flags().BoolVar(&fromBucket, "remote", false, "with the current version of the rule set in NATS")
	return c
}

func (a *app) writeRules(set *ruleset.Set, with string) error {
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.AppendHeader(table.Row{"id", "kind", "priority", "mitre", "name"})
	for _, r := range set.Rules() {
		kind := rule.KindMatch
		if r.Plan != nil {
			kind = r.Plan.Kind
		}
		t.AppendRow(table.Row{r.ID, kind, r.Priority, strings.Join(r.MITRE, " "), r.Name})
	}
	_, err := fmt.Fprintf(a.out, "%s\n%d rules%s, digest %s\n", t.Render(), len(set.Rules()), with, set.Digest())
	return err
}

func (a *app) checkCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "check FILE...", Short: "Check rule files, or directories of them: gyre's own and Falco's", Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return a.checkRules(args, asJSON) },
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print the result as one JSON object, in the form of `falco -V` with json_output")
	return c
}

// compile puts files over the shipped rules, as the evaluator does.
func compile(own []rule.File) (*ruleset.Set, error) {
	shipped, err := rules.Files()
	if err != nil {
		return nil, err
	}
	return ruleset.Compile(append(shipped, own...), ruleset.Options{})
}

func (a *app) testRules(dirs []string) error {
	own, err := evaluator.ReadFiles(dirs)
	if err != nil {
		return err
	}
	shipped, err := rules.Files()
	if len(dirs) == 0 {
		shipped, err = rules.All()
	}
	if err != nil {
		return err
	}
	set, err := ruleset.Compile(append(shipped, own...), ruleset.Options{})
	if err != nil {
		return err
	}
	cases, err := readCases(dirs)
	if err != nil {
		return err
	}
	results, err := ruletest.Run(set, cases)
	if err != nil {
		return err
	}
	failed := 0
	for _, r := range results {
		if !r.OK {
			failed++
			fmt.Fprintf(a.out, "FAIL %s: %s: want %s, hit is %v %s\n", r.Rule, r.Case, r.Want, r.Hit, r.Output)
		}
	}
	if _, err := fmt.Fprintf(a.out, "%d cases passed, %d failed\n", len(results)-failed, failed); err != nil {
		return err
	}
	if failed > 0 {
		return errQuiet
	}
	return nil
}

// readCases reads the cases of directories, or the shipped ones.
func readCases(dirs []string) ([]ruletest.Case, error) {
	var all []ruletest.Case
	if len(dirs) == 0 {
		shipped, err := rules.Cases()
		if err != nil {
			return nil, err
		}
		for _, id := range slices.Sorted(maps.Keys(shipped)) {
			list, err := ruletest.Parse("builtin:"+id+"/cases.yaml", id, shipped[id])
			if err != nil {
				return nil, err
			}
			all = append(all, list...)
		}
		return all, nil
	}
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() || d.Name() != "cases.yaml" {
				return err
			}
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			list, err := ruletest.Parse(path, filepath.Base(filepath.Dir(path)), data)
			all = append(all, list...)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("read cases: %w", err)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("no cases.yaml below %s", strings.Join(dirs, ", "))
	}
	return all, nil
}
