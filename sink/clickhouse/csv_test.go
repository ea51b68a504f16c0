package clickhouse

import (
	"encoding/csv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestCSVFormulas: no cell of a text begins as a formula does, wherever it comes from; numbers, times and what a reader of CSV takes
// for quoting stay.
func TestCSVFormulas(t *testing.T) {
	minus := int64(-5)
	link := "=HYPERLINK(\"http://x\",\"y\")"
	r := Result{Columns: []string{"a", "-b"}, Rows: [][]any{
		{link, "+1"}, {"-1+2", "@SUM(A1)"}, {"\t=1", "\r=1"}, {"a=b", ""}, {int32(-3), -2.5}, {&minus, &link}, {time.Unix(0, 0).UTC(), nil}, {(*string)(nil), []string{"=1"}}, {"'=1", "\"=1"},
	}}
	want := [][]string{
		{"a", "'-b"},
		{"'" + link, "'+1"},
		{"'-1+2", "'@SUM(A1)"},
		{"'\t=1", "'\r=1"},
		{"a=b", ""},
		{"-3", "-2.5"},
		{"-5", "'" + link},
		{"1970-01-01 00:00:00", ""},
		{"", `["=1"]`},
		{"'=1", "\"=1"},
	}
	read := func(raw bool) [][]string {
		var b strings.Builder
		if err := r.WriteCSV(&b, raw); err != nil {
			t.Fatal(err)
		}
		rows, err := csv.NewReader(strings.NewReader(b.String())).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		return rows
	}
	if d := cmp.Diff(want, read(false)); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	for i, row := range read(true) {
		for j, cell := range row {
			if i > 0 && cell != text(r.Rows[i-1][j]) || i == 0 && cell != r.Columns[j] {
				t.Errorf("raw: %q", cell)
			}
		}
	}
}
