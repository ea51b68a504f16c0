package notify

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"text/template"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/schemas/alertv1"
)

// View is what templates see. Every text in it is escaped for the output, so that what an attacker
// wrote into a file name is shown and not interpreted; markup of the template itself is not touched.
type View struct {
	ID, Rule, RuleID, Priority, Severity, Source, Node, Event, Output, Ruleset string
	Time                                                                       time.Time
	Tags, MITRE                                                                []string
	// Fields are the alert's fields as text, the fields of the output's configuration included.
	Fields                                        map[string]string
	Process, Exe, Cmdline, Cwd, Parent            string
	PID                                           uint32
	User, LoginUser                               string
	ContainerID, Container, Image, Namespace, Pod string
	// Repeats is how many alerts of the same kind were folded since the last notification.
	Repeats int
}

// NewView returns the view of a message with every text passed through escape, which may be nil.
func NewView(m *Message, escape func(string) string) View {
	e := func(s string) string {
		s = Clean(s)
		if escape != nil {
			s = escape(s)
		}
		return s
	}
	list := func(in []string) []string {
		out := make([]string, len(in))
		for i := range in {
			out[i] = e(in[i])
		}
		return out
	}
	a := m.Alert
	p := a.Process()
	v := View{
		ID: a.ID.String(), Rule: e(a.Rule), RuleID: e(a.RuleID), Priority: a.Priority.String(), Severity: e(m.Severity), Source: e(a.Source), Node: e(a.Node), Event: e(a.Event),
		Output: e(a.Output), Ruleset: e(a.Ruleset), Time: a.When(), Tags: list(a.Tags), MITRE: list(a.MITRE), Fields: make(map[string]string, len(a.Fields)),
		Process: e(p.Name), Exe: e(p.Exe), Cmdline: e(p.Cmdline), Cwd: e(p.Cwd), PID: p.PID, User: e(a.User.Name), LoginUser: e(a.User.LoginName),
		ContainerID: e(a.Container.ID), Container: e(a.Container.Name), Image: e(a.Container.Image), Namespace: e(a.K8s.Namespace), Pod: e(a.K8s.Pod), Repeats: m.Repeats,
	}
	if len(a.Lineage) > 1 {
		v.Parent = e(a.Lineage[1].Name)
	}
	for _, f := range a.Fields {
		if f.Value != nil {
			v.Fields[f.Name] = e(FieldText(f.Value))
		}
	}
	return v
}

// FieldText is a field's value as text; a list is joined with commas.
func FieldText(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case []string:
		return strings.Join(v, ",")
	default:
		return fmt.Sprint(v)
	}
}

// Clean makes a text valid UTF-8 and takes out control characters other than newline and tab.
func Clean(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return unicode.ReplacementChar
		}
		return r
	}, strings.ToValidUTF8(s, string(unicode.ReplacementChar)))
}

// Cut shortens a text to at most n characters, the last of which is then "…".
func Cut(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	for i := range s {
		if n--; n == 0 {
			return s[:i] + "…"
		}
	}
	return s
}

// CutBytes shortens a text to at most n bytes (n is at least 3), the last three of which are then "…".
func CutBytes(s string, n int) string {
	if len(s) <= n {
		return s
	}
	n -= len("…")
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}

// Functions are those that templates may call beside the ones that text/template has; docs/outputs.md lists them.
func Functions() template.FuncMap {
	return template.FuncMap{
		"upper": strings.ToUpper, "lower": strings.ToLower, "trim": strings.TrimSpace,
		"replace":    func(from, to, s string) string { return strings.ReplaceAll(s, from, to) },
		"join":       func(sep string, list []string) string { return strings.Join(list, sep) },
		"contains":   func(sub, s string) bool { return strings.Contains(s, sub) },
		"has_prefix": func(prefix, s string) bool { return strings.HasPrefix(s, prefix) },
		"truncate":   func(n int, s string) string { return Cut(s, max(1, n)) },
		"default": func(otherwise, v any) any {
			if rv := reflect.ValueOf(v); !rv.IsValid() || rv.IsZero() {
				return otherwise
			}
			return v
		},
		"json": func(v any) (string, error) {
			b, err := json.Marshal(v)
			return string(b), err
		},
		"date":  func(layout string, t time.Time) string { return t.Format(layout) },
		"field": func(name string, v View) string { return v.Fields[name] },
	}
}

// Template is a compiled template of the configuration.
type Template struct{ t *template.Template }

// ParseTemplate compiles a template and runs it once on an example, so that a wrong field name is found at the start.
func ParseTemplate(name, text string) (*Template, error) {
	t, err := template.New(name).Funcs(Functions()).Option("missingkey=zero").Parse(text)
	if err != nil {
		return nil, fmt.Errorf("parse template: %w", err)
	}
	c := &Template{t}
	if _, err := c.run(NewView(&Message{Alert: Example()}, nil)); err != nil {
		return nil, fmt.Errorf("run template on an example: %w", err)
	}
	return c, nil
}

// maxRendered bounds the output of a template, in bytes.
const maxRendered = 8 << 20

func (t *Template) run(v View) (string, error) {
	w := &bounded{left: maxRendered}
	if err := t.t.Execute(w, v); err != nil {
		return "", err
	}
	return w.b.String(), nil
}

type bounded struct {
	b    bytes.Buffer
	left int
}

// Write fails when there is too much.
func (w *bounded) Write(p []byte) (int, error) {
	if w.left -= len(p); w.left < 0 {
		return 0, fmt.Errorf("the result is larger than %d bytes", maxRendered)
	}
	return w.b.Write(p)
}

// Text renders a message; a template that fails on it fails for good.
func (t *Template) Text(m *Message, escape func(string) string) (string, error) {
	s, err := t.run(NewView(m, escape))
	if err != nil {
		return "", bus.Permanent(err)
	}
	return s, nil
}

// Example is the alert that `gyre outputs test` sends and templates are tried on.
func Example() *alertv1.Alert {
	return &alertv1.Alert{
		ID: alertv1.KeyID("gyre.test", "example", ""), Time: 1_780_000_000_000_000_000, RuleID: "gyre.test", Rule: "Test alert", Priority: alertv1.Notice, Source: "internal",
		Node: "example", Event: "test", Output: "This is a test of an output of gyre", Tags: []string{"test"}, MITRE: []string{}, Fields: []alertv1.Field{{Name: "proc.name", Value: "gyre"}},
	}
}
