package cli

import (
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

func TestSpoolStatus(t *testing.T) {
	for _, tc := range []struct{ name, metrics, want string }{
		{"memory only", "gyre_collector_spool_bytes 5\n", ""},
		{
			"healthy", "gyre_collector_spool_disk_bytes 2048\ngyre_collector_spool_disk_writable 1\n",
			"spool      0 batches wait in memory, 0 on disk (2.0 KiB kept there)\n",
		},
		{
			"in trouble",
			"gyre_collector_spool_disk_bytes 2048\ngyre_collector_spool_disk_writable 0\ngyre_collector_spool_disk_batches 7\ngyre_collector_spool_memory_batches 3\n" +
				"gyre_collector_spool_oldest_seconds 61.5\ngyre_collector_spool_errors_total{doing=\"write\"} 2\ngyre_collector_spool_errors_total{doing=\"sync\"} 1\n" +
				"gyre_collector_spool_bad_records_total{kind=\"torn\"} 1\n",
			"spool      3 batches wait in memory, 7 on disk (2.0 KiB kept there), the oldest for 1m1s\n" +
				"           THE DISK CANNOT BE WRITTEN, batches are in memory only\n           3 errors of the disk, 1 torn or damaged records\n",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			parser := expfmt.NewTextParser(model.UTF8Validation)
			families, err := parser.TextToMetricFamilies(strings.NewReader(tc.metrics))
			if err != nil {
				t.Fatal(err)
			}
			var b strings.Builder
			spoolOf(families).write(&b)
			if b.String() != tc.want {
				t.Errorf("got %q, want %q", b.String(), tc.want)
			}
		})
	}
}
