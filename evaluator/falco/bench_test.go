package falco_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gyre-sec/gyre/evaluator/falco"
	"github.com/gyre-sec/gyre/evaluator/ruleset"
)

// BenchmarkLoad loads the official stable and incubating rules; with more rules, as many times under other names.
func BenchmarkLoad(b *testing.B) {
	text := string(read(b, material(b, filepath.Join("rules", "falco_rules.yaml")))) + "\n" +
		string(read(b, material(b, filepath.Join("rules", "falco-incubating_rules.yaml"))))
	for _, times := range []int{1, 18} {
		var all strings.Builder
		all.WriteString(text)
		for i := 1; i < times; i++ {
			for part := range strings.SplitSeq(text, "\n- ") {
				if strings.HasPrefix(part, "rule:") {
					all.WriteString("\n- " + strings.Replace(part, "rule: ", fmt.Sprintf("rule: %d ", i), 1))
				}
			}
		}
		data := []byte(all.String())
		l := falco.New(falco.Options{})
		if res := l.Load("f", data); !res.Successful {
			b.Fatal(res)
		}
		n := len(l.Rules())
		b.Run(fmt.Sprintf("rules=%d", n), func(b *testing.B) {
			for b.Loop() {
				l := falco.New(falco.Options{})
				l.Load("f", data)
			}
		})
		b.Run(fmt.Sprintf("compiled/rules=%d", n), func(b *testing.B) {
			for b.Loop() {
				if _, err := ruleset.Compile(l.Native(true), ruleset.Options{MaxRules: 20_000}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
