package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/evaluator/rule"
	"github.com/gyre-sec/gyre/evaluator/ruleset"
	"github.com/gyre-sec/gyre/gyre/up"
	"github.com/gyre-sec/gyre/schemas/field"
)

// TestContextExamples loads the configurations of docs/context-cluster.md, whose files need not exist, compiles its conditions and
// looks up the fields that its tables name.
func TestContextExamples(t *testing.T) {
	doc := read(t, "docs/context-cluster.md")
	n := 0
	for _, m := range regexp.MustCompile("(?s)```yaml\n(enricher:.*?)```").FindAllStringSubmatch(doc, -1) {
		n++
		path := filepath.Join(t.TempDir(), "c.yaml")
		if err := os.WriteFile(path, []byte(m[1]), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := daemon.Load(daemon.LoadOptions{Path: path, Sections: up.DefaultConfig().Sections()}); err != nil {
			t.Errorf("%v\n%s", err, m[1])
		}
	}
	for _, m := range regexp.MustCompile("(?s)```\n(evt\\.type .*?)\n```").FindAllStringSubmatch(doc, -1) {
		n++
		text := "rules:\n  - {id: doc, name: Doc, priority: notice, output: x, condition: '" + strings.ReplaceAll(m[1], "'", "''") + "'}\n"
		f, err := rule.Parse("doc", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		set, err := ruleset.Compile([]rule.File{f}, ruleset.Options{})
		if err != nil || len(set.Rules()) != 1 {
			t.Errorf("%s: %v", m[1], err)
		}
	}
	if n < 6 {
		t.Errorf("%d examples were found", n)
	}
	for _, m := range regexp.MustCompile("`((?:k8s|fd|intel|proc|node|container|user)\\.[a-z0-9_.]+)`").FindAllStringSubmatch(doc, -1) {
		if _, ok := field.Lookup(m[1]); !ok && m[1] != "fd.cip" && m[1] != "fd.lip" && m[1] != "fd.rip" {
			t.Errorf("there is no field %s", m[1])
		}
	}
}
