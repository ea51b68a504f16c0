package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	dto "github.com/prometheus/client_model/go"
)

// spoolStatus is what the collector's spool on disk says about itself.
type spoolStatus struct {
	MemoryBatches uint64 `json:"memory_batches"`
	MemoryBytes   uint64 `json:"memory_bytes"`
	DiskBatches   uint64 `json:"disk_batches"`
	DiskBytes     uint64 `json:"disk_bytes"`
	OldestSeconds uint64 `json:"oldest_seconds"`
	Writable      bool   `json:"writable"`
	Errors        uint64 `json:"errors"`
	BadRecords    uint64 `json:"bad_records"`
}

// spoolOf returns nil if the metrics are of no collector with a spool on disk.
func spoolOf(families map[string]*dto.MetricFamily) *spoolStatus {
	const prefix = "gyre_collector_spool_"
	if families[prefix+"disk_bytes"] == nil {
		return nil
	}
	get := func(name string) uint64 { return sum(families[prefix+name]) }
	return &spoolStatus{
		MemoryBatches: get("memory_batches"), MemoryBytes: get("bytes"), DiskBatches: get("disk_batches"), DiskBytes: get("disk_bytes"),
		OldestSeconds: get("oldest_seconds"), Writable: get("disk_writable") == 1, Errors: get("errors_total"), BadRecords: get("bad_records_total"),
	}
}

func (s *spoolStatus) write(b *strings.Builder) {
	if s == nil {
		return
	}
	fmt.Fprintf(b, "spool      %d batches wait in memory, %d on disk (%s kept there)", s.MemoryBatches, s.DiskBatches, humanize.IBytes(s.DiskBytes))
	if s.MemoryBatches+s.DiskBatches > 0 {
		fmt.Fprintf(b, ", the oldest for %s", time.Duration(s.OldestSeconds)*time.Second)
	}
	b.WriteByte('\n')
	if !s.Writable {
		b.WriteString("           THE DISK CANNOT BE WRITTEN, batches are in memory only\n")
	}
	if s.Errors+s.BadRecords > 0 {
		fmt.Fprintf(b, "           %d errors of the disk, %d torn or damaged records\n", s.Errors, s.BadRecords)
	}
}
