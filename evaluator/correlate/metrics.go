package correlate

import (
	"maps"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	signals, alerts, folded, evicted, overflow *prometheus.CounterVec
	late                                       *prometheus.CounterVec
	bad, conflicts, snapshots, lost, failed    prometheus.Counter
	keys, bytes, partitions, members           prometheus.Gauge
	snapshotBytes                              prometheus.Gauge
	seconds                                    prometheus.Histogram
	last                                       Stats
}

func newMetrics(reg prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "gyre_correlate_" + name, Help: help})
	}
	vec := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "gyre_correlate_" + name, Help: help}, []string{label})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: "gyre_correlate_" + name, Help: help})
	}
	m := &metrics{
		signals:       vec("signals_total", "Signals taken into windows, read again ones again.", "rule"),
		alerts:        vec("alerts_total", "Alerts raised, by several owners of a partition or after a restart again; they have the same ids.", "rule"),
		folded:        vec("folded_total", "Matches in the quiet time after an alert of their key.", "rule"),
		evicted:       vec("keys_evicted_total", "Keys forgotten before their time because of the bounds on keys and memory.", "rule"),
		overflow:      vec("overflow_total", "Events of a key beyond its bounds: taken out of order or forgotten before their time.", "rule"),
		late:          vec("late_total", "Signals that came too late to be put in order, by what became of them: taken, dropped (too old), duplicate (seen before).", "result"),
		bad:           counter("bad_signals_total", "Signals that do not decode, and signals of rules or steps that are not in force here."),
		lost:          counter("alerts_lost_total", "Alerts that no stream takes."),
		failed:        counter("condition_errors_total", "Conditions across steps that ended in an error, which counts as no match."),
		conflicts:     counter("fenced_total", "Partitions given up because another correlator had taken them."),
		snapshots:     counter("snapshots_total", "Snapshots of partitions stored."),
		keys:          gauge("keys", "Keys remembered."),
		bytes:         gauge("state_bytes", "About what the keys take."),
		partitions:    gauge("partitions", "Partitions that this correlator owns, of 64."),
		members:       gauge("members", "Correlators that live."),
		snapshotBytes: gauge("snapshot_bytes", "Size of the last snapshot of a partition, compressed."),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "gyre_correlate_snapshot_seconds", Help: "Time to store the snapshot of one partition.", Buckets: prometheus.ExponentialBuckets(0.001, 4, 8),
		}),
	}
	reg.MustRegister(m.signals, m.alerts, m.folded, m.evicted, m.overflow, m.late, m.bad, m.lost, m.failed, m.conflicts, m.snapshots, m.keys, m.bytes, m.partitions, m.members, m.snapshotBytes, m.seconds)
	m.last = NewBudget(Limits{}).Stats
	return m
}

// from adds what the budget counted since the last time.
func (m *metrics) from(b *Budget) {
	keys, bytes := b.Held()
	m.keys.Set(float64(keys))
	m.bytes.Set(float64(bytes))
	for _, x := range []struct {
		vec       *prometheus.CounterVec
		now, last map[string]uint64
	}{
		{m.signals, b.Signals, m.last.Signals}, {m.alerts, b.Alerts, m.last.Alerts}, {m.folded, b.Folded, m.last.Folded}, {m.evicted, b.Evicted, m.last.Evicted}, {m.overflow, b.Overflow, m.last.Overflow},
	} {
		for _, id := range slices.Sorted(maps.Keys(x.now)) {
			x.vec.WithLabelValues(id).Add(float64(x.now[id] - x.last[id]))
			x.last[id] = x.now[id]
		}
	}
	for _, x := range []struct {
		c         prometheus.Counter
		now, last *uint64
	}{
		{m.late.WithLabelValues("taken"), &b.Late, &m.last.Late},
		{m.late.WithLabelValues("dropped"), &b.Dropped, &m.last.Dropped},
		{m.late.WithLabelValues("duplicate"), &b.Duplicates, &m.last.Duplicates},
		{m.bad, &b.Unknown, &m.last.Unknown},
		{m.failed, &b.Errors, &m.last.Errors},
	} {
		x.c.Add(float64(*x.now - *x.last))
		*x.last = *x.now
	}
}
