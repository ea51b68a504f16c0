package sink

import (
	"os/exec"
	"strings"
	"testing"
)

// TestBoundaries: a sink imports no other worker, the NATS client is the bus's own, and the ClickHouse driver belongs to one package.
func TestBoundaries(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-f", `{{.ImportPath}}:{{join .Imports " "}}`, "./...").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		pkg, imports, _ := strings.Cut(line, ":")
		for p := range strings.FieldsSeq(imports) {
			for _, bad := range []string{"gyre/collector", "gyre/enricher", "gyre/evaluator", "gyre/bpf", "cilium/ebpf", "cel-go", "nats-io/nats.go", "nats-server"} {
				if strings.Contains(p, bad) {
					t.Errorf("%s imports %s", pkg, p)
				}
			}
			if strings.Contains(p, "clickhouse-go") && !strings.Contains(pkg, "sink/clickhouse") {
				t.Errorf("%s imports %s", pkg, p)
			}
			if strings.HasPrefix(p, "github.com/gyre-sec/gyre/sink/clickhouse") && strings.Contains(pkg, "sink/notify") {
				t.Errorf("%s imports %s: outputs know no storage", pkg, p)
			}
		}
	}
}
