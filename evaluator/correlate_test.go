package evaluator

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/bus/bustest"
	"github.com/gyre-sec/gyre/evaluator/ruletest"
	"github.com/gyre-sec/gyre/schemas/alertv1"
)

const thresholdRule = `rules:
  - id: storm
    name: Storm
    kind: threshold
    by: [proc.name]
    within: 1m
    count: 3
    condition: evt.type == "execve" && proc.name == "tick"
    output: "%count times %proc.name on %nodes"
    priority: notice
`

// TestThreshold: matches of a correlation rule become signals, and three of them one alert that names them.
func TestThreshold(t *testing.T) {
	b := bustest.New(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "r.yaml"), []byte(thresholdRule), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := DefaultConfig()
	cfg.Builtin, cfg.Dirs = false, []string{dir}
	cfg.Correlate.OutOfOrder = 200 * time.Millisecond
	start(t, b, cfg)
	for i := range 3 {
		data, err := ruletest.Batch(ruletest.Case{
			Event:   ruletest.Event{Kind: "execve", Seq: uint64(i + 1), At: time.Duration(i) * time.Second, Args: map[string]any{"filename": "/opt/tick"}},
			Process: &ruletest.Process{Name: "tick", Exe: "/opt/tick", Args: []string{"tick"}, Ancestors: []ruletest.Process{{Name: "sh"}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		publish(t, b, string(rune('a'+i)), data)
		publish(t, b, string(rune('k'+i)), data) // evaluated twice, signalled once
	}
	until(t, b, bus.StreamSignals, 3)
	a, err := alertv1.Unmarshal(until(t, b, bus.StreamAlerts, 1)[0].Data)
	if err != nil {
		t.Fatal(err)
	}
	if a.RuleID != "storm" || len(a.Events) != 3 || a.Events[0].Seq != 1 || a.Events[2].Process != "tick" || a.Output != "3 times tick on test" || len(a.Lineage) != 2 || !strings.HasPrefix(a.Ruleset, "sha256:") {
		t.Errorf("%+v", a)
	}
}
