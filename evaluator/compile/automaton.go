package compile

// automaton finds whether any of many substrings is in a text, in one pass: the
// deterministic form of Aho and Corasick's machine, over classes of bytes.
type automaton struct {
	class  [256]uint8
	width  int
	next   []int32 // state*width + class; accepting states are negative
	always bool
}

// maxStates bounds the memory of one automaton.
const maxStates = 1 << 14

// newAutomaton returns nil if the words need more than maxStates states.
func newAutomaton(words []string) *automaton {
	a := &automaton{width: 1}
	total := 1
	for _, w := range words {
		total += len(w)
		a.always = a.always || w == ""
		for i := range len(w) {
			if a.class[w[i]] == 0 {
				if a.width == 256 {
					return nil
				}
				a.class[w[i]] = uint8(a.width)
				a.width++
			}
		}
	}
	if total > maxStates {
		return nil
	}
	a.next = make([]int32, a.width, total*a.width)
	accept := []bool{false}
	for _, w := range words {
		at := 0
		for i := range len(w) {
			edge := at*a.width + int(a.class[w[i]])
			if a.next[edge] == 0 {
				a.next[edge] = int32(len(accept))
				accept = append(accept, false)
				a.next = append(a.next, make([]int32, a.width)...)
			}
			at = int(a.next[edge])
		}
		accept[at] = true
	}
	a.link(accept)
	return a
}

// link turns the tree of words into the automaton: what is missing goes where the longest proper suffix goes.
func (a *automaton) link(accept []bool) {
	fail := make([]int32, len(accept))
	queue := make([]int32, 0, len(accept))
	for c := range a.width {
		if s := a.next[c]; s != 0 {
			queue = append(queue, s)
		}
	}
	for len(queue) > 0 {
		s := queue[0]
		queue = queue[1:]
		accept[s] = accept[s] || accept[fail[s]]
		for c := range a.width {
			edge := int(s)*a.width + c
			to := a.next[int(fail[s])*a.width+c]
			if t := a.next[edge]; t != 0 {
				fail[t] = to
				queue = append(queue, t)
			} else {
				a.next[edge] = to
			}
		}
	}
	for i, s := range a.next {
		if accept[s] {
			a.next[i] = -1
		}
	}
}

func (a *automaton) any(s string) bool {
	if a.always {
		return true
	}
	at, next, width := int32(0), a.next, int32(a.width)
	for i := 0; i < len(s); i++ {
		at = next[at*width+int32(a.class[s[i]])]
		if at < 0 {
			return true
		}
	}
	return false
}
