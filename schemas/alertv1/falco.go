package alertv1

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// FalcoOptions say which parts Falco's form of an alert has; they are those of Falco's configuration.
// The zero value is Falco's default with json_output.
type FalcoOptions struct {
	// ISOTime is time_format_iso_8601: the output begins with the date and time instead of the time.
	ISOTime bool
	// Message adds the output without time and priority: json_include_message_property.
	Message bool
	// NoOutput, NoTags and NoFields leave these out.
	NoOutput, NoTags, NoFields bool
}

// falcoPriorities are the priorities as Falco spells them.
var falcoPriorities = [...]string{"Emergency", "Alert", "Critical", "Error", "Warning", "Notice", "Informational", "Debug"}

// FalcoOutput is the line that Falco prints for an alert: "16:31:56.746609046: Error Text". Times are UTC.
func (a Alert) FalcoOutput(o FalcoOptions) string {
	return a.falcoTime(o) + ": " + a.falcoPriority() + " " + a.Output
}

func (a Alert) falcoTime(o FalcoOptions) string {
	if o.ISOTime {
		return a.When().Format("2006-01-02T15:04:05.000000000-0700")
	}
	return a.When().Format("15:04:05.000000000")
}

func (a Alert) falcoPriority() string {
	if !a.Priority.Valid() {
		return a.Priority.String()
	}
	return falcoPriorities[a.Priority]
}

// FalcoJSON is the alert as Falco writes it with json_output: one object without a line feed at its end, its keys in
// order. Fields that are absent are null; lists are text, as in Falco's outputs. Bytes that are not UTF-8 become U+FFFD.
func (a Alert) FalcoJSON(o FalcoOptions) ([]byte, error) {
	m := map[string]any{
		"hostname": valid(a.Node), "priority": a.falcoPriority(), "rule": valid(a.Rule), "source": valid(a.Source),
		"time": a.When().Format("2006-01-02T15:04:05.000000000Z"),
	}
	if !o.NoOutput {
		m["output"] = valid(a.FalcoOutput(o))
	}
	if o.Message {
		m["message"] = valid(a.Output)
	}
	if !o.NoTags {
		tags := slices.Clone(a.Tags)
		slices.Sort(tags)
		m["tags"] = append([]string{}, slices.Compact(tags)...)
	}
	if !o.NoFields {
		m["output_fields"] = a.falcoFields(o)
	}
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(m); err != nil {
		return nil, fmt.Errorf("encode alert for falco: %w", err)
	}
	return []byte(strings.TrimSuffix(b.String(), "\n")), nil
}

func (a Alert) falcoFields(o FalcoOptions) map[string]any {
	fields := make(map[string]any, len(a.Fields)+1)
	for _, f := range a.Fields {
		switch x := f.Value.(type) {
		case []string:
			fields[f.Name] = valid("(" + strings.Join(x, ",") + ")")
		case string:
			fields[f.Name] = valid(x)
		default:
			fields[f.Name] = x
		}
	}
	name := "evt.time"
	if o.ISOTime {
		name = "evt.time.iso8601"
	}
	fields[name] = a.Time
	return fields
}

// valid replaces every byte that is not UTF-8 by U+FFFD, which the JSON encoder would write as an escape.
func valid(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return string([]rune(s))
}
