package compile

// trie finds which of many prefixes a string has, one step per byte.
type trie struct{ nodes []trieNode }

// trieNode has a child for the bytes from lo on; 0 is no child, as the root is nobody's.
type trieNode struct {
	end  bool
	lo   byte
	next []int32
}

func newTrie(words []string) *trie {
	t := &trie{nodes: make([]trieNode, 1)}
	for _, w := range words {
		at := int32(0)
		for i := range len(w) {
			at = t.child(at, w[i])
		}
		t.nodes[at].end = true
	}
	return t
}

func (t *trie) child(at int32, c byte) int32 {
	n := &t.nodes[at]
	switch {
	case len(n.next) == 0:
		n.lo, n.next = c, make([]int32, 1)
	case c < n.lo:
		n.next = append(make([]int32, n.lo-c), n.next...)
		n.lo = c
	case int(c-n.lo) >= len(n.next):
		n.next = append(n.next, make([]int32, int(c-n.lo)+1-len(n.next))...)
	}
	i := c - n.lo
	if n.next[i] == 0 {
		n.next[i] = int32(len(t.nodes))
		t.nodes = append(t.nodes, trieNode{})
	}
	return t.nodes[at].next[i]
}

// prefix tells whether s starts with one of the words.
func (t *trie) prefix(s string) bool {
	n := &t.nodes[0]
	for i := 0; i < len(s); i++ {
		if n.end {
			return true
		}
		c := s[i] - n.lo
		if int(c) >= len(n.next) || n.next[c] == 0 {
			return false
		}
		n = &t.nodes[n.next[c]]
	}
	return n.end
}

// path tells whether s is one of the words or goes on with a slash after it.
func (t *trie) path(s string) bool {
	n := &t.nodes[0]
	for i := 0; i < len(s); i++ {
		if n.end && s[i] == '/' {
			return true
		}
		c := s[i] - n.lo
		if int(c) >= len(n.next) || n.next[c] == 0 {
			return false
		}
		n = &t.nodes[n.next[c]]
	}
	return n.end
}

// deepest is the number of the longest word that s starts with, 0 for none (the empty word has it too).
func (t *trie) deepest(s string) int32 {
	n, best := &t.nodes[0], int32(0)
	for i := 0; i < len(s); i++ {
		c := s[i] - n.lo
		if int(c) >= len(n.next) || n.next[c] == 0 {
			break
		}
		at := n.next[c]
		if n = &t.nodes[at]; n.end {
			best = at
		}
	}
	return best
}
