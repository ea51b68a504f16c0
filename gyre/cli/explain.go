package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gyre-sec/gyre/evaluator"
	"github.com/gyre-sec/gyre/evaluator/rule"
	"github.com/gyre-sec/gyre/evaluator/ruleset"
)

// notCompiled says which rules of these files run on the slower interpreter, and why.
func (a *app) notCompiled(set *ruleset.Set, files []rule.File) {
	for _, r := range set.Rules() {
		if r.Interpreted != "" && slices.ContainsFunc(files, func(f rule.File) bool { return f.Name == r.File }) {
			fmt.Fprintf(a.out, "%s:%d:%d: rule %s is not compiled and runs slower: %s\n", r.File, r.Condition.Pos.Line, r.Condition.Pos.Col, r.ID, r.Interpreted)
		}
	}
}

func (a *app) explainCommand() *cobra.Command {
	return &cobra.Command{Use: "explain ID|NAME [DIR|FILE...]", Short: "Say what a rule means, which fields and events it needs and how it is compiled", Args: cobra.MinimumNArgs(1), RunE: func(_ *cobra.Command, args []string) error {
		own, err := evaluator.ReadFiles(args[1:])
		if err != nil {
			return err
		}
		set, err := compile(own)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(set.Rules(), func(r *ruleset.Rule) bool { return r.ID == args[0] })
		if i < 0 { // a name is for people, and need not be the only one
			i = slices.IndexFunc(set.Rules(), func(r *ruleset.Rule) bool { return strings.EqualFold(r.Name, args[0]) })
		}
		if i < 0 {
			return fmt.Errorf("explain rule: there is no enabled rule %s; gyre rules list lists them", args[0])
		}
		_, err = fmt.Fprint(a.out, explain(set.Rules()[i]))
		return err
	}}
}

func explain(r *ruleset.Rule) string {
	var b strings.Builder
	line := func(key, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%-11s %s\n", key, value)
		}
	}
	line("rule", r.ID+" ("+r.Priority.String()+", "+r.File+")")
	line("name", r.Name)
	line("meaning", strings.Join(strings.Fields(r.Description), " "))
	line("mitre", strings.Join(r.MITRE, " "))
	line("tags", strings.Join(r.Tags, " "))
	for _, u := range r.References {
		line("see", u)
	}
	kinds := make([]string, len(r.Kinds))
	for i, k := range r.Kinds {
		kinds[i] = k.String()
	}
	if len(kinds) == 0 {
		kinds = []string{"none: it can never match"}
	}
	line("events", strings.Join(kinds, " "))
	line("fields", strings.Join(r.Needs, " "))
	attached := make([]string, len(r.Attach))
	for i, f := range r.Attach {
		attached[i] = f.Name
	}
	line("in alerts", strings.Join(attached, " "))
	correlation(line, r)
	line("output", r.Rule.Output.Value)
	line("condition", strings.ReplaceAll(strings.TrimSpace(r.Condition.Value), "\n", "\n            "))
	for _, x := range r.Except() {
		line("except", x.Name+": "+strings.ReplaceAll(strings.TrimSpace(x.Condition.Value), "\n", "\n            "))
	}
	if t := r.Throttle; t != nil {
		keys := make([]string, len(r.ThrottleKey))
		for i, f := range r.ThrottleKey {
			keys[i] = f.Name
		}
		line("throttle", fmt.Sprintf("one alert in %s for each %s", t.Window, strings.Join(keys, ", ")))
	}
	if r.Interpreted != "" {
		line("compiled", "no, it runs slower: "+r.Interpreted)
	} else {
		line("compiled", r.Form)
		line("cost", fmt.Sprintf("about %.0f ns alone for an event whose process acted before in its batch, %.0f ns the first time; less with other rules", r.Cost, r.First))
	}
	return b.String()
}

// correlation says how a rule puts events together.
func correlation(line func(key, value string), r *ruleset.Rule) {
	c := r.Plan
	if c == nil {
		return
	}
	line("kind", c.Kind+", scope "+c.Scope+", within "+c.Within.String())
	by := func(s *ruleset.Step) string {
		names := make([]string, len(s.By))
		for i, f := range s.By {
			names[i] = f.Name
		}
		return strings.Join(names, " ")
	}
	line("by", by(c.Steps[0]))
	if c.Count > 0 {
		line("count", fmt.Sprint(c.Count))
	}
	if c.Distinct != nil {
		line("distinct", c.Distinct.Name)
	}
	if c.Baseline > 0 {
		line("baseline", fmt.Sprintf("%s, factor %v", c.Baseline, c.Factor))
	}
	if c.Learn > 0 {
		line("learn", c.Learn.String())
	}
	if len(r.Correlation.Steps) > 1 {
		for i, s := range r.Correlation.Steps {
			text := strings.Join(strings.Fields(s.Condition.Value), " ")
			if st := c.Steps[i]; by(st) != by(c.Steps[0]) {
				text += "  [by " + by(st) + "]"
			}
			if s.Count > 1 {
				text += fmt.Sprintf("  [%d times]", s.Count)
			}
			line("step", s.Name+": "+text)
		}
	}
	if c.Until != nil {
		line("until", strings.Join(strings.Fields(r.Correlation.Until.Value), " "))
	}
	var carried []string
	for _, s := range c.Steps {
		for _, f := range s.Capture {
			carried = append(carried, s.Name+"."+f.Name)
		}
	}
	line("carries", strings.Join(carried, " "))
}
