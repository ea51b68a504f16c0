package rule

// Conjuncts cuts a condition at its outermost &&. The pieces remember their places. A condition
// that is no conjunction, or that cannot be cut (an || or ?: outside of brackets), is one piece.
func (t Text) Conjuncts() []Text {
	runes := []rune(t.Value)
	var cuts []int
	depth := 0
	for i := 0; i < len(runes); i++ {
		if end := skipQuoted(runes, i); end > i {
			i = end - 1
			continue
		}
		switch c := runes[i]; {
		case c == '(' || c == '[' || c == '{':
			depth++
		case c == ')' || c == ']' || c == '}':
			depth--
		case depth == 0 && (c == '?' || c == '|'):
			return []Text{t}
		case depth == 0 && c == '&' && i+1 < len(runes) && runes[i+1] == '&':
			cuts = append(cuts, i)
			i++
		}
	}
	var out []Text
	from := 0
	for _, cut := range append(cuts, len(runes)) {
		out = append(out, t.part(runes, from, cut))
		from = cut + 2
	}
	return out
}

// skipQuoted returns the end of the string or comment that begins at i, i if none does.
func skipQuoted(s []rune, i int) int {
	at := func(j int, c rune) bool { return j < len(s) && s[j] == c }
	if s[i] == '/' && at(i+1, '/') {
		for i < len(s) && s[i] != '\n' {
			i++
		}
		return i
	}
	q := s[i]
	if q != '"' && q != '\'' {
		return i
	}
	raw := i > 0 && (s[i-1] == 'r' || s[i-1] == 'R') && (i < 2 || !wordRune(s[i-2]))
	n := 1
	if at(i+1, q) && at(i+2, q) {
		n = 3
	}
	for j := i + n; j < len(s); j++ {
		switch {
		case s[j] == '\\' && !raw:
			j++
		case s[j] == q && (n == 1 || at(j+1, q) && at(j+2, q)):
			return j + n
		}
	}
	return len(s)
}

func wordRune(c rune) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_'
}

func (t Text) part(runes []rune, from, to int) Text {
	for from < to && isSpace(runes[from]) {
		from++
	}
	for to > from && isSpace(runes[to-1]) {
		to--
	}
	x := Text{Value: string(runes[from:to]), Pos: t.At(from)}
	if to <= len(t.places) {
		x.places = t.places[from:to]
	}
	return x
}

// Names tells whether the condition reads a variable below one of the names: download.fd.name is below download.
func (t Text) Names(names []string) bool {
	s := []rune(t.Value)
	for i := 0; i < len(s); i++ {
		if end := skipQuoted(s, i); end > i {
			i = end - 1
			continue
		}
		if !wordRune(s[i]) {
			continue
		}
		j := i
		for j < len(s) && wordRune(s[j]) {
			j++
		}
		head := i == 0 || s[i-1] != '.'
		for _, n := range names {
			if head && j < len(s) && s[j] == '.' && string(s[i:j]) == n {
				return true
			}
		}
		i = j - 1
	}
	return false
}

// Join is the conjunction of pieces of one text. Each keeps its places; what is put between them has that of the piece after it.
func Join(pieces []Text) Text {
	var out Text
	for i, p := range pieces {
		glue := "("
		if i > 0 {
			glue = " && ("
		} else {
			out.Pos = p.Pos
		}
		add := func(s string, at Pos) {
			for range []rune(s) {
				out.places = append(out.places, at)
			}
			out.Value += s
		}
		add(glue, p.Pos)
		out.Value += p.Value
		for k := range []rune(p.Value) {
			out.places = append(out.places, p.At(k))
		}
		add("\n)", p.Pos) // a piece may end in a comment
	}
	return out
}
