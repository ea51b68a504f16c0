package clickhouse

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/jedib0t/go-pretty/v6/table"
)

// Result is the answer to a question: Rows[i][j] is the value of Columns[j].
type Result struct {
	Columns []string
	Rows    [][]any
}

// Query answers a question. The server refuses what would write, and stops what takes too long.
func (s *Store) Query(ctx context.Context, sql string) (*Result, error) {
	ctx = ch.Context(ctx, ch.WithSettings(ch.Settings{"readonly": 2, "max_execution_time": int(s.cfg.QueryTimeout / time.Second)}))
	rows, err := s.conn.Query(ctx, strings.TrimRight(strings.TrimSpace(sql), ";"))
	if err != nil {
		return nil, queryError(err)
	}
	defer func() { _ = rows.Close() }()
	r := &Result{Columns: rows.Columns()}
	types := rows.ColumnTypes()
	for rows.Next() {
		ptrs := make([]any, len(types))
		for i, t := range types {
			ptrs[i] = reflect.New(t.ScanType()).Interface()
		}
		if err := rows.Scan(ptrs...); err != nil {
			return nil, queryError(err)
		}
		row := make([]any, len(ptrs))
		for i, p := range ptrs {
			row[i] = reflect.ValueOf(p).Elem().Interface()
		}
		r.Rows = append(r.Rows, row)
	}
	if err := rows.Err(); err != nil {
		return nil, queryError(err)
	}
	return r, nil
}

func queryError(err error) error {
	if ex, ok := errors.AsType[*ch.Exception](err); ok {
		return fmt.Errorf("%w: ClickHouse error %d: %s", ErrQuery, ex.Code, ex.Message)
	}
	return fmt.Errorf("%w: %w", ErrQuery, err)
}

// Write writes the result as "table", "json" (one object per line) or "csv", safe for spreadsheets.
func (r *Result) Write(w io.Writer, format string) error {
	switch format {
	case "table":
		return r.writeTable(w)
	case "json":
		return r.writeJSON(w)
	case "csv":
		return r.WriteCSV(w, false)
	default:
		return fmt.Errorf("unknown format %q, want table, json or csv", format)
	}
}

func (r *Result) writeTable(w io.Writer) error {
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.Style().Format.Header = 0
	head := make(table.Row, len(r.Columns))
	for i, c := range r.Columns {
		head[i] = Printable(c)
	}
	t.AppendHeader(head)
	for _, row := range r.Rows {
		out := make(table.Row, len(row))
		for i, v := range row {
			out[i] = Printable(text(v))
		}
		t.AppendRow(out)
	}
	_, err := fmt.Fprintf(w, "%s\n%d rows\n", t.Render(), len(r.Rows))
	return err
}

func (r *Result) writeJSON(w io.Writer) error {
	for _, row := range r.Rows {
		var b strings.Builder
		for i, v := range row {
			k, err := json.Marshal(r.Columns[i])
			if err != nil {
				return err
			}
			val, err := json.Marshal(jsonValue(v))
			if err != nil {
				return fmt.Errorf("write column %s: %w", r.Columns[i], err)
			}
			b.WriteByte("{,"[min(i, 1)])
			b.Write(k)
			b.WriteByte(':')
			b.Write(val)
		}
		if _, err := fmt.Fprintf(w, "%s}\n", b.String()); err != nil {
			return err
		}
	}
	return nil
}

// jsonValue turns times into RFC 3339 and Array(UInt8) into numbers; the rest stays.
func jsonValue(v any) any {
	switch v := v.(type) {
	case time.Time:
		return v.Format(time.RFC3339Nano)
	case []uint8:
		numbers := make([]int, len(v))
		for i, n := range v {
			numbers[i] = int(n)
		}
		return numbers
	}
	return v
}

func text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case time.Time:
		return v.Format("2006-01-02 15:04:05.999999999")
	case fmt.Stringer:
		return v.String()
	}
	rv := reflect.ValueOf(v)
	switch rv.Kind() {
	case reflect.Pointer:
		if rv.IsNil() {
			return ""
		}
		return text(rv.Elem().Interface())
	case reflect.Slice, reflect.Map, reflect.Struct:
		if b, err := json.Marshal(jsonValue(v)); err == nil {
			return string(b)
		}
	}
	return fmt.Sprint(v)
}

// Printable escapes what would control a terminal.
func Printable(s string) string {
	clean := true
	for _, r := range s {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == '\ufffd' {
			clean = false
			break
		}
	}
	if clean {
		return s
	}
	q := strconv.Quote(s)
	return strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
}
