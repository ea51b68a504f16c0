package falco

import (
	"strings"

	"github.com/gyre-sec/gyre/evaluator/falco/filter"
	"github.com/gyre-sec/gyre/evaluator/rule"
)

// place is where a byte of a condition stands.
type place struct {
	file string
	pos  rule.Pos
}

// text is a condition that knows where each of its bytes is from, also after parts from other
// items were appended and lists were put in.
type text struct {
	s  string
	at []place
}

func newText(file string, t rule.Text) text {
	x := text{s: t.Value, at: make([]place, 0, len(t.Value))}
	i := 0
	for _, r := range t.Value {
		p := place{file, t.At(i)}
		for range len(string(r)) {
			x.at = append(x.at, p)
		}
		i++
	}
	for len(x.at) < len(x.s) { // not for UTF-8
		x.at = append(x.at, place{file, t.Pos})
	}
	x.at = x.at[:len(x.s)]
	return x
}

// made is text that is in no file; errors in it are reported at p.
func made(s string, p place) text {
	x := text{s: s, at: make([]place, len(s))}
	for i := range x.at {
		x.at[i] = p
	}
	return x
}

func (t text) place(offset int) place {
	switch {
	case len(t.at) == 0:
		return place{pos: rule.Pos{Line: 1, Col: 1}}
	case offset >= len(t.at):
		p := t.at[len(t.at)-1]
		p.pos.Col++
		return p
	default:
		return t.at[max(0, offset)]
	}
}

func (t text) slice(from, to int) text { return text{t.s[from:to], t.at[from:to]} }

func concat(parts ...text) text {
	var x text
	n := 0
	for _, p := range parts {
		n += len(p.s)
	}
	x.at = make([]place, 0, n)
	var b strings.Builder
	for _, p := range parts {
		b.WriteString(p.s)
		x.at = append(x.at, p.at...)
	}
	x.s = b.String()
	return x
}

// start is where t begins.
func (t text) start() place { return t.place(0) }

// parse reads t as a condition.
func (t text) parse() (filter.Expr, error) { return filter.Parse(t.s) }

const (
	listBlanks = " \t\n\r"
	listDelims = listBlanks + "(),="
)

// put replaces the name of a list by its items wherever it stands between blanks, parentheses,
// commas or equals signs; used tells whether it did. An empty list takes a comma beside it along.
func (t text) put(name string, items []string) (out text, used bool) {
	if name == "" || !strings.Contains(t.s, name) {
		return t, false
	}
	quoted := make([]string, len(items))
	for i, s := range items {
		quoted[i] = quoteItem(s)
	}
	sub := strings.Join(quoted, ", ")
	delim := func(i int) bool { return i < 0 || i >= len(t.s) || strings.IndexByte(listDelims, t.s[i]) >= 0 }
	for start := strings.Index(t.s, name); start >= 0; {
		end := start + len(name)
		if delim(start-1) && delim(end) {
			used = true
			here := t.place(start)
			for start > 0 && strings.IndexByte(listBlanks, t.s[start-1]) >= 0 {
				start--
			}
			for end < len(t.s) && strings.IndexByte(listBlanks, t.s[end]) >= 0 {
				end++
			}
			switch {
			case sub != "":
			case start > 0 && t.s[start-1] == ',':
				start--
			case end < len(t.s) && t.s[end] == ',':
				end++
			}
			head := text{}
			if start > 0 {
				head = concat(t.slice(0, start), made(" ", here))
			}
			t = concat(head, made(sub+" ", here), t.slice(end, len(t.s)))
			start += len(sub) + 1
		}
		next := start + 1
		if next >= len(t.s) {
			break
		}
		if start = strings.Index(t.s[next:], name); start >= 0 {
			start += next
		}
	}
	return t, used
}

// quoteItem puts an item with blanks in quotes unless it has some.
func quoteItem(s string) string {
	if strings.Contains(s, " ") && s[0] != '"' && s[0] != '\'' {
		return `"` + s + `"`
	}
	return s
}

// trimmed is a text without white space at its ends.
func (t text) trimmed() text {
	from := len(t.s) - len(strings.TrimLeft(t.s, listBlanks))
	to := max(from, len(strings.TrimRight(t.s, listBlanks)))
	return t.slice(from, to)
}
