package docs

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gyre-sec/gyre/evaluator/rules"
)

const rulesDoc = "docs/rules-shipped.md"

const rulesHead = `# Shipped rules

Made from the rule files by ` + "`make docs`" + `; do not edit. Each rule is a directory of ` + "`evaluator/rules`" + `: its name leads to why it matters, what a benign cause looks like and
how to tune it. Rules that are off are switched on by an override (` + "`enabled: true`" + `, see [rules.md](rules.md)). How often they fire in ordinary work is measured in
[rules-noise.md](rules-noise.md).

`

// rulesPage lists the shipped rules by id.
func rulesPage(t *testing.T) string {
	files, err := rules.Files()
	if err != nil {
		t.Fatal(err)
	}
	var rows strings.Builder
	count, off := 0, 0
	for _, f := range files {
		for _, r := range f.Rules {
			state := "on"
			if !r.Enabled {
				state, off = "off", off+1
			}
			var mitre []string
			for _, id := range r.MITRE {
				name, _ := rules.Technique(id)
				mitre = append(mitre, id+" "+name)
			}
			count++
			fmt.Fprintf(&rows, "| [`%s`](../evaluator/rules/%s/README.md) | %s | %s | %s | %s | %s |\n", r.ID, r.ID, r.Name, r.Priority, state, strings.Join(mitre, ", "), strings.Join(r.Tags, ", "))
		}
	}
	return rulesHead + fmt.Sprintf("%d rules, %d of them off by default.\n\n| id | name | priority | default | MITRE ATT&CK | tags |\n|---|---|---|---|---|---|\n", count, off) + rows.String()
}

// TestRulesPage keeps docs/rules-shipped.md what the rule files say.
func TestRulesPage(t *testing.T) {
	want := rulesPage(t)
	if *update {
		if err := os.WriteFile(filepath.Join(root, rulesDoc), []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got := read(t, rulesDoc); got != want {
		t.Errorf("%s is not what the rule files say: run make docs", rulesDoc)
	}
}
