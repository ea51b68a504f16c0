package ruleset

import (
	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"

	"github.com/gyre-sec/gyre/evaluator/celenv"
	"github.com/gyre-sec/gyre/evaluator/rule"
	"github.com/gyre-sec/gyre/schemas/field"
)

// Filter is a single condition, without lists and macros. It is not safe for concurrent use.
type Filter struct {
	program cel.Program
	scope   *scope
}

// NewFilter compiles a condition; errors are [rule.Errors] with places within the text.
func NewFilter(condition string) (*Filter, error) {
	env, err := celenv.New(nil, nil)
	if err != nil {
		return nil, err
	}
	a, errs := env.Compile("filter", rule.Plain(condition))
	if len(errs) > 0 {
		return nil, errs
	}
	p, err := env.Program(a)
	if err != nil {
		return nil, err
	}
	return &Filter{p, newScope(newSlots(), nil)}, nil
}

// Match tells whether the event that v reads satisfies the condition.
func (f *Filter) Match(v *field.View) (bool, error) {
	f.scope.next(v)
	out, _, err := f.program.Eval(f.scope)
	return out == types.True, err
}
