// Package schemas holds no code: its packages are the contract between the stages.
package schemas

import (
	"os/exec"
	"strings"
	"testing"
)

// TestBoundaries keeps the contract free of everything but a msgpack codec.
func TestBoundaries(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", "./...").CombinedOutput()
	if err != nil {
		t.Fatalf("list packages: %v\n%s", err, out)
	}
	for p := range strings.FieldsSeq(string(out)) {
		if !strings.HasPrefix(p+"/", "github.com/gyre-sec/gyre/schemas/") && !strings.HasPrefix(p, "github.com/vmihailenco/") {
			t.Errorf("schemas depends on %s", p)
		}
	}
}
