package backtest

import (
	"github.com/gyre-sec/gyre/evaluator/rule"
	"github.com/gyre-sec/gyre/evaluator/ruleset"
)

// Condition makes a CEL condition the [Config.Where] of a replay. Errors are [rule.Errors] with places within the text.
func Condition(text string) (*ruleset.Set, error) {
	f := rule.File{Name: "where", Rules: []rule.Rule{{
		ID: "where", Name: "where", Source: "syscall", Enabled: true, Condition: rule.Plain(text), Output: rule.Plain("selected"),
	}}}
	return ruleset.Compile([]rule.File{f}, ruleset.Options{SampleEvery: -1})
}
