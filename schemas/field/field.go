// Package field is the catalogue of fields: one table that says which names a rule,
// an output or a query can use, their types, what they mean and how to read them
// from an event. Rule validation, the JSON of events and alerts, `gyre fields` and
// the documentation are all made from it.
//
// Names are Falco's where Falco has the field. A field that an event does not have is absent.
package field

import (
	"slices"
	"sort"

	"github.com/gyre-sec/gyre/schemas/eventv1"
)

// Type is the type of a field's value; CEL knows them as string, int, bool and list(string).
type Type uint8

// The types.
const (
	String Type = iota
	Int
	Bool
	List
)

// String returns the CEL name of the type.
func (t Type) String() string {
	switch t {
	case Int:
		return "int"
	case Bool:
		return "bool"
	case List:
		return "list(string)"
	default:
		return "string"
	}
}

// AbsentInt is what an absent number reads as in a rule. It is not 0, which is root's user id.
const AbsentInt = -1

// Where a field comes from.
const (
	FromEvent     = "event"
	FromProcess   = "process"
	FromUser      = "user"
	FromContainer = "container"
	FromNode      = "node"
	FromIntel     = "intel"
)

// Field is a row of the catalogue. Exactly one accessor is set, the one of its
// type; it returns false when the event does not have the field.
type Field struct {
	Name string
	Type Type
	Doc  string
	// From names the table that the value comes from: event, process, user, container, node or intel.
	From string
	// Kinds are the kinds that can have the field; nil means all.
	Kinds []eventv1.Kind
	Str   func(*View) (string, bool)
	Int   func(*View) (int64, bool)
	Bool  func(*View) (bool, bool)
	// List returns memory of the view, which is valid until the field is read for another event.
	List func(*View) ([]string, bool)
}

// Value reads the field: nil if it is absent, else a string, int64, bool or []string.
func (f *Field) Value(v *View) any {
	switch f.Type {
	case Int:
		if x, ok := f.Int(v); ok {
			return x
		}
	case Bool:
		if x, ok := f.Bool(v); ok {
			return x
		}
	case List:
		if x, ok := f.List(v); ok {
			return slices.Clone(x)
		}
	default:
		if x, ok := f.Str(v); ok {
			return x
		}
	}
	return nil
}

// Has tells whether events of kind k can have the field.
func (f *Field) Has(k eventv1.Kind) bool {
	if f.Kinds == nil {
		return true
	}
	return slices.Contains(f.Kinds, k)
}

// catalogue is the table in the order of documentation, and by name. It is built once and never changes.
var catalogue, byName = build()

func build() ([]*Field, map[string]*Field) {
	var all []*Field
	for _, part := range [][]Field{evtFields(), argFields(), procFields(), ancestorFields(), fdFields(), netAddrFields(), userFields(), containerFields(), moreContainerFields(), podFields(), nodeFields(), intelFields()} {
		for i := range part {
			all = append(all, &part[i])
		}
	}
	names := make(map[string]*Field, len(all))
	for _, f := range all {
		names[f.Name] = f
	}
	return all, names
}

// All returns every field in the order of the documentation. The slice and what it points to must not be changed.
func All() []*Field { return catalogue }

// Lookup finds a field by its name.
func Lookup(name string) (*Field, bool) {
	f, ok := byName[name]
	return f, ok
}

// Names returns all names, sorted.
func Names() []string {
	n := make([]string, 0, len(catalogue))
	for _, f := range catalogue {
		n = append(n, f.Name)
	}
	sort.Strings(n)
	return n
}

// The constructors keep the tables readable.

func str(name, from, doc string, get func(*View) (string, bool)) Field {
	return Field{Name: name, Type: String, From: from, Doc: doc, Str: get}
}

func num(name, from, doc string, get func(*View) (int64, bool)) Field {
	return Field{Name: name, Type: Int, From: from, Doc: doc, Int: get}
}

func boolean(name, from, doc string, get func(*View) (bool, bool)) Field {
	return Field{Name: name, Type: Bool, From: from, Doc: doc, Bool: get}
}

func list(name, from, doc string, get func(*View) ([]string, bool)) Field {
	return Field{Name: name, Type: List, From: from, Doc: doc, List: get}
}

func (f Field) only(kinds ...eventv1.Kind) Field {
	f.Kinds = kinds
	return f
}

// kindsWhere lists the kinds for which is holds.
func kindsWhere(is func(eventv1.Kind) bool) []eventv1.Kind {
	var out []eventv1.Kind
	for _, k := range eventv1.Kinds() {
		if is(k) {
			out = append(out, k)
		}
	}
	return out
}
