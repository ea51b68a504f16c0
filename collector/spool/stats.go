package spool

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// counts are the troubles of a [Disk] since it was made.
type counts struct {
	skipped     uint64 // batches that were not written to disk
	writeErrors uint64
	readErrors  uint64
	syncErrors  uint64
	torn        uint64
	corrupt     uint64
}

// Stats is what a [Disk] holds.
type Stats struct {
	// MemoryBatches are waiting or on their way in memory, DiskBatches are waiting on disk only.
	MemoryBatches, DiskBatches int
	// MemoryBytes is data, DiskBytes the size of the files with what is kept after it was stored.
	MemoryBytes int
	DiskBytes   int64
	// Oldest is the age of the oldest batch that waits; on disk to the accuracy of a segment, whose age it is then.
	Oldest time.Duration
	// Writable says whether the last write to the disk went well.
	Writable bool
}

// Stats returns what the Disk holds.
func (d *Disk) Stats() Stats {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stats()
}

func (d *Disk) stats() Stats {
	if !d.opened {
		return Stats{}
	}
	s := Stats{MemoryBatches: d.queue.count, DiskBatches: d.waiting(), MemoryBytes: d.bytes, DiskBytes: d.total, Writable: !d.down}
	var oldest time.Time
	if e := d.queue.front(); e != nil {
		oldest = e.put
	}
	for _, seg := range d.segs {
		if seg.waiting > 0 && (oldest.IsZero() || seg.created.Before(oldest)) {
			oldest = seg.created
		}
	}
	if !oldest.IsZero() {
		s.Oldest = max(0, time.Since(oldest))
	}
	return s
}

func gauge(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("gyre_collector_spool_"+name, help, nil, nil)
}

// descs are the metrics of a Disk.
type descs struct {
	memoryBatches, diskBatches, diskBytes, oldest, writable, skipped, errors, bad *prometheus.Desc
}

func newDescs() descs {
	return descs{
		memoryBatches: gauge("memory_batches", "Batches that wait in memory."),
		diskBatches:   gauge("disk_batches", "Batches that wait on disk only."),
		diskBytes:     gauge("disk_bytes", "Size of the files of the spool, with what is kept after it was stored."),
		oldest:        gauge("oldest_seconds", "Age of the oldest batch that waits, at most."),
		writable:      gauge("disk_writable", "1 if the last write to the disk of the spool went well, else 0."),
		skipped:       gauge("unwritten_batches_total", "Batches that were never on disk, because it could not be written or was too slow."),
		errors:        prometheus.NewDesc("gyre_collector_spool_errors_total", "Errors of the disk of the spool, by what was being done: write, read or sync.", []string{"doing"}, nil),
		bad:           prometheus.NewDesc("gyre_collector_spool_bad_records_total", "Records of the spool that were torn by a crash, or damaged.", []string{"kind"}, nil),
	}
}

// Describe sends the descriptions of the metrics.
func (d *Disk) Describe(c chan<- *prometheus.Desc) { prometheus.DescribeByCollect(d, c) }

// Collect sends the metrics.
func (d *Disk) Collect(c chan<- prometheus.Metric) {
	d.mu.Lock()
	s := d.stats()
	var n counts
	if d.opened || d.over {
		n = d.count
	}
	d.mu.Unlock()
	x := newDescs()
	send := func(desc *prometheus.Desc, t prometheus.ValueType, v float64, labels ...string) {
		c <- prometheus.MustNewConstMetric(desc, t, v, labels...)
	}
	send(x.memoryBatches, prometheus.GaugeValue, float64(s.MemoryBatches))
	send(x.diskBatches, prometheus.GaugeValue, float64(s.DiskBatches))
	send(x.diskBytes, prometheus.GaugeValue, float64(s.DiskBytes))
	send(x.oldest, prometheus.GaugeValue, s.Oldest.Seconds())
	writable := 0.0
	if s.Writable {
		writable = 1
	}
	send(x.writable, prometheus.GaugeValue, writable)
	send(x.skipped, prometheus.CounterValue, float64(n.skipped))
	send(x.errors, prometheus.CounterValue, float64(n.writeErrors), "write")
	send(x.errors, prometheus.CounterValue, float64(n.readErrors), "read")
	send(x.errors, prometheus.CounterValue, float64(n.syncErrors), "sync")
	send(x.bad, prometheus.CounterValue, float64(n.torn), "torn")
	send(x.bad, prometheus.CounterValue, float64(n.corrupt), "corrupt")
}
