package ruleset

import (
	"strconv"
	"strings"
)

// Text is the output of a correlation rule: text with fields of the steps' events and the names below in it.
type Text struct{ parts []textPart }

// What an output of a correlation rule can name beside fields.
const (
	TextCount  = "count"  // how many events, or how many values, there were
	TextNodes  = "nodes"  // the nodes of the events that the alert names
	TextValues = "values" // the values that were counted, as far as the alert names their events
	TextKey    = "key"    // the values of the key
)

// textPart is text, or else a special name, or else the first of the refs that is there.
type textPart struct {
	text, special string
	refs          []Ref
}

// Append fills the text in. special gives the value of one of the names above.
func (t Text) Append(dst []byte, v Captured, special func(name string) string) []byte {
	for _, p := range t.parts {
		switch {
		case p.special != "":
			dst = appendText(dst, special(p.special))
		case p.refs == nil:
			dst = append(dst, p.text...)
		default:
			dst = appendValue(dst, firstRef(p.refs, v))
		}
	}
	return dst
}

func firstRef(refs []Ref, v Captured) any {
	for _, r := range refs {
		if x := v.Value(r.Step.Index, r.Field.Name); x != nil {
			return x
		}
	}
	return nil
}

func appendValue(dst []byte, x any) []byte {
	switch x := x.(type) {
	case string:
		return appendText(dst, x)
	case int64:
		return strconv.AppendInt(dst, x, 10)
	case bool:
		return strconv.AppendBool(dst, x)
	case []string:
		return appendText(dst, strings.Join(x, " "))
	default:
		return append(dst, Absent...)
	}
}

// correlationText parses the output and has what it names captured and attached.
func (c *compiler) correlationText(d *defined, x *Correlation) Text {
	var t Text
	text := []rune(d.Output.Value)
	var lit strings.Builder
	flush := func() {
		if lit.Len() > 0 {
			t.parts = append(t.parts, textPart{text: lit.String()})
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
			if name == TextCount || name == TextNodes || name == TextValues || name == TextKey {
				flush()
				t.parts = append(t.parts, textPart{special: name})
				i += len(name)
				continue
			}
			r, ok := x.ref(name)
			if !ok {
				c.fail(d.file, d.Output.At(i), "gyre fields lists the fields; write %STEP.FIELD for one of another step, %count, %values, %nodes or %key, and %% for a percent sign", "there is no field %q", "%"+name)
				return t
			}
			flush()
			p := textPart{refs: []Ref{r}}
			i += len(name)
			for i+1 < len(text) && text[i+1] == '|' {
				name = fieldName(text[i+2:])
				if r, ok = x.ref(name); !ok {
					break
				}
				p.refs = append(p.refs, r)
				i += 1 + len(name)
			}
			for _, r := range p.refs {
				x.attach(r)
			}
			t.parts = append(t.parts, p)
		}
	}
	flush()
	return t
}
