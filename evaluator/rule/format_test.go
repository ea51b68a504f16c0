package rule_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/gyre-sec/gyre/evaluator/rule"
	"github.com/gyre-sec/gyre/schemas/alertv1"
)

func TestFormat(t *testing.T) {
	long := strings.Repeat(`fd.name.startsWith("/a && b\" c") && (proc.name == 'x' || proc.pid == 1) || `, 5) + "true"
	f := rule.File{
		Name:   "f",
		Lists:  []rule.List{{Name: "some", Items: []string{"a: b", "#c", `"q"`, "ü", "- d", "1"}}, {Name: "many", Items: strings.Split(strings.Repeat("item,", 60)+"x", ",")}},
		Macros: []rule.Macro{{Name: "m", Condition: rule.Plain(`proc.name == "\\"`)}},
		Rules: []rule.Rule{
			{ID: "a.b-c", Name: "A: rule", Description: "two\nlines", Source: "syscall", Condition: rule.Plain(long), Output: rule.Plain("%proc.name: <x> #1 {y}"), Priority: alertv1.Error, Tags: []string{"t"}, MITRE: []string{"T1059"}, Enabled: true},
			{ID: "d", Name: "no", Source: "syscall", Condition: rule.Plain("true"), Output: rule.Plain("o"), Priority: alertv1.Debug, Fields: []rule.Text{rule.Plain("proc.pid")}},
		},
	}
	text := rule.Format(f)
	got, err := rule.Parse("f", text)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	same := cmp.Options{
		cmpopts.IgnoreFields(rule.List{}, "Pos"), cmpopts.IgnoreFields(rule.Macro{}, "Pos"), cmpopts.IgnoreFields(rule.Rule{}, "Pos"),
		cmp.Transformer("text", func(x rule.Text) string { return strings.Join(strings.Fields(x.Value), " ") }), cmpopts.EquateEmpty(),
	}
	if diff := cmp.Diff(f, got, same); diff != "" {
		t.Errorf("%s\n%s", diff, text)
	}
	if got, err := rule.Parse("f", rule.Format(rule.File{})); err != nil || len(got.Rules) != 0 {
		t.Error(got, err)
	}
}
