package daemon

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// Variant is a group with further keys that depend on one of its own, such as the outputs of a list, each with the
// settings of its type. The group has a field `yaml:",variant=KEY"` of an interface type, which holds a pointer to the
// struct with those settings, and a string field with the name KEY that chooses it.
type Variant interface {
	// NewVariant returns a pointer to the settings of a kind with their defaults, nil if there is no such kind.
	NewVariant(kind string) any
	// VariantKinds lists the kinds.
	VariantKinds() []string
}

// variantField finds the field of a group that holds the settings, and the key that chooses them.
func variantField(t reflect.Type) (index int, key string, ok bool) {
	for i := range t.NumField() {
		_, opts, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
		if key, ok = strings.CutPrefix(opts, "variant="); ok {
			return i, key, true
		}
	}
	return 0, "", false
}

// place is a key and where its value goes.
type place struct {
	field
	target reflect.Value
}

// placesOf lists the keys of a group, those of its variant included.
func placesOf(v reflect.Value) []place {
	var list []place
	for _, f := range fieldsOf(v.Type()) {
		list = append(list, place{f, v.FieldByIndex(f.index)})
	}
	if i, _, ok := variantField(v.Type()); ok && !v.Field(i).IsNil() {
		list = append(list, placesOf(v.Field(i).Elem().Elem())...)
	}
	return list
}

// chooseVariant makes the settings that the entries ask for. It says whether the rest of the group can be read.
func (l *loader) chooseVariant(n ast.Node, entries []entry, v reflect.Value, path string) bool {
	index, key, ok := variantField(v.Type())
	if !ok {
		return true
	}
	group, ok := reflect.TypeAssert[Variant](v.Addr())
	if !ok {
		l.addAt(n.GetToken(), path, fmt.Sprintf("%s has a variant and no method NewVariant", v.Type()), "this is a defect of the program")
		return false
	}
	for _, e := range entries {
		if e.key != key {
			continue
		}
		kind, _ := scalarText(e.value, reflect.TypeFor[string]())
		settings := group.NewVariant(kind)
		if settings == nil {
			l.addAt(e.value.GetToken(), join(path, key), fmt.Sprintf("unknown %s %q", key, kind), suggest(kind, group.VariantKinds(), key))
			return false
		}
		if err := checkType(reflect.TypeOf(settings).Elem(), path); err != nil {
			l.addAt(e.value.GetToken(), join(path, key), err.Error(), "this is a defect of the program")
			return false
		}
		v.Field(index).Set(reflect.ValueOf(settings))
		return true
	}
	l.addAt(n.GetToken(), path, "no "+key, suggest("", group.VariantKinds(), key))
	return false
}
