package rule

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// lineWidth is how long the lines of a formatted file become, as far as they can be broken.
const lineWidth = 120

// Format writes a file as people would: [Parse] reads the same lists, macros and rules from it.
func Format(f File) []byte {
	var b bytes.Buffer
	if len(f.Lists) > 0 {
		b.WriteString("lists:\n")
		for _, l := range f.Lists {
			fmt.Fprintf(&b, "  %s: %s\n", l.Name, flow(l.Items, 4))
		}
	}
	if len(f.Macros) > 0 {
		b.WriteString("macros:\n")
		for _, m := range f.Macros {
			fmt.Fprintf(&b, "  %s: %s\n", m.Name, condition(m.Condition.Value, 4))
		}
	}
	b.WriteString("rules:")
	if len(f.Rules) == 0 {
		b.WriteString(" []")
	}
	b.WriteByte('\n')
	for _, r := range f.Rules {
		fmt.Fprintf(&b, "  - id: %s\n    name: %s\n", r.ID, scalar(r.Name))
		if r.Description != "" {
			fmt.Fprintf(&b, "    description: %s\n", scalar(r.Description))
		}
		fmt.Fprintf(&b, "    condition: %s\n    output: %s\n    priority: %s\n", condition(r.Condition.Value, 6), scalar(r.Output.Value), r.Priority)
		for _, l := range []struct {
			key   string
			items []string
		}{{"tags", r.Tags}, {"mitre", r.MITRE}, {"fields", values(r.Fields)}, {"references", r.References}} {
			if len(l.items) > 0 {
				fmt.Fprintf(&b, "    %s: %s\n", l.key, flow(l.items, 6))
			}
		}
		if !r.Enabled {
			b.WriteString("    enabled: false\n")
		}
	}
	return b.Bytes()
}

// scalar writes text in double quotes; what JSON writes, YAML reads.
func scalar(s string) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil { // a string cannot fail
		return `""`
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func flow(items []string, indent int) string {
	var b strings.Builder
	b.WriteByte('[')
	n := indent
	for i, s := range items {
		if i > 0 {
			b.WriteByte(',')
			n++
			if n > lineWidth {
				b.WriteString("\n" + strings.Repeat(" ", indent))
				n = indent
			} else {
				b.WriteByte(' ')
			}
		}
		x := scalar(s)
		n += len(x) + 1
		b.WriteString(x)
	}
	b.WriteByte(']')
	return b.String()
}

// condition writes CEL as a block, broken behind the && and || that are not within anything.
func condition(cel string, indent int) string {
	if strings.ContainsAny(cel, "\r\x00") || strings.TrimSpace(cel) != cel {
		return scalar(cel)
	}
	pad := "\n" + strings.Repeat(" ", indent)
	var b strings.Builder
	b.WriteString("|-" + pad)
	line, depth, quote := indent, 0, byte(0)
	for i := 0; i < len(cel); i++ {
		c := cel[i]
		b.WriteByte(c)
		line++
		switch {
		case quote != 0 && c == '\\' && i+1 < len(cel):
			i++
			b.WriteByte(cel[i])
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '(' || c == '[':
			depth++
		case c == ')' || c == ']':
			depth--
		case c == '\n':
			b.WriteString(pad[1:])
			line = indent
		case c == ' ' && depth == 0 && line > lineWidth/2 && i > 2 && (cel[i-2:i] == "&&" || cel[i-2:i] == "||"):
			s := strings.TrimSuffix(b.String(), " ")
			b.Reset()
			b.WriteString(s + pad)
			line = indent
		}
	}
	return b.String()
}
