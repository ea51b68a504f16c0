package compile

import (
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
)

// TestMatchers compares the fast form of every test with the plain one, on texts and patterns over few letters.
func TestMatchers(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	word := func(letters string, n int) string {
		var b strings.Builder
		for range r.IntN(n) {
			b.WriteByte(letters[r.IntN(len(letters))])
		}
		return b.String()
	}
	letters := map[mode]string{modeGlob: "ab/*?[]!-", modePath: "ab/", modeCIDR: "10.:/f"}
	nets := []string{"10.0.0.0/8", "10.1.0.0/16", "::/0", "fe80::/10", "0.0.0.0/0", "::ffff:1.0.0.0/100", "1.1.1.1/32", "10.0.0.0/33"}
	addrs := []string{"10.0.0.1", "10.1.2.3", "1.1.1.1", "::1", "fe80::1", "fe80::1%eth0", "::ffff:10.0.0.1", "nothing", ""}
	for m := range modeRegex {
		from := letters[m]
		if from == "" {
			from = "ab"
		}
		for range 20_000 {
			pats := make([]string, r.IntN(12))
			for i := range pats {
				pats[i] = word(from, 6)
				if m == modeCIDR {
					pats[i] = nets[r.IntN(len(nets))]
				}
			}
			s := word("ab/", 9)
			if m == modeCIDR {
				s = addrs[r.IntN(len(addrs))]
			}
			p := newPattern(m, false, pats...)
			if got, want := p.matcher()(s), p.holds(s); got != want {
				t.Fatalf("%q %s: %v, want %v", s, p, got, want)
			}
		}
	}
}

// TestRegexGate: the literal that gates an expression never keeps a match away.
func TestRegexGate(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	pieces := []string{"a", "b", "ab", "(a|b)", "a?", "b*", "(ab)+", "a{2}", ".", "^", "$", "[ab]", "(?:a|)", "(?i:a)", "(?i)b", "\\b", "(a(b)a)", "é", "\\x{fffd}", "(?m)^", "(?s)."}
	texts := []string{"a", "b", "A", "é", "\xff", "\n", "ab", "/"}
	matched := 0
	for range 30_000 {
		pat, s := "", ""
		for range 1 + r.IntN(4) {
			pat += pieces[r.IntN(len(pieces))]
		}
		for range r.IntN(6) {
			s += texts[r.IntN(len(texts))]
		}
		re, err := regexp.Compile(pat)
		if err != nil {
			continue
		}
		want := re.MatchString(s)
		if want {
			matched++
		}
		if got := compileRegex(pat)(s); got != want {
			t.Fatalf("%q on %q: %v, want %v", pat, s, got, want)
		}
	}
	if matched < 5000 {
		t.Errorf("only %d matches", matched)
	}
}

func BenchmarkContains(b *testing.B) {
	const text = "/usr/lib/gcc/x86_64-linux-gnu/12/cc1 -quiet -imultiarch x86_64-linux-gnu main.c -O2 -o /tmp/ccX.s"
	words := []string{"nc -e", "bash -i", "/dev/tcp", "base64 -d", "curl", "wget", "xmrig", "stratum", "minerd", "python -c", "perl -e", "socat"}
	b.Run("automaton", func(b *testing.B) {
		a := newAutomaton(words)
		for b.Loop() {
			a.any(text)
		}
	})
	b.Run("each", func(b *testing.B) {
		for b.Loop() {
			for _, w := range words {
				if strings.Contains(text, w) {
					b.Fatal(w)
				}
			}
		}
	})
}
