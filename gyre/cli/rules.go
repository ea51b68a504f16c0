package cli

import (
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
	c := &cobra.Command{Use: "rules", Short: "Check, convert, test and list rules"}
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
		&cobra.Command{Use: "list [DIR...]", Short: "List the shipped rules, with those of directories over them", RunE: func(_ *cobra.Command, args []string) error {
			own, err := evaluator.ReadFiles(args)
			if err != nil {
				return err
			}
			set, err := compile(own)
			if err != nil {
				return err
			}
			t := table.NewWriter()
			t.SetStyle(table.StyleLight)
			t.AppendHeader(table.Row{"id", "priority", "mitre", "name"})
			for _, r := range set.Rules() {
				t.AppendRow(table.Row{r.ID, r.Priority, strings.Join(r.MITRE, " "), r.Name})
			}
			_, err = fmt.Fprintf(a.out, "%s\n%d rules, digest %s\n", t.Render(), len(set.Rules()), set.Digest())
			return err
		}},
	)
	return c
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
			fmt.Fprintf(a.out, "FAIL %s: %s: want %s, hit is %v\n", r.Rule, r.Case, r.Want, r.Hit)
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
