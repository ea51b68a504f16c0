package output

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/gyre-sec/gyre/evaluator/celenv"
	"github.com/gyre-sec/gyre/evaluator/falco/filter"
	"github.com/gyre-sec/gyre/evaluator/falco/translate"
	"github.com/gyre-sec/gyre/evaluator/falco/vocab"
	"github.com/gyre-sec/gyre/schemas/field"
)

// element is a field or a transformer of a template.
type element struct {
	field *field.Field
	// names are the fields in it, for the list of an alert's fields.
	names   []*field.Field
	missing []string
	list    bool
}

// getter reads text from an event, false if it is not there.
type getter func(*field.View) (string, bool)

func compile(o filter.Operand) (element, error) {
	if _, literal := o.(*filter.Text); !literal { // the translation to CEL checks names, types and arguments as Falco does
		if _, err := translate.Parse(o.String()+" exists", translate.Scope{}); err != nil {
			return element{}, err
		}
	}
	switch x := o.(type) {
	case *filter.Field:
		return named(x)
	case *filter.Call:
		return call(x)
	case *filter.Text:
		value := x.Value
		return element{field: synthetic(value, func(*field.View) (string, bool) { return value, true })}, nil
	default:
		return element{}, fmt.Errorf("%s cannot be part of an output", o)
	}
}

func synthetic(name string, get getter) *field.Field {
	return &field.Field{Name: name, Type: field.String, Str: get}
}

func named(x *filter.Field) (element, error) {
	u, err := vocab.Resolve(x.Name, x.Arg, x.HasArg)
	if err != nil {
		return element{}, err
	}
	if u.ConditionOnly {
		return element{}, fmt.Errorf("field %s is for conditions only", x.Name)
	}
	e := element{list: u.List}
	e.field = find(u, x.String())
	if e.field == nil {
		e.field = synthetic(x.String(), func(*field.View) (string, bool) { return "", false })
		missing, err := translate.Absent(x.Name, x.Arg, x.HasArg)
		if err != nil {
			return element{}, err
		}
		if missing != "" {
			e.missing = []string{missing}
		}
	}
	e.names = []*field.Field{e.field}
	return e, nil
}

// find returns a field under Falco's name of it, nil if gyre has none.
func find(u vocab.Use, name string) *field.Field {
	if u.HasArg && (u.Name == "evt.arg" || u.Name == "evt.rawarg") {
		if n, ok := u.Position(); ok {
			return argumentAt(n, name)
		}
		if user, ok := field.Lookup(u.Name + "." + u.Arg + ".name"); ok {
			return renamed(user, name, u.Type)
		}
		if f, ok := field.Lookup(u.Name + "." + u.Arg); ok {
			return renamed(f, name, u.Type)
		}
		f, ok := field.Lookup("evt.arg." + u.Arg)
		if !ok {
			return nil
		}
		return renamed(f, name, u.Type)
	}
	if u.Name == "evt.count" {
		return synthetic(name, func(*field.View) (string, bool) { return "1", true })
	}
	if !u.HasArg {
		f, ok := field.Lookup(translate.Alias(u.Name))
		if !ok {
			return nil
		}
		return renamed(f, name, u.Type)
	}
	f, ok := field.Lookup(u.Name)
	if !ok || f.Type != field.List {
		if f, ok := field.Lookup(u.Name + "." + u.Arg); ok {
			return renamed(f, name, u.Type)
		}
		return nil
	}
	if n, ok := u.Position(); ok {
		return synthetic(name, func(v *field.View) (string, bool) {
			l, ok := f.List(v)
			if !ok || n >= len(l) {
				return "", false
			}
			return l[n], true
		})
	}
	return synthetic(name, func(v *field.View) (string, bool) {
		l, _ := f.List(v)
		return celenv.ValueOf(l, u.Arg)
	})
}

// renamed is f as Falco has it: under another name, and as text where Falco's value is text.
func renamed(f *field.Field, name string, typ vocab.Type) *field.Field {
	isText := typ.Group() == vocab.Text
	switch {
	case isText && f.Type == field.Int:
		return synthetic(name, func(v *field.View) (string, bool) {
			n, ok := f.Int(v)
			return strconv.FormatInt(n, 10), ok
		})
	case isText && f.Type == field.List:
		return synthetic(name, func(v *field.View) (string, bool) {
			l, ok := f.List(v)
			return strings.Join(l, " "), ok
		})
	case f.Name == name:
		return f
	}
	c := *f
	c.Name = name
	return &c
}

// argumentAt is evt.arg[n], which has another name in each event type.
func argumentAt(n int, name string) *field.Field {
	byType := map[string]*field.Field{}
	for param, types := range vocab.ParamsAt(n) {
		if f, ok := field.Lookup("evt.arg." + param); ok {
			for _, t := range types {
				byType[t] = renamed(f, name, vocab.String)
			}
		}
	}
	if len(byType) == 0 {
		return nil
	}
	return synthetic(name, func(v *field.View) (string, bool) {
		_, e := v.Current()
		f := byType[e.Kind.String()]
		if f == nil {
			return "", false
		}
		return f.Str(v)
	})
}

// call is a transformer.
func call(c *filter.Call) (element, error) {
	if !slices.Contains([]string{"tolower", "toupper", "b64", "basename", "len", "join", "concat"}, c.Name) {
		return element{}, fmt.Errorf("%s() cannot be part of an output", c.Name)
	}
	out := element{}
	var args []getter
	for _, a := range c.Args {
		items := []filter.Operand{a}
		if l, ok := a.(*filter.List); ok {
			items = l.Items
		}
		for _, item := range items {
			e, err := compile(item)
			if err != nil {
				return element{}, err
			}
			out.names = append(out.names, e.names...)
			out.missing = append(out.missing, e.missing...)
			args = append(args, textOf(e.field))
		}
	}
	out.field = synthetic(c.String(), transformer(c.Name, args))
	if c.Name == "len" && out.names != nil && out.names[0].Type == field.List {
		list := out.names[0]
		out.field = synthetic(c.String(), func(v *field.View) (string, bool) {
			l, ok := list.List(v)
			return strconv.Itoa(len(l)), ok
		})
	}
	return out, nil
}

func textOf(f *field.Field) getter {
	return func(v *field.View) (string, bool) {
		x := f.Value(v)
		return text(x), x != nil
	}
}

func transformer(name string, args []getter) getter {
	return func(v *field.View) (string, bool) {
		values := make([]string, len(args))
		for i, get := range args {
			s, ok := get(v)
			if !ok {
				return "", false
			}
			values[i] = s
		}
		switch name {
		case "tolower":
			return celenv.LowerASCII(values[0]), true
		case "toupper":
			return celenv.UpperASCII(values[0]), true
		case "basename":
			return celenv.Basename(values[0]), true
		case "len":
			return strconv.Itoa(len(values[0])), true
		case "b64":
			return celenv.DecodeBase64(values[0]), celenv.IsBase64(values[0])
		case "join":
			return strings.Join(values[1:], values[0]), true
		default:
			return strings.Join(values, ""), true
		}
	}
}
