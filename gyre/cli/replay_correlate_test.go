package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gyre-sec/gyre/evaluator/recording"
	"github.com/gyre-sec/gyre/schemas/eventv1"
	"github.com/gyre-sec/gyre/schemas/eventv1/eventtest"
	"github.com/gyre-sec/gyre/schemas/subject"
)

const replayCorrelation = `rules:
  - id: many-deleted
    name: Many deleted
    kind: threshold
    within: 1m
    count: 5
    condition: evt.type == "unlinkat"
    output: "%count files deleted on %nodes"
    priority: error
`

// TestReplayCorrelation: a correlation rule is replayed over a recording, the same on one worker and on four, and is in the report, the page and the difference.
func TestReplayCorrelation(t *testing.T) {
	file, page := filepath.Join(t.TempDir(), "r.gyre"), filepath.Join(t.TempDir(), "r.html")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	w, err := recording.NewWriter(f)
	if err != nil {
		t.Fatal(err)
	}
	b := eventv1.NewBuilder()
	for i := range 12 {
		node := fmt.Sprintf("web-%d", i%3)
		eventtest.Sample(b, node, uint64(1+64*(i/3)), 64)
		if err := w.Add(subject.Enriched("syscall", node), uint64(i+1), time.Unix(0, eventtest.BaseTime+int64(i)), b.Encode(), false); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(true); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	rules, plain := write(t, "many.yaml", replayCorrelation), write(t, "plain.yaml", replayRules)
	replay := func(args ...string) string {
		t.Helper()
		code, out, errs := run(append([]string{"replay", "-q", "--no-builtin", "--from-file", file, "--rules", plain, "--rules", rules}, args...)...)
		if code != 0 {
			t.Fatalf("%q: exit code %d\n%s%s", args, code, out, errs)
		}
		return out
	}
	one, four := replay("--alerts", "--workers", "1"), replay("--alerts", "--workers", "4")
	if one != four {
		t.Errorf("one worker:\n%s\nfour:\n%s", one, four)
	}
	if n := strings.Count(one, `"rule_id":"many-deleted"`); n != 3 || !strings.Contains(one, "5 files deleted on web-1") {
		t.Errorf("%d alerts of three nodes:\n%s", n, one)
	}
	text := replay("--diff", plain, "--html", page)
	data, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, report := range []string{text, string(data)} {
		if !strings.Contains(report, "3 new, 0 vanished") || !strings.Contains(report, "5 files deleted on web-0") {
			t.Errorf("%s", report)
		}
	}
}
