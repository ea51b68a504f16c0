package translate

import "github.com/gyre-sec/gyre/evaluator/falco/filter"

// types compares evt.type with names. Those that the collector does not report are left
// out: no event satisfies them. A name that Falco does not know is an error.
func (t *translator) types(v value, op, mod string, values []string) (cond, error) {
	equal := op == "=" || op == "in" || op == "intersects"
	if !equal && op != "!=" {
		if mod != "" {
			return t.modified(v, op, mod, values)
		}
		return t.plainCheck(v, op, values)
	}
	if len(values) == 1 { // one of one is all of it
		mod = ""
	}
	var kept []string
	for _, name := range values {
		seen, err := knownType(name)
		if err != nil {
			return cond{}, err
		}
		if seen {
			kept = append(kept, name)
		} else {
			note(&t.unseen, name)
		}
	}
	all := len(kept) == len(values)
	switch {
	case len(values) == 0:
		return alwaysFalse, nil
	case equal && mod == filter.AllOf:
		if !all {
			return alwaysFalse, nil
		}
		return t.modified(v, "=", mod, kept)
	case equal && mod == filter.OneOf:
		return t.modified(v, "=", mod, kept)
	case equal:
		return t.member(v, kept), nil
	case mod == filter.AllOf:
		return and(v.there(), not(t.member(v, kept))), nil
	case mod == "" && all, mod == filter.AnyOf && all:
		return t.modified(v, "!=", filter.AnyOf, kept)
	case mod == filter.OneOf:
		return t.modified(v, "!=", mod, values)
	default: // an event is not of a type that is never reported
		return v.there(), nil
	}
}
