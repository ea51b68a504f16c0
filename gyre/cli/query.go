package cli

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gyre-sec/gyre/sink/clickhouse"
)

func (a *app) queryCommand() *cobra.Command {
	var format string
	var schema, raw bool
	c := a.connects(&cobra.Command{
		Use: "query SQL | --schema [TABLE]", Short: "Ask ClickHouse", Args: cobra.MaximumNArgs(1),
		Long: "Asks ClickHouse; \"-\" reads the question from standard input. --schema lists the tables to ask, with what their columns mean.\n" +
			"docs/sql.md has worked questions.",
		Example: `  gyre query "SELECT rule, count() FROM alerts GROUP BY rule ORDER BY 2 DESC"
  gyre query --schema alerts`,
		RunE: func(_ *cobra.Command, args []string) error {
			if format != "table" && format != "json" && format != "csv" {
				return fmt.Errorf("unknown format %q, want table, json or csv", format)
			}
			if raw && format != "csv" {
				return fmt.Errorf("--raw is for --format csv, not for %s, which has nothing added", format)
			}
			if schema {
				return a.describe(strings.Join(args, ""), format)
			}
			if len(args) == 0 {
				return fmt.Errorf("a question is missing: give it as an argument, or - to read it from standard input, or ask for --schema")
			}
			sql := args[0]
			if sql == "-" {
				b, err := io.ReadAll(io.LimitReader(os.Stdin, 1<<20))
				if err != nil {
					return fmt.Errorf("read question: %w", err)
				}
				sql = string(b)
			}
			ctx, stop := interruptible()
			defer stop()
			s, err := a.openStore(ctx)
			if err != nil {
				return err
			}
			defer func() { _ = s.Close() }()
			r, err := s.Query(ctx, sql)
			if err != nil {
				return err
			}
			if raw {
				return r.WriteCSV(a.out, true)
			}
			return r.Write(a.out, format)
		},
	})
	c.Flags().BoolVar(&raw, "raw", false, "with csv: leave texts that a spreadsheet takes for formulas as they are; otherwise they begin with '")
	c.Flags().BoolVar(&schema, "schema", false, "list the tables, their columns, types and meanings")
	c.Flags().StringVar(&format, "format", "table", "table, json (one object per line) or csv")
	return c
}

// describe writes the columns of a table; of all tables, after a list of them, if it has no name.
func (a *app) describe(table, format string) error {
	ctx, stop := interruptible()
	defer stop()
	s, err := a.openStore(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	columns, err := s.Describe(ctx, table)
	if err != nil {
		return err
	}
	if table == "" && format == "table" {
		tables := &clickhouse.Result{Columns: []string{"table", "meaning"}}
		for _, t := range clickhouse.Tables() {
			tables.Rows = append(tables.Rows, []any{t.Name, t.Meaning})
		}
		if err := tables.Write(a.out, format); err != nil {
			return err
		}
	}
	r := &clickhouse.Result{Columns: []string{"table", "column", "type", "meaning"}}
	for _, c := range columns {
		r.Rows = append(r.Rows, []any{c.Table, c.Name, c.Type, c.Meaning})
	}
	return r.Write(a.out, format)
}
