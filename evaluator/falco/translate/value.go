package translate

import (
	"github.com/gyre-sec/gyre/evaluator/falco/vocab"
	"github.com/gyre-sec/gyre/schemas/field"
)

// value is the left or right side of a check in CEL.
type value struct {
	// name is how Falco spells it, for messages.
	name string
	typ  vocab.Type
	// list tells that Falco sees a list.
	list bool
	// text is the CEL expression, an atom of type cel.
	text string
	cel  field.Type
	// guards hold when the value is there. Without them the expression must not be relied on;
	// if plain is set it then reads as "", -1, false or [].
	guards []cond
	plain  bool
	// absent: the value is never there.
	absent bool
	// each: text is a list and a check holds if it does for one element, as for proc.aname without an index.
	each bool
	// ends are the two values of which fd.ip and its like stand for either.
	ends []value
	// cases are values for some event types each, as for evt.arg[1].
	cases []eventCase
	// constant is set for a value that is known beforehand.
	constant *string
	// noRight and noTransform repeat the field's flags.
	noRight, noTransform bool
	// conditionOnly repeats the field's flag.
	network bool
}

type eventCase struct {
	types []string
	value value
}

// there is the condition that the value is there.
func (v value) there() cond {
	switch {
	case v.absent:
		return alwaysFalse
	case v.constant != nil:
		return alwaysTrue
	case v.ends != nil:
		return or(v.ends[0].there(), v.ends[1].there())
	case v.cases != nil:
		return v.eachCase(func(c value) (cond, error) { return c.there(), nil })
	}
	return and(v.guards...)
}

func (v value) eachCase(check func(value) (cond, error)) cond {
	var parts []cond
	for _, c := range v.cases {
		b, err := check(c.value)
		if err != nil {
			continue // this form of the argument cannot be compared so
		}
		parts = append(parts, and(typeIn(c.types), b))
	}
	return or(parts...)
}

func typeIn(types []string) cond {
	if len(types) == 1 {
		return relate("evt.type", "==", quote(types[0]))
	}
	return relate("evt.type", "in", quoteAll(types))
}

// guarded adds the guards to a check; an absent plain value satisfies the check only if hazard is set.
func (v value) guarded(c cond, hazard bool) cond {
	if v.plain && !hazard {
		return c
	}
	return and(append(append([]cond{}, v.guards...), c)...)
}

// alwaysThere are fields of the catalogue that every event has, so that no guard is needed.
var alwaysThere = map[string]bool{
	"evt.num": true, "evt.rawtime": true, "evt.time": true, "evt.time.iso8601": true, "evt.type": true, "evt.dir": true, "evt.cpu": true,
	"evt.res": true, "evt.rawres": true, "evt.failed": true, "evt.is_io_uring": true, "thread.tid": true,
}

// catalogued is the value of a field of the catalogue.
func catalogued(f *field.Field, name string, typ vocab.Type) value {
	v := value{name: name, typ: typ, text: f.Name, cel: f.Type, plain: true}
	if !alwaysThere[f.Name] {
		v.guards = []cond{{"has(" + f.Name + ")", atom}}
	}
	return v
}

func constant(name, text string, typ vocab.Type) value {
	return value{name: name, typ: typ, constant: &text, text: quote(text), cel: field.String, plain: true}
}
