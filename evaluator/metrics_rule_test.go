package evaluator

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/gyre-sec/gyre/evaluator/rule"
	"github.com/gyre-sec/gyre/evaluator/ruleset"
)

// TestRuleMetrics: what rules saw is there to be scraped, and how many could not be compiled.
func TestRuleMetrics(t *testing.T) {
	var files []rule.File
	for id, condition := range map[string]string{"a": `evt.type == "execve"`, "b": `timestamp(evt.time.iso8601).getFullYear() == 1999`} {
		f, err := rule.Parse(id, []byte("rules:\n  - {id: "+id+", name: N, condition: '"+condition+"', output: x, priority: error}\n"))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	set, err := ruleset.Compile(files, ruleset.Options{})
	if err != nil {
		t.Fatal(err)
	}
	m := newRuleMetrics()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(m)
	if n, err := testutil.GatherAndCount(reg); err != nil || n != 0 {
		t.Errorf("%d metrics before rules are loaded, %v", n, err)
	}
	m.set.Store(set)
	w := newGeneration(set, "test", newThrottle(1), false, nil).pool.Get().(*work)
	for range 3 {
		if err := w.run(execBatch(t, "x")); err != nil {
			t.Fatal(err)
		}
	}
	want := `
# HELP gyre_evaluator_rule_evaluated_total Events for which the rule was decided: those of its kinds.
# TYPE gyre_evaluator_rule_evaluated_total counter
gyre_evaluator_rule_evaluated_total{rule="a"} 3
gyre_evaluator_rule_evaluated_total{rule="b"} 3
# HELP gyre_evaluator_rule_matched_total Events that satisfied the rule's condition.
# TYPE gyre_evaluator_rule_matched_total counter
gyre_evaluator_rule_matched_total{rule="a"} 3
gyre_evaluator_rule_matched_total{rule="b"} 0
# HELP gyre_evaluator_rules_interpreted Rules whose conditions cannot be compiled and run on their cel-go programs.
# TYPE gyre_evaluator_rules_interpreted gauge
gyre_evaluator_rules_interpreted 1
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "gyre_evaluator_rule_evaluated_total", "gyre_evaluator_rule_matched_total", "gyre_evaluator_rules_interpreted"); err != nil {
		t.Error(err)
	}
}
