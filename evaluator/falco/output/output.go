// Package output fills in Falco's output templates: text with fields in it, such as
// "%proc.name read %fd.name (parent=%proc.aname[1])".
//
// After the percent sign stands a field, with its argument if it has one, or a
// transformer of fields; the longest text that can be one counts. Digits before it
// cut or fill the value to that many bytes. A field that the event does not have
// is printed as <NA>. An asterisk at the beginning of a template has no effect, as in
// Falco itself, where every output has one.
package output

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/gyre-sec/gyre/evaluator/falco/filter"
	"github.com/gyre-sec/gyre/evaluator/falco/translate"
	"github.com/gyre-sec/gyre/evaluator/falco/vocab"
	"github.com/gyre-sec/gyre/schemas/field"
)

// Absent is what a template shows for a field that the event does not have.
const Absent = "<NA>"

// maxWidth bounds what digits can ask for.
const maxWidth = 4096

// Template is a parsed template. It is immutable.
type Template struct {
	parts   []part
	fields  []*field.Field
	missing []string
}

// part is text, or else a field.
type part struct {
	text  string
	field *field.Field
	width int
	// source is how the template spells it, without the percent sign.
	source  string
	missing bool
}

// Error is a template that Falco would refuse; Offset is the place of the percent sign.
type Error struct {
	Offset int
	Err    error
}

// Error returns the message without the place.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Parse reads a template. The error is an [*Error].
func Parse(text string) (Template, error) {
	var t Template
	if text == "" {
		return t, &Error{0, errors.New("the output is empty")}
	}
	text, starred := strings.CutPrefix(text, "*")
	shift := 0
	if starred {
		shift = 1
	}
	for i := 0; i < len(text); {
		n := strings.IndexByte(text[i:], '%')
		if n < 0 {
			t.parts = append(t.parts, part{text: text[i:]})
			break
		}
		if n > 0 {
			t.parts = append(t.parts, part{text: text[i : i+n]})
			i += n
		}
		size, err := t.field(text[i+1:])
		if err != nil {
			return Template{}, &Error{i + shift, err}
		}
		i += 1 + size
	}
	return t, nil
}

// field reads what follows a percent sign and returns its length.
func (t *Template) field(s string) (int, error) {
	digits := len(s) - len(strings.TrimLeft(s, "0123456789"))
	width := 0
	if digits > 0 {
		n, err := strconv.Atoi(s[:digits])
		if err != nil || n > maxWidth {
			return 0, fmt.Errorf("the width %s is more than %d", s[:digits], maxWidth)
		}
		width = n
	}
	rest := s[digits:]
	if rest == "" {
		return 0, errors.New("an output cannot end with a percent sign or a width")
	}
	e, n, err := longest(rest)
	if err != nil {
		return 0, err
	}
	t.parts = append(t.parts, part{field: e.field, width: width, source: s[:digits+n], missing: len(e.missing) > 0})
	for _, f := range e.names {
		if !slices.ContainsFunc(t.fields, func(x *field.Field) bool { return x.Name == f.Name }) {
			t.fields = append(t.fields, f)
		}
	}
	for _, m := range e.missing {
		if !slices.Contains(t.missing, m) {
			t.missing = append(t.missing, m)
		}
	}
	return digits + n, nil
}

// longest finds the longest beginning of s that is a field or a transformer.
func longest(s string) (element, int, error) {
	n := filter.OperandLen(s)
	if n == 0 {
		word := s[:min(len(s), 40)]
		if i := strings.IndexAny(word, " \t\n%"); i >= 0 {
			word = word[:i]
		}
		return element{}, 0, vocab.Unknown("there is no field %q", "%"+word)
	}
	var first error
	for end := n; end > 0; end-- {
		o, err := filter.ParseOperand(s[:end])
		if err != nil {
			continue
		}
		e, err := compile(o)
		if err == nil {
			return e, end, nil
		}
		if first == nil {
			first = err
		}
	}
	return element{}, 0, first
}

// Fields are the fields that the template names, each once, in order, under the names that
// Falco gives them. Transformers are left out, the fields within them are not.
func (t Template) Fields() []*field.Field { return t.fields }

// Missing are the fields of the template that no event has in gyre.
func (t Template) Missing() []string { return t.missing }

// Native writes the template in the language of native rules, where it prints the same. What
// gyre does not have becomes <NA>.
func (t Template) Native() string {
	var b strings.Builder
	for _, p := range t.parts {
		switch {
		case p.field == nil:
			b.WriteString(p.text)
		case p.missing:
			b.WriteString(Absent)
		default:
			b.WriteString(nativeName(p.source))
		}
	}
	return b.String()
}

// nativeName is a field or transformer as native templates spell it.
func nativeName(source string) string {
	plain := !strings.ContainsAny(source, "[(") && (source[0] < '0' || source[0] > '9')
	if _, ok := field.Lookup(source); ok || !plain {
		return "%" + source
	}
	for _, name := range []string{translate.Alias(source), strings.Replace(source, "evt.rawarg.", "evt.arg.", 1)} {
		if _, ok := field.Lookup(name); ok {
			return "%" + name
		}
	}
	return "1" // evt.count
}

// Element is a field with an argument or a width, or a transformer, within a native template.
type Element struct {
	Field *field.Field
	Width int
	// Names are the fields in it.
	Names []*field.Field
}

// ParseElement reads the element at the beginning of s, which follows a percent sign, and
// returns its length. What gyre does not have is an error.
func ParseElement(s string) (Element, int, error) {
	var t Template
	n, err := t.field(s)
	if err != nil {
		return Element{}, 0, err
	}
	if len(t.missing) > 0 {
		return Element{}, 0, fmt.Errorf("gyre does not have %s", t.missing[0])
	}
	return Element{t.parts[0].field, t.parts[0].width, t.fields}, n, nil
}

// Append fills the template in. Control characters become \xNN, so that an output is always one line.
func (t Template) Append(dst []byte, v *field.View) []byte {
	for _, p := range t.parts {
		if p.field == nil {
			dst = escape(dst, p.text)
			continue
		}
		dst = escape(dst, Fit(text(p.field.Value(v)), p.width))
	}
	return dst
}

// Fit cuts a text or fills it up with blanks to a width in bytes; 0 leaves it as it is.
func Fit(s string, width int) string {
	if width == 0 {
		return s
	}
	return (s + strings.Repeat(" ", max(0, width-len(s))))[:width]
}

// text writes a value as Falco prints it.
func text(x any) string {
	switch x := x.(type) {
	case string:
		return x
	case int64:
		return strconv.FormatInt(x, 10)
	case bool:
		return strconv.FormatBool(x)
	case []string:
		return "(" + strings.Join(x, ",") + ")"
	default:
		return Absent
	}
}

func escape(dst []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\n':
			dst = append(dst, ' ')
		case c < ' ' || c == 0x7f:
			dst = fmt.Appendf(dst, `\x%02x`, c)
		default:
			dst = append(dst, c)
		}
	}
	return dst
}
