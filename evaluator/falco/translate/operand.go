package translate

import (
	"fmt"
	"strings"

	"github.com/gyre-sec/gyre/evaluator/celenv"
	"github.com/gyre-sec/gyre/evaluator/falco/filter"
	"github.com/gyre-sec/gyre/evaluator/falco/vocab"
	"github.com/gyre-sec/gyre/schemas/field"
)

// operand translates a side of a check, or an argument of a transformer.
func (t *translator) operand(o filter.Operand) (value, error) {
	switch x := o.(type) {
	case *filter.Field:
		return t.field(x)
	case *filter.Text:
		return constant(x.Value, x.Value, vocab.String), nil
	case *filter.List:
		return t.list(x)
	default:
		return t.call(o.(*filter.Call))
	}
}

func (t *translator) field(f *filter.Field) (value, error) {
	u, err := vocab.Resolve(f.Name, f.Arg, f.HasArg)
	if err != nil {
		return value{}, t.fail(f.At, err)
	}
	if u.OutputOnly {
		return value{}, t.fail(f.At, fmt.Errorf("field %s is for outputs only", f.Name))
	}
	v := t.use(u)
	if v.absent && !notForUs[u.Name] {
		note(&t.missing, v.name)
	}
	return v, nil
}

// list is a list of operands within a transformer.
func (t *translator) list(l *filter.List) (value, error) {
	v := value{name: "list", typ: vocab.String, list: true, cel: field.List}
	texts := make([]string, len(l.Items))
	for i, item := range l.Items {
		x, err := t.operand(item)
		if err != nil {
			return v, err
		}
		if x.noTransform {
			return v, t.fail(item.Pos(), fmt.Errorf("field %s cannot be used in a transformer", x.name))
		}
		if x.list || x.typ.Group() != vocab.Text {
			return v, t.fail(item.Pos(), fmt.Errorf("an element of a list must be one string, %s is not", x.name))
		}
		x = asText(x)
		v.absent = v.absent || x.absent
		v.guards = append(v.guards, x.guards...)
		texts[i] = x.text
	}
	v.text = "[" + strings.Join(texts, ", ") + "]"
	v.plain = len(v.guards) == 0
	return v, nil
}

func (t *translator) call(c *filter.Call) (value, error) {
	args := make([]value, len(c.Args))
	for i, a := range c.Args {
		v, err := t.operand(a)
		if err != nil {
			return value{}, err
		}
		if v.noTransform && c.Name != "val" {
			return value{}, t.fail(a.Pos(), fmt.Errorf("field %s cannot be used in a transformer", v.name))
		}
		args[i] = v
	}
	v, err := transform(c, args)
	if err != nil {
		return value{}, t.fail(c.At, err)
	}
	return v, nil
}

// arity is how many arguments a transformer takes: at least and, unless it is 0, at most.
var arity = map[string][2]int{
	"val": {1, 1}, "tolower": {1, 1}, "toupper": {1, 1}, "b64": {1, 1}, "basename": {1, 1}, "len": {1, 1},
	"join": {2, 2}, "concat": {2, 0}, "getopt": {2, 2},
}

func transform(c *filter.Call, args []value) (value, error) {
	n := arity[c.Name]
	if len(args) < n[0] || n[1] > 0 && len(args) > n[1] {
		return value{}, fmt.Errorf("%s() takes %d arguments, not %d", c.Name, n[0], len(args))
	}
	if c.HasArg && c.Name != "getopt" {
		return value{}, fmt.Errorf("%s() takes no argument in brackets", c.Name)
	}
	if c.Name == "val" {
		return args[0], nil
	}
	if c.Name == "len" {
		return length(args[0])
	}
	for _, a := range args {
		if g := a.typ.Group(); g != vocab.Text && (c.Name != "b64" && c.Name != "tolower" && c.Name != "toupper" || g != vocab.Buffer) {
			return value{}, fmt.Errorf("%s() is for strings, %s is %s", c.Name, a.name, a.typ)
		}
	}
	switch c.Name {
	case "tolower":
		return mapped(args[0], "tolower", celenv.LowerASCII, "lowerAscii"), nil
	case "toupper":
		return mapped(args[0], "toupper", celenv.UpperASCII, "upperAscii"), nil
	case "basename":
		if args[0].list {
			return value{}, fmt.Errorf("basename() of a list is not supported")
		}
		return mapped(args[0], "basename", celenv.Basename, "basename"), nil
	case "b64":
		return base64(args[0])
	case "join":
		return join(args[0], args[1])
	case "concat":
		return concat(args)
	default:
		return getopt(c, args[0], args[1])
	}
}

// result is a value made of others: there when all of them are.
func result(name string, typ vocab.Type, cel field.Type, text string, of ...value) value {
	v := value{name: name, typ: typ, cel: cel, text: text, plain: true, list: cel == field.List}
	for _, o := range of {
		v.guards = append(v.guards, o.guards...)
		v.absent = v.absent || o.absent
		v.plain = v.plain && len(o.guards) == 0
	}
	return v
}

// mapped applies a function that leaves an empty string empty.
func mapped(v value, name string, fn func(string) string, cel string) value {
	if v.constant != nil {
		return constant(v.name, fn(*v.constant), v.typ)
	}
	v = asText(v)
	v.name, v.text = name+"("+v.name+")", v.text+"."+cel+"()"
	return v
}

func base64(v value) (value, error) {
	if v.list {
		return value{}, fmt.Errorf("b64() of a list is not supported")
	}
	v = asText(v)
	out := result("b64("+v.name+")", v.typ, field.String, v.text+".b64decode()", v)
	out.guards = append(out.guards, call(v.text, "isBase64"))
	out.plain = v.plain
	return out, nil
}

func length(v value) (value, error) {
	name := "len(" + v.name + ")"
	switch {
	case v.list && v.cel == field.List:
		return result(name, "uint64", field.Int, v.text+".size()", v), nil
	case v.list, v.typ.Group() == vocab.Text, v.typ.Group() == vocab.Buffer:
		v = asText(v)
		return result(name, "uint64", field.Int, "bytes("+v.text+").size()", v), nil
	}
	return value{}, fmt.Errorf("len() is for strings, buffers and lists, %s is %s", v.name, v.typ)
}

func join(sep, list value) (value, error) {
	if sep.list {
		return value{}, fmt.Errorf("the separator of join() must be one string, not a list")
	}
	if !list.list {
		return value{}, fmt.Errorf("the second argument of join() must be a list")
	}
	sep = asText(sep)
	return result("join(...)", vocab.String, field.String, list.text+".join("+sep.text+")", sep, list), nil
}

func concat(args []value) (value, error) {
	texts := make([]string, len(args))
	for i, a := range args {
		if a.list {
			return value{}, fmt.Errorf("the arguments of concat() must be strings, %s is a list", a.name)
		}
		args[i] = asText(a)
		texts[i] = args[i].text
	}
	return result("concat(...)", vocab.String, field.String, "("+strings.Join(texts, " + ")+")", args...), nil
}

func getopt(c *filter.Call, list, spec value) (value, error) {
	if !list.list {
		return value{}, fmt.Errorf("the first argument of getopt() must be a list, %s is not", list.name)
	}
	if spec.list {
		return value{}, fmt.Errorf("the second argument of getopt() must be one string, not a list")
	}
	spec = asText(spec)
	if !c.HasArg {
		return result("getopt(...)", vocab.String, field.List, list.text+".getopt("+spec.text+")", list, spec), nil
	}
	if len(c.Arg) != 1 {
		return value{}, fmt.Errorf("the argument in brackets of getopt() must be the letter of an option")
	}
	args := spec.text + ", " + quote(c.Arg)
	v := result("getopt(...)["+c.Arg+"]", vocab.String, field.String, list.text+".optValue("+args+")", list, spec)
	v.guards = append(v.guards, call(list.text, "hasOpt", args))
	v.plain = false
	return v, nil
}

// asText makes the CEL expression a string where Falco sees one and the catalogue has a number or a boolean.
func asText(v value) value {
	if !v.list && !v.each && !v.absent && (v.cel == field.Int || v.cel == field.Bool) {
		v.text, v.cel, v.plain = "string("+v.text+")", field.String, false
	}
	return v
}
