package celenv

import "strings"

// FNMatch matches all of s as fnmatch(3) does without flags in the C locale: beside what
// [Glob] knows, a backslash takes the next byte literally, ^ negates a set too, and sets
// have classes such as [:digit:]. It takes time in proportion to len(s) * len(pattern) at most.
func FNMatch(s, pattern string) bool { return fnmatch(s, pattern, false) }

// FNMatchFold is [FNMatch] without regard to the case of ASCII letters.
func FNMatchFold(s, pattern string) bool { return fnmatch(s, pattern, true) }

func fnmatch(s, pattern string, fold bool) bool {
	i, p, star, mark := 0, 0, -1, 0
	for i < len(s) {
		if p < len(pattern) && pattern[p] == '*' {
			star, mark = p, i
			p++
			continue
		}
		if p < len(pattern) {
			if n, ok := fnOne(pattern[p:], s[i], fold); ok {
				p += n
				i++
				continue
			}
		}
		if star < 0 {
			return false
		}
		mark++
		p, i = star+1, mark
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// fnOne matches c with the first element of a pattern and returns the element's length.
func fnOne(pattern string, c byte, fold bool) (int, bool) {
	switch pattern[0] {
	case '?':
		return 1, true
	case '\\':
		if len(pattern) == 1 {
			return 1, false // a lone backslash at the end matches nothing
		}
		return 2, same(pattern[1], c, fold)
	case '[':
		if n, in, ok := bracket(pattern, c, fold); ok {
			return n, in
		}
	}
	return 1, same(pattern[0], c, fold)
}

func same(a, b byte, fold bool) bool { return a == b || fold && lowerByte(a) == lowerByte(b) }

// bracket matches c with the set that begins at pattern[0]; ok is false if the set does not end.
func bracket(pattern string, c byte, fold bool) (n int, in, ok bool) {
	i := 1
	not := i < len(pattern) && (pattern[i] == '!' || pattern[i] == '^')
	if not {
		i++
	}
	has := func(lo, hi byte) bool {
		if lo <= c && c <= hi {
			return true
		}
		return fold && (lo <= lowerByte(c) && lowerByte(c) <= hi || lo <= upperByte(c) && upperByte(c) <= hi)
	}
	for first := true; ; first = false {
		if i >= len(pattern) {
			return 0, false, false
		}
		if pattern[i] == ']' && !first {
			return i + 1, in != not, true
		}
		if strings.HasPrefix(pattern[i:], "[:") {
			if end := strings.Index(pattern[i+2:], ":]"); end >= 0 {
				in = in || class(pattern[i+2:i+2+end], c, fold)
				i += end + 4
				continue
			}
		}
		lo, next := setByte(pattern, i)
		hi := lo
		i = next
		if i+1 < len(pattern) && pattern[i] == '-' && pattern[i+1] != ']' {
			hi, i = setByte(pattern, i+1)
		}
		in = in || has(lo, hi)
	}
}

func setByte(pattern string, i int) (byte, int) {
	if pattern[i] == '\\' && i+1 < len(pattern) {
		i++
	}
	return pattern[i], i + 1
}

func class(name string, c byte, fold bool) bool {
	lower, upper := c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z'
	digit := c >= '0' && c <= '9'
	graph := c > ' ' && c < 0x7f
	switch name {
	case "alpha":
		return lower || upper
	case "digit":
		return digit
	case "alnum":
		return lower || upper || digit
	case "lower":
		return lower || fold && upper
	case "upper":
		return upper || fold && lower
	case "space":
		return c == ' ' || c >= '\t' && c <= '\r'
	case "blank":
		return c == ' ' || c == '\t'
	case "punct":
		return graph && !lower && !upper && !digit
	case "graph":
		return graph
	case "print":
		return graph || c == ' '
	case "cntrl":
		return c < ' ' || c == 0x7f
	case "xdigit":
		return digit || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
	}
	return false
}

func lowerByte(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

func upperByte(c byte) byte {
	if c >= 'a' && c <= 'z' {
		c -= 'a' - 'A'
	}
	return c
}
