package filter

import (
	"fmt"
	"strings"
)

// String implements [Expr].
func (e *And) String() string { return joined(e.Parts, " and ") }

// String implements [Expr].
func (e *Or) String() string { return joined(e.Parts, " or ") }

// String implements [Expr].
func (e *Not) String() string {
	if _, twice := e.Part.(*Not); twice {
		return "not (" + e.Part.String() + ")"
	}
	return "not " + e.Part.String()
}

// String implements [Expr].
func (e *Macro) String() string { return e.Name }

// String implements [Expr].
func (e *Check) String() string {
	s := e.Left.String() + " " + e.Op
	if e.Mod != "" {
		s += " " + e.Mod
	}
	if e.Right != nil {
		s += " " + e.Right.String()
	}
	return s
}

// String implements [Operand].
func (o *Field) String() string { return o.Name + bracket(o.Arg, o.HasArg) }

// String implements [Operand].
func (o *Call) String() string {
	return o.Name + "(" + arguments(o.Args) + ")" + bracket(o.Arg, o.HasArg)
}

// String implements [Operand].
func (o *Text) String() string { return Quote(o.Value) }

// String implements [Operand].
func (o *List) String() string { return "(" + list(o.Items) + ")" }

func joined(parts []Expr, by string) string {
	s := make([]string, len(parts))
	for i, p := range parts {
		s[i] = p.String()
	}
	return "(" + strings.Join(s, by) + ")"
}

func list(items []Operand) string {
	s := make([]string, len(items))
	for i, o := range items {
		s[i] = o.String()
	}
	return strings.Join(s, ", ")
}

// arguments writes those of a transformer, where a constant needs quotes.
func arguments(items []Operand) string {
	s := make([]string, len(items))
	for i, o := range items {
		switch x := o.(type) {
		case *Text:
			s[i] = quoted(x.Value)
		case *List:
			s[i] = "(" + arguments(x.Items) + ")"
		default:
			s[i] = o.String()
		}
	}
	return strings.Join(s, ", ")
}

func bracket(arg string, has bool) string {
	if !has {
		return ""
	}
	if strings.ContainsAny(arg, "[]\"'"+spaces) || arg == "" {
		return "[" + quoted(arg) + "]"
	}
	return "[" + arg + "]"
}

// Quote writes a constant: bare where that can be read back, else in double quotes.
func Quote(s string) string {
	if s != "" && bareLen(s) == len(s) && !strings.ContainsAny(s, "\b\x00") {
		return s
	}
	return quoted(s)
}

func quoted(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && i == len(s)-1: // a quote behind a backslash would not end the string
			b.WriteString(`\x5c`)
		case c == '"', c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\t':
			b.WriteString(`\t`)
		case c == '\r':
			b.WriteString(`\r`)
		case c < ' ' || c == 0x7f:
			fmt.Fprintf(&b, `\x%02x`, c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}
