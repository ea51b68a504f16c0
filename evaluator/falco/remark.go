package falco

import (
	"slices"
	"strings"

	"github.com/gyre-sec/gyre/evaluator/falco/filter"
)

// deprecatedFields are those that Falco warns of.
var deprecatedFields = []string{"evt.dir", "evt.latency", "evt.latency.s", "evt.latency.ns", "evt.latency.human", "evt.wait_latency"}

var equality = []string{"=", "==", "!=", "in", "intersects", "pmatch"}

// remarks warns of fields that are out of date and of comparisons with <NA>, also within the
// macros that a condition names.
func (c *compiler) remarks(e filter.Expr, t text, x *ruleItem) {
	var fields []string
	unsafe, seen := false, map[string]bool{}
	var look func(filter.Expr)
	look = func(e filter.Expr) {
		filter.Walk(e, func(e filter.Expr) {
			switch y := e.(type) {
			case *filter.Macro:
				if !seen[y.Name] {
					seen[y.Name] = true
					look(c.macros[y.Name].expr)
				}
			case *filter.Check:
				f, ok := y.Left.(*filter.Field)
				if !ok {
					return
				}
				if slices.Contains(deprecatedFields, f.Name) && !slices.Contains(fields, f.Name) {
					fields = append(fields, f.Name)
				}
				if strings.HasPrefix(f.Name, "ka.") || strings.HasPrefix(f.Name, "jevt.") {
					unsafe = unsafe || slices.Contains(equality, y.Op) && slices.Contains(literals(y.Right), "<NA>")
				}
			}
		})
	}
	look(e)
	slices.Sort(fields)
	for _, f := range fields {
		msg := "the field " + f + " is never there, as the beginnings of calls are not reported"
		if f == "evt.dir" {
			msg = "'evt.dir = <' always holds and 'evt.dir = >' never does: leave it out"
		}
		w := x.condCtx.within(t, 0, WarnDeprecated, msg).issue()
		w.DeprecatedField = f
		c.res.Warnings = append(c.res.Warnings, w)
	}
	if unsafe {
		c.warn(x.condCtx.within(t, 0, WarnUnsafeNACheck, ""))
	}
}
