// Package format writes alerts as the JSON objects that other programs read: gyre's own,
// Falco's, and CloudEvents.
package format

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/schemas/alertv1"
	"github.com/gyre-sec/gyre/sink/notify"
)

// Format is a form of an alert.
type Format string

// The formats. Line is one line for people, not JSON.
const (
	Gyre       Format = "gyre"
	Falco      Format = "falco"
	CloudEvent Format = "cloudevents"
	Line       Format = "line"
)

// MarshalText writes the name.
func (f Format) MarshalText() ([]byte, error) { return []byte(f), nil }

// UnmarshalText reads a name.
func (f *Format) UnmarshalText(b []byte) error {
	switch v := Format(b); v {
	case Gyre, Falco, CloudEvent, Line:
		*f = v
		return nil
	}
	return fmt.Errorf("unknown format %q, want gyre, falco, cloudevents or line", b)
}

// ContentType is the media type of one alert in the format.
func (f Format) ContentType() string {
	switch f {
	case CloudEvent:
		return "application/cloudevents+json"
	case Line:
		return "text/plain; charset=utf-8"
	}
	return "application/json"
}

// Append appends a message in the format; an alert that does not encode fails for good.
func (f Format) Append(to []byte, m *notify.Message) ([]byte, error) {
	var v any
	switch f {
	case Line:
		return append(to, Text(m.Alert)...), nil
	case Falco:
		v = FalcoOf(m.Alert)
	case CloudEvent:
		v = cloudEventOf(m.Alert)
	default:
		v = m.Alert
	}
	b, err := json.Marshal(v)
	if err != nil {
		return to, bus.Permanent(fmt.Errorf("encode alert %s: %w", m.Alert.ID, err))
	}
	return append(to, b...), nil
}

// Text is an alert on one line; control characters in what was seen are escaped.
func Text(a *alertv1.Alert) string {
	return fmt.Sprintf("%s %s %s: %s [%s]", a.When().Format("2006-01-02T15:04:05.000Z07:00"), a.Priority, Printable(a.Rule), Printable(a.Output), Printable(a.Node))
}

// Printable escapes what a terminal or a line-oriented reader would interpret.
func Printable(s string) string {
	var b strings.Builder
	for _, r := range strings.ToValidUTF8(s, string(unicode.ReplacementChar)) {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		fmt.Fprintf(&b, `\u%04x`, r)
	}
	return b.String()
}

// FalcoAlert is the JSON object that Falco (0.44) writes, and Falcosidekick (2.34) reads.
type FalcoAlert struct {
	UUID         string         `json:"uuid,omitempty"`
	Output       string         `json:"output"`
	Priority     string         `json:"priority"`
	Rule         string         `json:"rule"`
	Time         string         `json:"time"`
	OutputFields map[string]any `json:"output_fields"`
	Source       string         `json:"source"`
	Tags         []string       `json:"tags"`
	Hostname     string         `json:"hostname"`
}

// FalcoOf converts an alert.
func FalcoOf(a *alertv1.Alert) FalcoAlert {
	p := FalcoPriority(a.Priority)
	f := FalcoAlert{
		UUID: a.ID.String(), Priority: p, Rule: a.Rule, Time: a.When().UTC().Format("2006-01-02T15:04:05.000000000Z"), Source: a.Source, Tags: sorted(a.Tags), Hostname: a.Node,
		Output: a.When().Format("15:04:05.000000000") + ": " + p + " " + a.Output, OutputFields: make(map[string]any, len(a.Fields)+1),
	}
	for _, kv := range a.Fields {
		f.OutputFields[kv.Name] = falcoValue(kv)
	}
	f.OutputFields["evt.time"] = a.Time
	return f
}

// sorted is the set of the tags: Falco writes them in order, and each once.
func sorted(tags []string) []string {
	out := append([]string{}, tags...)
	slices.Sort(out)
	return slices.Compact(out)
}

// falcoValue is a field's value as Falco writes it: lists are texts, those of a process's environment and arguments with blanks between.
func falcoValue(f alertv1.Field) any {
	l, ok := f.Value.([]string)
	switch {
	case !ok:
		return f.Value
	case f.Name == "proc.env" || f.Name == "proc.args":
		return strings.Join(l, " ")
	}
	return "(" + strings.Join(l, ",") + ")"
}

// FalcoPriority is the name with a capital letter, as Falco writes it.
func FalcoPriority(p alertv1.Priority) string {
	n := p.String()
	return strings.ToUpper(n[:1]) + n[1:]
}

// cloudEventOf is the structured JSON form of CloudEvents 1.0.
func cloudEventOf(a *alertv1.Alert) any {
	return struct {
		SpecVersion string         `json:"specversion"`
		ID          string         `json:"id"`
		Source      string         `json:"source"`
		Type        string         `json:"type"`
		Subject     string         `json:"subject"`
		Time        string         `json:"time"`
		ContentType string         `json:"datacontenttype"`
		Priority    string         `json:"priority"`
		Data        *alertv1.Alert `json:"data"`
	}{"1.0", a.ID.String(), "/gyre/nodes/" + a.Node, "dev.gyre.alert.v1", a.Rule, a.When().Format("2006-01-02T15:04:05.999999999Z07:00"), "application/json", a.Priority.String(), a}
}
