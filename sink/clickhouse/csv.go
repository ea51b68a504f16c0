package clickhouse

import (
	"encoding/csv"
	"io"
	"reflect"
	"strings"
)

// formulaStarts are the first characters by which a spreadsheet takes a cell for a formula.
const formulaStarts = "=+-@\t\r"

// WriteCSV writes the result as CSV. A text that a spreadsheet would take for a formula has ' before it, by which the spreadsheet
// takes it for text: texts of alerts come from those who are watched. raw leaves all as it is.
func (r *Result) WriteCSV(w io.Writer, raw bool) error {
	cell := textCell
	if raw {
		cell = func(s string) string { return s }
	}
	c := csv.NewWriter(w)
	head := make([]string, len(r.Columns))
	for i, name := range r.Columns {
		head[i] = cell(name)
	}
	if err := c.Write(head); err != nil {
		return err
	}
	for _, row := range r.Rows {
		out := make([]string, len(row))
		for i, v := range row {
			if out[i] = text(v); !number(v) {
				out[i] = cell(out[i])
			}
		}
		if err := c.Write(out); err != nil {
			return err
		}
	}
	c.Flush()
	return c.Error()
}

// textCell keeps a spreadsheet from taking s for a formula.
func textCell(s string) string {
	if s != "" && strings.ContainsRune(formulaStarts, rune(s[0])) {
		return "'" + s
	}
	return s
}

// number reports whether v is a number, whose sign is no formula.
func number(v any) bool {
	rv := reflect.ValueOf(v)
	for rv.Kind() == reflect.Pointer && !rv.IsNil() {
		rv = rv.Elem()
	}
	return rv.IsValid() && (rv.CanInt() || rv.CanUint() || rv.CanFloat())
}
