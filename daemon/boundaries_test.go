package daemon

import (
	"os/exec"
	"strings"
	"testing"
)

// TestBoundaries holds the module to its place: it imports nothing of ours and knows no event, NATS or ClickHouse.
func TestBoundaries(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	const ours = "github.com/gyre-sec/gyre/"
	for dep := range strings.FieldsSeq(string(out)) {
		own := strings.HasPrefix(dep, ours) && dep != ours+"daemon" && !strings.HasPrefix(dep, ours+"daemon/")
		if own || strings.Contains(dep, "nats") || strings.Contains(dep, "ClickHouse") || strings.Contains(dep, "cilium/ebpf") || strings.Contains(dep, "cel-go") {
			t.Errorf("daemon depends on %s", dep)
		}
	}
}
