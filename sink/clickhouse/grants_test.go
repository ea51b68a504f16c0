package clickhouse_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestDocumentedSQLParses has a real server parse the statements of docs/clickhouse.md. It cannot run them: the embedded server
// has nowhere to put users.
func TestDocumentedSQLParses(t *testing.T) {
	doc, err := os.ReadFile("../../docs/clickhouse.md")
	if err != nil {
		t.Fatal(err)
	}
	srv, n := server(t), 0
	for _, b := range regexp.MustCompile("(?s)```sql\n(.*?)```").FindAllStringSubmatch(string(doc), -1) {
		for stmt := range strings.SplitSeq(strings.TrimSpace(b[1]), ";\n") {
			exec(t, srv, "EXPLAIN AST "+strings.TrimSuffix(stmt, ";"))
			n++
		}
	}
	if n < 7 {
		t.Errorf("%d statements", n)
	}
}
