package daemon

import (
	"encoding"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

var (
	secretType   = reflect.TypeFor[Secret]()
	durationType = reflect.TypeFor[time.Duration]()
	textType     = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// field is one key of a section or of a group in it.
type field struct {
	name  string
	doc   string
	index []int
	typ   reflect.Type
}

// fieldsOf lists the keys of a struct in the order of its fields.
func fieldsOf(t reflect.Type) []field {
	var list []field
	for i := range t.NumField() {
		f := t.Field(i)
		name, opts, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if !f.IsExported() || name == "-" || strings.HasPrefix(opts, "variant=") {
			continue
		}
		if f.Type.Kind() == reflect.Struct && strings.Contains(opts, "inline") {
			for _, in := range fieldsOf(f.Type) {
				in.index = append([]int{i}, in.index...)
				list = append(list, in)
			}
			continue
		}
		if name == "" {
			name = strings.ToLower(f.Name)
		}
		list = append(list, field{name: name, doc: f.Tag.Get("doc"), index: []int{i}, typ: f.Type})
	}
	return list
}

// isText says whether a type reads its own text form.
func isText(t reflect.Type) bool { return reflect.PointerTo(t).Implements(textType) }

// isGroup says whether a type is a struct with keys of its own.
func isGroup(t reflect.Type) bool { return t.Kind() == reflect.Struct && t != secretType && !isText(t) }

// checkType finds fields that no configuration can fill: a defect of the program, found by its first test.
func checkType(t reflect.Type, path string, above ...reflect.Type) error {
	switch {
	case slices.Contains(above, t): // a group may hold a list of its own kind
		return nil
	case t == secretType, t == durationType, isText(t):
		return nil
	case isGroup(t):
		for _, f := range fieldsOf(t) {
			if err := checkType(f.typ, path+"."+f.name, append(above, t)...); err != nil {
				return err
			}
		}
		return nil
	case t.Kind() == reflect.Slice && t.Elem() != secretType:
		return checkType(t.Elem(), path+"[]", above...)
	case t.Kind() == reflect.Map && t.Key().Kind() == reflect.String:
		return checkType(t.Elem(), path+".*", above...)
	case t.Kind() >= reflect.Bool && t.Kind() <= reflect.Float64 && t.Kind() != reflect.Uintptr, t.Kind() == reflect.String:
		return nil
	}
	return fmt.Errorf("load setting %s: type %s is not supported", path, t)
}

// setting is a key that holds a value, not a group.
type setting struct {
	path  string
	value reflect.Value
}

// settingsOf lists the settings below v.
func settingsOf(path string, v reflect.Value) []setting {
	if !isGroup(v.Type()) {
		return []setting{{path, v}}
	}
	var list []setting
	for _, f := range fieldsOf(v.Type()) {
		list = append(list, settingsOf(path+"."+f.name, v.FieldByIndex(f.index))...)
	}
	return list
}

// setScalar parses text as the type of v.
func setScalar(v reflect.Value, text string) error {
	if v.Type() == durationType {
		d, err := time.ParseDuration(text)
		if err != nil {
			return fmt.Errorf("want a duration such as 500ms, 10s or 1h30m, got %q", text)
		}
		v.SetInt(int64(d))
		return nil
	}
	if u, ok := reflect.TypeAssert[encoding.TextUnmarshaler](v.Addr()); ok {
		return u.UnmarshalText([]byte(text))
	}
	var err error
	switch k := v.Kind(); {
	case k == reflect.String:
		v.SetString(text)
	case k == reflect.Bool:
		switch text {
		case "true", "false":
			v.SetBool(text == "true")
		default:
			return fmt.Errorf("want true or false, got %q", text)
		}
	case v.CanInt():
		var n int64
		if n, err = strconv.ParseInt(text, 10, v.Type().Bits()); err == nil {
			v.SetInt(n)
		}
	case v.CanUint():
		var n uint64
		if n, err = strconv.ParseUint(text, 10, v.Type().Bits()); err == nil {
			v.SetUint(n)
		}
	case v.CanFloat():
		var n float64
		if n, err = strconv.ParseFloat(text, v.Type().Bits()); err == nil {
			v.SetFloat(n)
		}
	default:
		return fmt.Errorf("want %s, got text", wanted(v.Type()))
	}
	if errors.Is(err, strconv.ErrRange) {
		return fmt.Errorf("%s is out of range for %s", text, wanted(v.Type()))
	}
	if err != nil {
		return fmt.Errorf("want %s, got %q", wanted(v.Type()), text)
	}
	return nil
}

// setText parses a value from outside the file: a list is a,b,c and a map is k=v,k=v.
func setText(v reflect.Value, text string) error {
	t := v.Type()
	if isText(t) || t == durationType || t.Kind() != reflect.Slice && t.Kind() != reflect.Map && t.Kind() != reflect.Struct {
		return setScalar(v, text)
	}
	if t.Kind() == reflect.Struct || !isScalar(t.Elem()) {
		return fmt.Errorf("is %s: set it in the file, or one key below it", wanted(t))
	}
	v.SetZero()
	if text == "" {
		return nil
	}
	for item := range strings.SplitSeq(text, ",") {
		item = strings.TrimSpace(item)
		if t.Kind() == reflect.Slice {
			e := reflect.New(t.Elem()).Elem()
			if err := setScalar(e, item); err != nil {
				return err
			}
			v.Set(reflect.Append(v, e))
			continue
		}
		key, value, ok := strings.Cut(item, "=")
		if !ok {
			return fmt.Errorf("want key=value,key=value, got %q", item)
		}
		if err := setMapEntry(v, strings.TrimSpace(key), strings.TrimSpace(value)); err != nil {
			return err
		}
	}
	return nil
}

// setMapEntry replaces the map in v by one with another entry, so that the default is not written to.
func setMapEntry(v reflect.Value, key, text string) *ConfigError {
	t := v.Type()
	e := reflect.New(t.Elem()).Elem()
	switch {
	case t.Elem() == secretType && strings.HasSuffix(key, "_file"):
		key = strings.TrimSuffix(key, "_file")
		e.Set(reflect.ValueOf(SecretFile(text)))
	case !isScalar(t.Elem()):
		return &ConfigError{Msg: "cannot be set from outside the file", Hint: "set it in the file"}
	default:
		if err := setScalar(e, text); err != nil {
			return &ConfigError{Msg: err.Error(), Hint: "correct the value", Err: err}
		}
	}
	m := reflect.MakeMap(t)
	for _, k := range v.MapKeys() {
		m.SetMapIndex(k, v.MapIndex(k))
	}
	m.SetMapIndex(reflect.ValueOf(key).Convert(t.Key()), e)
	v.Set(m)
	return nil
}

// isScalar says whether a type is one value, and not a secret.
func isScalar(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Struct, reflect.Slice, reflect.Map, reflect.Array:
		return isText(t)
	}
	return true
}

// wanted describes a type for a person.
func wanted(t reflect.Type) string {
	switch {
	case t == durationType:
		return "a duration such as 500ms, 10s or 1h30m"
	case t == reflect.TypeFor[Bytes]():
		return "a size such as 64MiB"
	case isText(t):
		return "text"
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a whole number that is not negative"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return "a whole number"
	case reflect.Slice:
		return "a list"
	case reflect.Map, reflect.Struct:
		return "a group of keys"
	default:
		return "text"
	}
}

// sortedKeys returns the keys of a map with string keys.
func sortedKeys(v reflect.Value) []string {
	keys := map[string]bool{}
	for _, k := range v.MapKeys() {
		keys[k.String()] = true
	}
	return slices.Sorted(maps.Keys(keys))
}
