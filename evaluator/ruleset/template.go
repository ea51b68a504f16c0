package ruleset

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/gyre-sec/gyre/evaluator/falco/output"
	"github.com/gyre-sec/gyre/schemas/field"
)

// Absent is what a template shows for a field that the event does not have.
const Absent = "<NA>"

// Template is an output text with fields in it: "%proc.name read %fd.name". "%a|b" is the
// first of several fields that the event has, "%%" a percent sign. As in Falco's templates a
// field can have an argument (%proc.aname[2]), a width (%20proc.name) and transformers around it
// (%toupper(proc.name)). The template of a rule from a Falco file follows Falco in everything.
type Template struct {
	parts  []part
	fields []*field.Field
	falco  *output.Template
}

// part is text, or else the first of its fields that is there.
type part struct {
	text   string
	fields []*field.Field
	width  int
}

// Fields are the fields that the template names, each once, in order.
func (t Template) Fields() []*field.Field { return t.fields }

// Append fills the template in. Control characters become \xNN, so that an output is always one line.
func (t Template) Append(dst []byte, v *field.View) []byte {
	if t.falco != nil {
		return t.falco.Append(dst, v)
	}
	for _, p := range t.parts {
		if p.fields == nil {
			dst = append(dst, p.text...)
			continue
		}
		if p.width > 0 {
			x := part{fields: p.fields}
			one := Template{parts: []part{x}}
			dst = append(dst, output.Fit(string(one.Append(nil, v)), p.width)...)
			continue
		}
		switch x := firstValue(p.fields, v).(type) {
		case string:
			dst = appendText(dst, x)
		case int64:
			dst = strconv.AppendInt(dst, x, 10)
		case bool:
			dst = strconv.AppendBool(dst, x)
		case []string:
			dst = appendText(dst, strings.Join(x, " "))
		default:
			dst = append(dst, Absent...)
		}
	}
	return dst
}

func firstValue(fields []*field.Field, v *field.View) any {
	for _, f := range fields {
		if x := f.Value(v); x != nil {
			return x
		}
	}
	return nil
}

func appendText(dst []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' || c == 0x7f {
			dst = fmt.Appendf(dst, `\x%02x`, c)
		} else {
			dst = append(dst, c)
		}
	}
	return dst
}

// template parses the output and resolves the attached fields of r.
func (c *compiler) template(r *Rule, d *defined) {
	r.Output = c.parseTemplate(d)
	r.Attach = slices.Clone(r.Output.fields)
	for _, name := range d.Fields {
		f, ok := field.Lookup(name.Value)
		if d.Falco > 0 { // with the type that it has in Falco
			t, err := output.Parse("%" + name.Value)
			if ok = err == nil && len(t.Fields()) == 1; ok {
				f = t.Fields()[0]
			}
		}
		if !ok {
			c.fail(d.file, name.Pos, "gyre fields lists the fields", "there is no field %s", name.Value)
		} else if !slices.ContainsFunc(r.Attach, func(x *field.Field) bool { return x.Name == f.Name }) {
			r.Attach = append(r.Attach, f)
		}
	}
	if d.Throttle == nil {
		return
	}
	for _, name := range d.Throttle.Key {
		if f, ok := field.Lookup(name.Value); ok {
			r.ThrottleKey = append(r.ThrottleKey, f)
		} else {
			c.fail(cmp.Or(d.throttleFile, d.file), name.Pos, "gyre fields lists the fields", "there is no field %s", name.Value)
		}
	}
}

func (c *compiler) parseTemplate(d *defined) Template {
	var t Template
	if d.Falco > 0 {
		f, err := output.Parse(d.Output.Value)
		if err != nil {
			c.fail(d.file, d.Output.Pos, "", "%v", err)
		}
		return Template{falco: &f, fields: f.Fields()}
	}
	text := []rune(d.Output.Value)
	var lit strings.Builder
	flush := func() {
		if lit.Len() > 0 {
			t.parts = append(t.parts, part{text: lit.String()})
			lit.Reset()
		}
	}
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '\n':
			if i < len(text)-1 {
				lit.WriteByte(' ')
			}
		case text[i] != '%':
			lit.WriteRune(text[i])
		case i+1 < len(text) && text[i+1] == '%':
			lit.WriteByte('%')
			i++
		default:
			name := fieldName(text[i+1:])
			f, ok := field.Lookup(name)
			if after := i + 1 + len(name); !ok || after < len(text) && text[after] == '[' {
				if n := c.element(&t, string(text[i+1:]), flush); n > 0 {
					i += n
					continue
				}
			}
			if !ok {
				pos := d.Output.At(i)
				c.fail(d.file, pos, "gyre fields lists the fields; write %% for a percent sign", "there is no field %q", "%"+name)
				return t
			}
			flush()
			i += len(name)
			p := part{fields: []*field.Field{f}}
			for i+1 < len(text) && text[i+1] == '|' {
				name = fieldName(text[i+2:])
				if f, ok = field.Lookup(name); !ok {
					break
				}
				p.fields = append(p.fields, f)
				i += 1 + len(name)
			}
			t.parts = append(t.parts, p)
			for _, f := range p.fields {
				if !slices.Contains(t.fields, f) {
					t.fields = append(t.fields, f)
				}
			}
		}
	}
	flush()
	return t
}

// element reads a field with an argument or a width, or a transformer, and returns its length in characters; 0 if there is none.
func (c *compiler) element(t *Template, text string, flush func()) int {
	e, n, err := output.ParseElement(text)
	if err != nil || e.Width == 0 && !strings.ContainsAny(text[:n], "[(") {
		return 0
	}
	flush()
	t.parts = append(t.parts, part{fields: []*field.Field{e.Field}, width: e.Width})
	for _, f := range e.Names {
		if !slices.ContainsFunc(t.fields, func(x *field.Field) bool { return x.Name == f.Name }) {
			t.fields = append(t.fields, f)
		}
	}
	return utf8.RuneCountInString(text[:n])
}

// fieldName is the longest beginning that can be a field; a full stop at its end belongs to the sentence.
func fieldName(text []rune) string {
	n := 0
	for n < len(text) && (text[n] >= 'a' && text[n] <= 'z' || text[n] >= '0' && text[n] <= '9' || text[n] == '_' || text[n] == '.') {
		n++
	}
	return strings.TrimRight(string(text[:n]), ".")
}
