package docs

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/gyre/up"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/catalog"
)

// TestOutputExamples loads every example as a configuration, and finds one of each type.
func TestOutputExamples(t *testing.T) {
	doc := read(t, "docs/outputs.md")
	seen := map[string]bool{}
	for i, m := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(doc, -1) {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "gyre.yaml")
			if err := os.WriteFile(path, []byte(m[1]), 0o600); err != nil {
				t.Fatal(err)
			}
			cfg := up.DefaultConfig()
			if err := daemon.Load(daemon.LoadOptions{Path: path, Sections: cfg.Sections(), Environ: []string{}}); err != nil {
				t.Fatalf("%v\n%s", err, m[1])
			}
			for _, o := range cfg.Sink.Outputs {
				seen[o.Type] = true
			}
		})
	}
	for _, kind := range catalog.Kinds() {
		if !seen[kind] {
			t.Errorf("docs/outputs.md has no example of type %s", kind)
		}
	}
	for name := range notify.Functions() {
		if !strings.Contains(doc, "`"+name+" ") {
			t.Errorf("docs/outputs.md does not name the function %s", name)
		}
	}
	var headings []string
	for _, m := range regexp.MustCompile(`(?m)^### (.*)$`).FindAllStringSubmatch(doc, -1) {
		headings = append(headings, strings.Split(m[1], ", ")...)
	}
	slices.Sort(headings)
	if !slices.Equal(headings, catalog.Kinds()) {
		t.Errorf("headings %v, types %v", headings, catalog.Kinds())
	}
}
