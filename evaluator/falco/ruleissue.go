package falco

import (
	"errors"
	"fmt"
	"strings"

	"github.com/gyre-sec/gyre/evaluator/falco/filter"
	"github.com/gyre-sec/gyre/evaluator/falco/output"
	"github.com/gyre-sec/gyre/evaluator/falco/translate"
)

// output checks the output of a rule; skip tells that the rule is left out because of it.
func (c *compiler) output(r *Rule, x *ruleItem) (skip bool, fail *failure) {
	tpl, err := output.Parse(r.Output)
	r.MissingOutput = tpl.Missing()
	if err == nil {
		for _, f := range deprecatedFields {
			if strings.Contains(r.Output, f) {
				w := x.outCtx.fail(WarnDeprecated, "usage of deprecated field '%s' has been detected in the rule output", f).issue()
				w.DeprecatedField = f
				c.res.Warnings = append(c.res.Warnings, w)
			}
		}
		return false, nil
	}
	offset := 0
	if at, ok := errors.AsType[*output.Error](err); ok {
		offset = at.Offset
	}
	code := ErrCompileOutput
	if errors.Is(err, translate.ErrUnknown) && x.skipUnknown {
		c.warn(x.outCtx.fail(WarnUnknownFilter, "%v", err))
		return true, nil
	}
	f := x.outCtx.within(x.output.trimmed(), offset, code, err.Error())
	return false, f
}

// conditionError reports why a condition cannot be translated; nil if the rule may be skipped for it.
func (c *compiler) conditionError(err error, t text, x *ruleItem) *failure {
	var at *translate.Error
	offset := 0
	if errors.As(err, &at) {
		offset = at.Pos.Offset
	}
	ctx, where := x.condCtx, t
	var inner *macroError
	msg := err.Error()
	for errors.As(err, &inner) { // the innermost macro has the defect
		err, where, ctx = inner.err, inner.macro.text, inner.macro.item.condCtx
		if errors.As(err, &at) {
			offset = at.Pos.Offset
		}
	}
	if ctx != x.condCtx {
		msg = fmt.Sprintf("%s (in a macro of rule %s)", msg, x.name)
	}
	f := ctx.within(where, offset, ErrCompileCondition, msg)
	if errors.Is(err, translate.ErrUnknown) && x.skipUnknown {
		f.code = WarnUnknownFilter
		c.warn(f)
		return nil
	}
	return f
}

// notInGyre warns of what the rule names and gyre does not have.
func (c *compiler) notInGyre(r *Rule, x *ruleItem) {
	for _, f := range r.CEL.Missing {
		c.warn(x.ctx.fail(WarnNotInGyre, "gyre does not have %s, the condition sees it as never there: %s", f, translate.Reason(f)))
	}
	if len(r.CEL.Unseen) > 0 {
		c.warn(x.ctx.fail(WarnNotInGyre, "the collector does not report %s events", strings.Join(r.CEL.Unseen, ", ")))
	}
	for _, f := range r.MissingOutput {
		c.warn(x.ctx.fail(WarnNotInGyre, "gyre does not have %s, the output shows <NA>: %s", f, translate.Reason(f)))
	}
	if r.CEL.Const == translate.AlwaysFalse && len(r.CEL.Missing)+len(r.CEL.Unseen) > 0 {
		c.warn(x.ctx.fail(WarnNotInGyre, "the rule can never match here and is left out"))
	}
}

// Expanded is the condition of a rule with its macros put in.
func (l *Loader) Expanded(r *Rule) filter.Expr {
	var expand func(e filter.Expr) filter.Expr
	all := func(parts []filter.Expr) []filter.Expr {
		out := make([]filter.Expr, len(parts))
		for i, p := range parts {
			out[i] = expand(p)
		}
		return out
	}
	expand = func(e filter.Expr) filter.Expr {
		switch x := e.(type) {
		case *filter.And:
			return &filter.And{Parts: all(x.Parts), At: x.At}
		case *filter.Or:
			return &filter.Or{Parts: all(x.Parts), At: x.At}
		case *filter.Not:
			return &filter.Not{Part: expand(x.Part), At: x.At}
		case *filter.Macro:
			return expand(l.last.macros[x.Name].expr)
		}
		return e
	}
	return expand(r.Condition)
}
