package rule

import (
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// source is the text of a file by lines, for finding the place of each character of a scalar.
type source struct{ lines [][]rune }

func newSource(data string) *source {
	s := &source{}
	for line := range strings.SplitSeq(data, "\n") {
		s.lines = append(s.lines, []rune(strings.TrimSuffix(line, "\r")))
	}
	return s
}

// text makes a Text of a scalar's value. YAML folds lines, strips indentation and
// resolves escapes; align undoes that by walking value and source side by side.
func (s *source) text(n ast.Node, value string) Text {
	t := n.GetToken()
	start := Pos{max(1, t.Position.Line), max(1, t.Position.Column)}
	if l, ok := n.(*ast.LiteralNode); ok {
		start = Pos{max(1, l.Start.Position.Line) + 1, 1}
	}
	x := Text{Value: value, Pos: start}
	x.places = s.align([]rune(value), start)
	if len(x.places) > 0 {
		x.Pos = x.places[0]
	}
	return x
}

func (s *source) at(p Pos) (rune, bool) {
	if p.Line > len(s.lines) {
		return 0, false
	}
	line := s.lines[p.Line-1]
	if p.Col > len(line) {
		return '\n', p.Line < len(s.lines)
	}
	return line[p.Col-1], true
}

func (s *source) align(value []rune, p Pos) []Pos {
	places := make([]Pos, 0, len(value))
	for _, want := range value {
		p = s.seek(p, want)
		places = append(places, p)
		if got, ok := s.at(p); ok && (got == want || isSpace(got) && isSpace(want)) {
			p = p.next(got)
		}
	}
	return places
}

// seek finds the next place of a character. Between two characters of a value the
// source holds only white space, quotes and backslashes; a character that is not
// found (a numeric escape) stays where the search began.
func (s *source) seek(p Pos, want rune) Pos {
	start := p
	for {
		got, ok := s.at(p)
		switch {
		case !ok:
			return start
		case got == want, want == '\n' && got == ' ', want == ' ' && got == '\n':
			return p
		case isSpace(got) || got == '\'' || got == '"' || got == '\\':
			p = p.next(got)
		default:
			return start
		}
	}
}

func isSpace(r rune) bool { return r == ' ' || r == '\n' || r == '\t' || r == '\r' }
