package rules_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/gyre-sec/gyre/evaluator/rule"
	"github.com/gyre-sec/gyre/evaluator/rules"
	"github.com/gyre-sec/gyre/evaluator/ruleset"
	"github.com/gyre-sec/gyre/evaluator/ruletest"
)

// leastCases is how many cases a shipped rule about single events has at the least; among them are a hit, a miss and a near miss.
const leastCases = 4

func all(t *testing.T) []rule.File {
	t.Helper()
	files, err := rules.All()
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func compile(t *testing.T, files []rule.File) *ruleset.Set {
	t.Helper()
	set, err := ruleset.Compile(files, ruleset.Options{OnError: func(id string, err error) { t.Errorf("rule %s failed: %v", id, err) }})
	if err != nil {
		t.Fatalf("\n%v", err)
	}
	return set
}

// TestCases runs the cases of every shipped rule, those that are off by default included.
func TestCases(t *testing.T) {
	set := compile(t, all(t))
	cases, err := rules.Cases()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range set.Rules() {
		t.Run(r.ID, func(t *testing.T) {
			list, err := ruletest.Parse(r.ID+"/cases.yaml", r.ID, cases[r.ID])
			if err != nil {
				t.Fatal(err)
			}
			results, err := ruletest.Run(set, list)
			if err != nil {
				t.Fatal(err)
			}
			seen, names := map[string]int{}, map[string]bool{}
			for _, x := range results {
				seen[x.Want]++
				if !x.OK {
					t.Errorf("%s: want %s, hit %v", x.Case, x.Want, x.Hit)
				}
				if names[x.Case] {
					t.Errorf("two cases are called %q", x.Case)
				}
				names[x.Case] = true
			}
			for _, want := range []string{ruletest.Hit, ruletest.Miss, ruletest.NearMiss} {
				if seen[want] == 0 {
					t.Errorf("no case is a %s", want)
				}
			}
			if len(results) < leastCases && r.Plan == nil {
				t.Errorf("%d cases, want %d or more", len(results), leastCases)
			}
		})
		delete(cases, r.ID)
	}
	for id := range cases {
		t.Errorf("cases of %s, which is no rule", id)
	}
}

// TestComplete demands of every rule what the documents are made of, and that it is compiled.
func TestComplete(t *testing.T) {
	set := compile(t, all(t))
	for _, r := range set.Rules() {
		if r.Name == "" || r.Description == "" || len(r.Tags) == 0 || len(r.MITRE) == 0 {
			t.Errorf("%s: a shipped rule needs a name, a description, tags and MITRE ids", r.ID)
		}
		for _, id := range r.MITRE {
			if _, ok := rules.Technique(id); !ok {
				t.Errorf("%s: the technique %s is not known: add it with its name if there is one", r.ID, id)
			}
		}
		if r.Interpreted != "" {
			t.Errorf("%s is not compiled but interpreted: %s", r.ID, r.Interpreted)
		}
	}
}

var (
	sections = regexp.MustCompile(`(?s)^# (.+?)\n\n## Why it matters\n\n(.+?)\n\n## Benign causes\n\n(.+?)\n\n## Tuning\n\n(.+)$`)
	example  = regexp.MustCompile("(?s)```yaml\n(.*?)```")
)

// TestReadmes demands that each rule has a README.md of one form, whose example of an override loads and is about the rule.
func TestReadmes(t *testing.T) {
	files := all(t)
	examples := slices.Clip(files)
	for _, r := range compile(t, files).Rules() {
		name := r.ID + "/README.md"
		text, err := os.ReadFile(name)
		if err != nil {
			t.Error(err)
			continue
		}
		parts := sections.FindSubmatch(text)
		block := example.FindSubmatch(text)
		switch {
		case parts == nil:
			t.Errorf("%s: want the title and the sections Why it matters, Benign causes and Tuning", name)
			continue
		case string(parts[1]) != r.Name:
			t.Errorf("%s is about %q, the rule is called %q", name, parts[1], r.Name)
		case block == nil:
			t.Errorf("%s: no example of an override", name)
			continue
		}
		own, err := rule.Parse(name, block[1])
		if err != nil {
			t.Error(err)
			continue
		}
		if len(own.Overrides) != 1 || own.Overrides[0].Rule.Value != r.ID || len(own.Overrides[0].Exceptions) == 0 {
			t.Errorf("%s: the example is not one override of %s with an exception", name, r.ID)
		}
		own.Layer = 1
		examples = append(examples, own)
	}
	compile(t, examples)
	dirs, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range dirs {
		if _, err := os.Stat(d.Name() + "/rule.yaml"); d.IsDir() && err != nil {
			t.Errorf("%s holds no rule", d.Name())
		}
		if strings.ToLower(d.Name()) != d.Name() {
			t.Errorf("%s is no rule id", d.Name())
		}
	}
}
