package rules_test

import (
	"testing"

	"github.com/gyre-sec/gyre/evaluator/rules"
	"github.com/gyre-sec/gyre/evaluator/ruleset"
	"github.com/gyre-sec/gyre/evaluator/ruletest"
)

// TestCases runs the cases of every shipped rule; each has a hit, a miss and a near miss.
func TestCases(t *testing.T) {
	files, err := rules.All()
	if err != nil {
		t.Fatal(err)
	}
	set, err := ruleset.Compile(files, ruleset.Options{OnError: func(id string, err error) { t.Errorf("rule %s failed: %v", id, err) }})
	if err != nil {
		t.Fatalf("\n%v", err)
	}
	all, err := rules.Cases()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range set.Rules() {
		t.Run(r.ID, func(t *testing.T) {
			if len(r.MITRE) == 0 || r.Description == "" {
				t.Error("a shipped rule needs MITRE ids and a description")
			}
			cases, err := ruletest.Parse(r.ID+"/cases.yaml", r.ID, all[r.ID])
			if err != nil {
				t.Fatal(err)
			}
			seen := map[string]int{}
			results, err := ruletest.Run(set, cases)
			if err != nil {
				t.Fatal(err)
			}
			for _, x := range results {
				seen[x.Want]++
				if !x.OK {
					t.Errorf("%s: want %s, hit %v", x.Case, x.Want, x.Hit)
				}
			}
			for _, want := range []string{ruletest.Hit, ruletest.Miss, ruletest.NearMiss} {
				if seen[want] == 0 {
					t.Errorf("no case is a %s", want)
				}
			}
		})
		delete(all, r.ID)
	}
	for id := range all {
		t.Errorf("cases of %s, which is no rule", id)
	}
}
