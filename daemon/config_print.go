package daemon

import (
	"bytes"
	"encoding"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// PrintDefaults writes the sections as a commented YAML file that [Load] reads back to the same values. Secrets
// appear as commented keys for their files.
func PrintDefaults(w io.Writer, sections map[string]any) error {
	p := &printer{docs: true}
	p.buf.WriteString("# Every setting with its default. The command line wins over the environment, the environment over this file.\n")
	return p.print(w, sections)
}

// Print writes the sections as YAML with the secrets hidden.
func Print(w io.Writer, sections map[string]any) error {
	return (&printer{}).print(w, sections)
}

type printer struct {
	buf  bytes.Buffer
	docs bool
	err  error
}

func (p *printer) print(w io.Writer, sections map[string]any) error {
	for i, name := range slices.Sorted(maps.Keys(sections)) {
		v := reflect.Indirect(reflect.ValueOf(sections[name]))
		if v.Kind() != reflect.Struct {
			return fmt.Errorf("print section %s: want a struct, got %T", name, sections[name])
		}
		if p.docs || i > 0 {
			p.buf.WriteByte('\n')
		}
		p.value(name+":", v, "", p.docs)
	}
	if p.err != nil {
		return p.err
	}
	_, err := p.buf.WriteTo(w)
	return err
}

// value writes a key with its value; head is "key:" or "-".
func (p *printer) value(head string, v reflect.Value, indent string, docs bool) {
	t := v.Type()
	text, scalar := p.scalar(v)
	switch {
	case scalar:
		p.line(indent, head+" "+text)
	case isGroup(t) && head == "-":
		at := p.buf.Len()
		p.group(v, indent+"  ", false)
		if p.buf.Len() == at {
			p.line(indent, "- {}")
			return
		}
		p.buf.Bytes()[at+len(indent)] = '-' // the first key goes on the line of its dash
	case isGroup(t):
		p.line(indent, head)
		p.group(v, indent+"  ", docs)
	case t.Kind() == reflect.Slice && v.Len() == 0:
		p.line(indent, head+" []")
	case t.Kind() == reflect.Slice:
		p.line(indent, head)
		for i := range v.Len() {
			p.value("-", v.Index(i), indent+"  ", false)
		}
	case t.Kind() == reflect.Map && v.Len() == 0:
		p.line(indent, head+" {}")
	case t.Kind() == reflect.Map:
		p.line(indent, head)
		for _, key := range sortedKeys(v) {
			item := v.MapIndex(reflect.ValueOf(key).Convert(t.Key()))
			if t.Elem() == secretType {
				p.secret(key, item, indent+"  ")
				continue
			}
			p.value(quote(key)+":", item, indent+"  ", false)
		}
	default:
		p.fail(fmt.Errorf("print setting %s: type %s is not supported", strings.TrimSuffix(head, ":"), t))
	}
}

func (p *printer) group(v reflect.Value, indent string, docs bool) {
	for _, f := range placesOf(v) {
		if docs && f.doc != "" {
			for line := range strings.SplitSeq(f.doc, "\n") {
				p.line(indent, "# "+line)
			}
		}
		if f.typ == secretType {
			p.secret(f.name, f.target, indent)
			continue
		}
		p.value(f.name+":", f.target, indent, docs)
	}
}

func (p *printer) secret(name string, v reflect.Value, indent string) {
	s := v.Interface().(Secret)
	switch {
	case s.value != nil:
		p.line(indent, quote(name)+": "+redacted)
	case s.file != "":
		p.line(indent, quote(name+"_file")+": "+quote(s.file))
	case s.env != "":
		p.line(indent, quote(name+"_env")+": "+quote(s.env))
	case p.docs:
		p.line(indent, "# "+name+"_file: \"\"")
	}
}

// scalar returns the YAML form of a single value.
func (p *printer) scalar(v reflect.Value) (string, bool) {
	if v.Type() == durationType {
		return shortDuration(time.Duration(v.Int())), true
	}
	if isText(v.Type()) {
		m, ok := reflect.TypeAssert[encoding.TextMarshaler](v)
		if !ok {
			p.fail(fmt.Errorf("print %s: it reads text but does not write it", v.Type()))
			return "", true
		}
		text, err := m.MarshalText()
		if err != nil {
			p.fail(fmt.Errorf("print %s: %w", v.Type(), err))
		}
		if v.Type() == reflect.TypeFor[Bytes]() { // digits and a unit, which need no quotes
			return string(text), true
		}
		return quote(string(text)), true
	}
	switch k := v.Kind(); {
	case k == reflect.String:
		return quote(v.String()), true
	case k == reflect.Bool:
		return strconv.FormatBool(v.Bool()), true
	case v.CanInt():
		return strconv.FormatInt(v.Int(), 10), true
	case v.CanUint():
		return strconv.FormatUint(v.Uint(), 10), true
	case v.CanFloat():
		return strconv.FormatFloat(v.Float(), 'f', -1, v.Type().Bits()), true
	default:
		return "", false
	}
}

func (p *printer) line(indent, text string) {
	p.buf.WriteString(indent + strings.TrimRight(text, " ") + "\n")
}

func (p *printer) fail(err error) {
	if p.err == nil {
		p.err = err
	}
}

// shortDuration is Duration.String without the zero parts at the end.
func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

var plainText = regexp.MustCompile(`^[A-Za-z/][A-Za-z0-9._/@-]*(:[A-Za-z0-9._/@-]+)*$`)

// quote returns a string as YAML, in double quotes unless it cannot be taken for anything else. The double-quoted
// form of YAML includes that of JSON (YAML 1.2.2, section 1.3).
func quote(s string) string {
	switch strings.ToLower(s) {
	case "true", "false", "yes", "no", "on", "off", "y", "n", "null":
		return strconv.Quote(s)
	}
	if plainText.MatchString(s) {
		return s
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string always encodes
	return strings.TrimRight(b.String(), "\n")
}
