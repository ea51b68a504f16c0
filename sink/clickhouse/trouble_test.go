package clickhouse_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"

	ch "github.com/ClickHouse/clickhouse-go/v2"

	"github.com/gyre-sec/gyre/sink/clickhouse"
	"github.com/gyre-sec/gyre/sink/clickhouse/embedded"
)

func TestDiagnose(t *testing.T) {
	server := func(code int32, text string) error {
		return fmt.Errorf("insert: %w", &ch.Exception{Code: code, Name: "DB::Exception", Message: text})
	}
	type want struct {
		state               clickhouse.State
		row, split, unknown bool
	}
	for _, c := range []struct {
		name string
		err  error
		want want
	}{
		{"nothing", nil, want{state: clickhouse.StateOK}},
		{"read only", server(164, ""), want{state: clickhouse.StateReadOnly}},
		{"table read only", server(242, ""), want{state: clickhouse.StateReadOnly}},
		{"no space", server(243, ""), want{state: clickhouse.StateDiskFull}},
		{"no space in a text", server(74, "Cannot write to file, errno: 28, strerror: No space left on device"), want{state: clickhouse.StateDiskFull}},
		{"read-only file system", server(76, "Cannot open file: errno: 30, strerror: Read-only file system"), want{state: clickhouse.StateReadOnly}},
		{"memory", server(241, ""), want{state: clickhouse.StateMemory, split: true}},
		{"parts", server(252, "Too many parts (3000)"), want{state: clickhouse.StateSlow}},
		{"partitions", server(252, "Too many partitions for single INSERT block (more than 100)"), want{state: clickhouse.StateSlow, split: true}},
		{"timeout", server(159, ""), want{state: clickhouse.StateSlow}},
		{"too slow", server(160, ""), want{state: clickhouse.StateSlow}},
		{"no table", server(60, ""), want{state: clickhouse.StateSchema}},
		{"no database", server(81, ""), want{state: clickhouse.StateSchema}},
		{"password", server(516, ""), want{state: clickhouse.StateDenied}},
		{"grants", server(497, ""), want{state: clickhouse.StateDenied}},
		{"constraint", server(469, ""), want{state: clickhouse.StateFailing, row: true, split: true}},
		{"new code", server(99999, ""), want{state: clickhouse.StateFailing, split: true, unknown: true}},
		{"schema", fmt.Errorf("%w: newer", clickhouse.ErrSchema), want{state: clickhouse.StateSchema}},
		{"no grant for the schema", fmt.Errorf("%w: %w", clickhouse.ErrSchema, server(497, "")), want{state: clickhouse.StateDenied}},
		{"old server", fmt.Errorf("%w: 24.8", embedded.ErrTooOld), want{state: clickhouse.StateSchema}},
		{"dial", &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}, want{state: clickhouse.StateUnreachable}},
		{"ping", fmt.Errorf("%w: %w", clickhouse.ErrConnect, context.DeadlineExceeded), want{state: clickhouse.StateUnreachable}},
		{"read", &net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, want{state: clickhouse.StateSlow}},
		{"broken", io.EOF, want{state: clickhouse.StateUnreachable}},
		{"other", errors.New("?"), want{state: clickhouse.StateUnreachable}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := clickhouse.Diagnose(c.err)
			if have := (want{got.State, got.Row, got.Split, got.Unknown}); have != c.want {
				t.Errorf("%+v, want %+v", have, c.want)
			}
			if (got.Remedy == "") != (c.err == nil) {
				t.Errorf("remedy %q", got.Remedy)
			}
		})
	}
}
