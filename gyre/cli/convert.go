package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/evaluator"
	"github.com/gyre-sec/gyre/evaluator/falco"
	"github.com/gyre-sec/gyre/evaluator/falco/filter"
	"github.com/gyre-sec/gyre/evaluator/falco/translate"
	"github.com/gyre-sec/gyre/evaluator/rule"
	"github.com/gyre-sec/gyre/evaluator/ruleset"
)

func (a *app) convertCommand() *cobra.Command {
	var condition string
	c := &cobra.Command{
		Use: "convert [FILE...]", Short: "Print Falco rule files as rules of gyre",
		Long: "Print what Falco rule files define, together, as one file of rules of gyre that behave the same.\n" +
			"Remarks about fields and events that gyre does not have go to the standard error.\n\n" +
			"With --condition, print a single Falco condition as CEL.",
		Example: "  gyre rules convert falco_rules.yaml falco_rules.local.yaml > rules.yaml\n  gyre rules convert --condition 'evt.type = execve and proc.name in (nc, ncat)'",
		RunE: func(c *cobra.Command, args []string) error {
			one := c.Flags().Changed("condition")
			switch {
			case one && len(args) > 0:
				return daemon.Hint(errors.New("both files and a condition are given"), "leave one of them out")
			case one:
				return a.convertCondition(condition)
			case len(args) == 0:
				return daemon.Hint(errors.New("there is nothing to convert"), "name a file, or add --condition 'EXPR'")
			}
			return a.convertFiles(args)
		},
	}
	c.Flags().StringVar(&condition, "condition", "", "Falco condition to print as CEL")
	return c
}

// convertCondition prints CEL; where Falco would refuse the condition, it shows the place.
func (a *app) convertCondition(text string) error {
	c, err := translate.Parse(text, translate.Scope{})
	if err != nil {
		var bad *filter.Error
		var wrong *translate.Error
		offset, msg := 0, err.Error()
		switch {
		case errors.As(err, &bad):
			offset, msg = bad.Pos.Offset, bad.Msg
		case errors.As(err, &wrong):
			offset = wrong.Pos.Offset
		}
		fmt.Fprintf(a.err, "%s\nerror: %s\n", pointAt(text, offset), msg)
		return errQuiet
	}
	for _, w := range c.Warnings {
		fmt.Fprintf(a.err, "%s\nwarning: %s\n", pointAt(text, w.Pos.Offset), w.Msg)
	}
	for _, f := range c.Missing {
		fmt.Fprintf(a.err, "warning: gyre does not have %s, it counts as never there: %s\n", f, translate.Reason(f))
	}
	if len(c.Unseen) > 0 {
		fmt.Fprintf(a.err, "warning: the collector does not report %s events\n", strings.Join(c.Unseen, ", "))
	}
	_, err = fmt.Fprintln(a.out, c.CEL)
	return err
}

// pointAt is the line of a text with a byte offset, and a caret below it.
func pointAt(text string, offset int) string {
	offset = min(max(offset, 0), len(text))
	start := strings.LastIndexByte(text[:offset], '\n') + 1
	line, _, _ := strings.Cut(text[start:], "\n")
	column := len([]rune(text[start:offset]))
	return strings.ReplaceAll(line, "\t", " ") + "\n" + strings.Repeat(" ", column) + "^"
}

func (a *app) convertFiles(paths []string) error {
	l, results, err := loadFalco(paths)
	if err != nil {
		return err
	}
	failed := false
	for _, r := range results {
		failed = failed || !r.Successful
		if !r.Successful || len(r.Warnings) > 0 {
			if _, err := io.WriteString(a.err, r.String()); err != nil {
				return err
			}
		}
	}
	if failed {
		return errQuiet
	}
	f := l.Convert("converted")
	all := l.Native(false)
	for _, x := range all {
		for i := range x.Rules { // a set lists enabled rules
			x.Rules[i].Enabled = true
		}
	}
	set, err := ruleset.Compile(all, ruleset.Options{MaxRules: len(f.Rules) + 1})
	if err != nil {
		return err
	}
	never := map[string]bool{}
	for _, r := range set.Rules() {
		if len(r.Kinds) == 0 {
			never[r.ID] = true
		}
	}
	f.Rules = slices.DeleteFunc(f.Rules, func(r rule.Rule) bool {
		if never[r.ID] {
			fmt.Fprintf(a.err, "warning: no event type satisfies the rule %q, it is left out\n", r.Name)
		}
		return never[r.ID]
	})
	_, err = a.out.Write(rule.Format(f))
	return err
}

// loadFalco loads files into one loader; a file that cannot be read has that as its result.
func loadFalco(paths []string) (*falco.Loader, []*falco.Result, error) {
	l := falco.New(falco.Options{})
	var results []*falco.Result
	for _, p := range paths {
		data, err := os.ReadFile(p)
		if err != nil {
			return nil, nil, fmt.Errorf("read rules: %w", err)
		}
		results = append(results, l.Load(p, data))
	}
	return l, results, nil
}

// falcoPaths divides rule files, also those below directories, into Falco's and native ones.
func falcoPaths(paths []string) (theirs, ours []string, err error) {
	for _, p := range paths {
		st, err := os.Stat(p)
		if err != nil {
			return nil, nil, fmt.Errorf("read rules: %w", err)
		}
		files := []string{p}
		if st.IsDir() {
			if files, err = evaluator.RuleFiles(p); err != nil {
				return nil, nil, err
			}
		}
		for _, f := range files {
			data, err := os.ReadFile(f)
			if err != nil {
				return nil, nil, fmt.Errorf("read rules: %w", err)
			}
			if falco.Is(data) {
				theirs = append(theirs, f)
			} else {
				ours = append(ours, f)
			}
		}
	}
	return theirs, ours, nil
}

// checkRules checks files of both languages, each kind together. With asJSON it prints Falco's form of results for all of them.
func (a *app) checkRules(paths []string, asJSON bool) error {
	theirs, ours, err := falcoPaths(paths)
	if err != nil {
		return err
	}
	l, results, err := loadFalco(theirs)
	if err != nil {
		return err
	}
	failed := false
	for _, r := range results {
		failed = failed || !r.Successful
	}
	var files []rule.File
	if !failed && len(theirs) > 0 {
		files = l.Native(false)
	}
	native, nativeErr := evaluator.ReadFiles(ours)
	if nativeErr == nil {
		var set *ruleset.Set
		if set, nativeErr = compile(append(files, native...)); nativeErr == nil && !asJSON {
			a.notCompiled(set, append(files, native...))
		}
	}
	failed = failed || nativeErr != nil
	if asJSON {
		results = append(results, nativeResults(ours, nativeErr)...)
		for i, p := range theirs { // what the compiler refuses in them
			for _, r := range nativeResults([]string{p}, nativeErr) {
				if !r.Successful {
					results[i].Successful = false
					results[i].Errors = append(results[i].Errors, r.Errors...)
				}
			}
		}
		data, err := falco.JSON(results)
		if err != nil {
			return err
		}
		if _, err := a.out.Write(data); err != nil {
			return err
		}
		if failed {
			return errQuiet
		}
		return nil
	}
	for _, r := range results {
		if _, err := io.WriteString(a.out, r.String()); err != nil {
			return err
		}
	}
	switch {
	case nativeErr != nil:
		return nativeErr
	case failed:
		return errQuiet
	}
	n := len(l.Rules())
	for _, f := range native {
		n += len(f.Rules)
	}
	_, err = fmt.Fprintf(a.out, "%d files, %d rules: ok\n", len(paths), n)
	return err
}

// nativeResults are the results of native files in Falco's form.
func nativeResults(paths []string, err error) []*falco.Result {
	var list rule.Errors
	errors.As(err, &list)
	var results []*falco.Result
	for _, p := range paths {
		data, readErr := os.ReadFile(p)
		if readErr != nil {
			data = nil
		}
		results = append(results, falco.NativeResult(p, string(data), list))
	}
	return results
}
