package ruleset

import (
	"slices"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"

	"github.com/gyre-sec/gyre/evaluator/rule"
)

// exception is an exception with the file that it stands in, which may be another than the rule's.
type exception struct {
	rule.Exception
	file    string
	ast     *cel.Ast
	program cel.Program
}

// Except lists the exceptions of the rule and of overrides of it.
func (r *Rule) Except() []rule.Exception {
	out := make([]rule.Exception, len(r.except))
	for i, x := range r.except {
		out[i] = x.Exception
	}
	return out
}

func exceptionsOf(list []rule.Exception, file string) []exception {
	out := make([]exception, len(list))
	for i, x := range list {
		out[i] = exception{Exception: x, file: file}
	}
	return out
}

// override applies the overrides of files, which are in the order of their layers, to the merged rules.
func (c *compiler) override(files []rule.File) {
	for _, f := range files {
		for _, o := range f.Overrides {
			d := c.rules[o.Rule.Value]
			if d == nil {
				c.fail(f.Name, o.Rule.Pos, "gyre rules list lists the rules", "there is no rule %s to override", o.Rule.Value)
				continue
			}
			if o.Enabled != nil {
				d.Enabled = *o.Enabled
			}
			if o.Priority != nil {
				d.Priority = *o.Priority
			}
			if o.Throttle != nil {
				d.Throttle, d.throttleFile = o.Throttle, f.Name
			}
			d.Tags = append(slices.Clone(d.Tags), o.Tags...)
			for _, x := range exceptionsOf(o.Exceptions, f.Name) {
				if i := slices.IndexFunc(d.except, func(old exception) bool { return old.Name == x.Name }); i >= 0 {
					d.except[i] = x
				} else {
					d.except = append(d.except, x)
				}
			}
		}
	}
}

// exceptions compiles those of a rule.
func (c *compiler) exceptions(d *defined) []exception {
	out := slices.Clone(d.except)
	for i := range out {
		x := &out[i]
		a, errs := c.env.Compile(x.file, x.Condition)
		c.errs = append(c.errs, errs...)
		if a == nil {
			continue
		}
		c.parts(x.file, x.Condition, a)
		p, err := c.env.Program(a)
		if err != nil {
			c.fail(x.file, x.Condition.Pos, "", "%v", err)
			continue
		}
		x.ast, x.program = a, p
	}
	return out
}

// interpret evaluates a rule by its cel-go programs: its condition && !exception && ...
func (r *Rule) interpret(s *scope) (bool, error) {
	out, _, err := r.program.Eval(s)
	if err == nil && out != types.True {
		return false, nil
	}
	for i := range r.except {
		out, _, failed := r.except[i].program.Eval(s)
		if failed == nil && out == types.True {
			return false, nil
		}
		if failed != nil {
			err = failed
		}
	}
	return err == nil, err
}

func (r *Rule) exceptExprs() []ast.Expr {
	out := make([]ast.Expr, len(r.except))
	for i := range r.except {
		out[i] = r.except[i].ast.NativeRep().Expr()
	}
	return out
}
