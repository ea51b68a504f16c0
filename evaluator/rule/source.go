package rule

// Source is the text of a file, in which the places of YAML scalars are found.
type Source struct{ s *source }

// NewSource splits a file into lines.
func NewSource(data string) Source { return Source{newSource(data)} }

// Text makes a Text of a scalar's value, which begins at start: a block scalar at the beginning
// of the line after its indicator. Both may differ by folding, indentation, quotes and escapes.
func (s Source) Text(start Pos, value string) Text {
	x := Text{Value: value, Pos: start}
	x.places = s.s.align([]rune(value), start)
	if len(x.places) > 0 {
		x.Pos = x.places[0]
	}
	return x
}
