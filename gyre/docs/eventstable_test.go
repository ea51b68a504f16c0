package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/gyre/up"
)

const eventsTable = "docs/events-table.md"

// TestEventsTableConfiguration loads the page's example, and checks its condition.
func TestEventsTableConfiguration(t *testing.T) {
	m := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindStringSubmatch(read(t, eventsTable))
	if m == nil {
		t.Fatal("the page has no example")
	}
	path := filepath.Join(t.TempDir(), "gyre.yaml")
	if err := os.WriteFile(path, []byte(m[1]), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := up.DefaultConfig()
	if err := daemon.Load(daemon.LoadOptions{Path: path, Sections: cfg.Sections(), Environ: []string{}}); err != nil {
		t.Fatal(err)
	}
	if cfg.Evaluator.StoreEvents == "" {
		t.Error("the example stores nothing")
	}
	if err := cfg.Evaluator.Validate(); err != nil {
		t.Error(err)
	}
}

// TestEventsTableColumns: the page lists every column of the table, and no other.
func TestEventsTableColumns(t *testing.T) {
	_, page, _ := strings.Cut(read(t, eventsTable), "## Columns")
	page, _, _ = strings.Cut(page, "\n## ")
	listed := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| (`[^|]*) \\|").FindAllStringSubmatch(page, -1) {
		for _, c := range regexp.MustCompile("`([a-z_0-9]+)`").FindAllStringSubmatch(row[1], -1) {
			listed[c[1]] = true
		}
	}
	table, _, _ := strings.Cut(read(t, "sink/clickhouse/migrations/0090_events.sql"), "ENGINE")
	for _, c := range regexp.MustCompile(`(?m)^    ([a-z][a-z_0-9]*) `).FindAllStringSubmatch(table, -1) {
		if !listed[c[1]] {
			t.Errorf("%s does not list the column %s", eventsTable, c[1])
		}
		delete(listed, c[1])
	}
	for c := range listed {
		t.Errorf("%s lists %s, which is no column", eventsTable, c)
	}
}
