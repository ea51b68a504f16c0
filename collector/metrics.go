package collector

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/gyre-sec/gyre/schemas/eventv1"
)

// Reasons why events are lost, besides those of the spool.
const (
	reasonRing      = "ring_buffer_full"
	reasonScratch   = "scratch_busy"
	reasonMalformed = "malformed"
	reasonRefused   = "refused"
)

type metrics struct {
	events     [eventv1.KindCount]prometheus.Counter
	lost       *prometheus.CounterVec
	kept       *prometheus.CounterVec
	policyInfo *prometheus.GaugeVec
	batches    prometheus.Counter
	bytes      prometheus.Counter
	errors     *prometheus.CounterVec
	processes  prometheus.Gauge
	evicted    prometheus.Gauge
	spoolBytes prometheus.Gauge
	containers *prometheus.CounterVec
	helperUp   prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	events := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "gyre_collector_events_total", Help: "Events put into batches, by kind."}, []string{"kind"})
	m := &metrics{
		lost:       prometheus.NewCounterVec(prometheus.CounterOpts{Name: "gyre_collector_lost_events_total", Help: "Events lost on this node, by reason and kind."}, []string{"reason", "kind"}),
		kept:       prometheus.NewCounterVec(prometheus.CounterOpts{Name: "gyre_collector_kept_back_events_total", Help: "Events that the capture policy keeps back in the kernel: muted or folded, by kind."}, []string{"reason", "kind"}),
		policyInfo: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "gyre_collector_capture_policy_info", Help: "The capture policy in force: where it comes from, and its digest."}, []string{"source", "digest"}),
		batches:    prometheus.NewCounter(prometheus.CounterOpts{Name: "gyre_collector_batches_total", Help: "Batches made."}),
		bytes:      prometheus.NewCounter(prometheus.CounterOpts{Name: "gyre_collector_batch_bytes_total", Help: "Bytes of batches before compression."}),
		errors:     prometheus.NewCounterVec(prometheus.CounterOpts{Name: "gyre_collector_errors_total", Help: "Things that went wrong, by what was being done."}, []string{"doing"}),
		processes:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "gyre_collector_processes", Help: "Processes in the table, live and recently ended."}),
		evicted:    prometheus.NewGauge(prometheus.GaugeOpts{Name: "gyre_collector_processes_evicted", Help: "Live processes that left the table because it was full."}),
		spoolBytes: prometheus.NewGauge(prometheus.GaugeOpts{Name: "gyre_collector_spool_bytes", Help: "Bytes of batches that NATS has not stored yet."}),
	}
	m.containers = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "gyre_collector_container_facts_total", Help: "Facts of containers told: found, unknown (nothing on this node knows the container) or forgotten."}, []string{"result"})
	m.helperUp = prometheus.NewGauge(prometheus.GaugeOpts{Name: "gyre_collector_container_helper_up", Help: "Whether the helper process that looks at container runtimes is there."})
	reg.MustRegister(m.containers, m.helperUp)
	reg.MustRegister(events, m.lost, m.kept, m.policyInfo, m.batches, m.bytes, m.errors, m.processes, m.evicted, m.spoolBytes)
	for _, k := range eventv1.Kinds() {
		m.events[k] = events.WithLabelValues(k.String())
	}
	return m
}

func (m *metrics) lose(reason string, k eventv1.Kind, n uint64) {
	m.lost.WithLabelValues(reason, k.String()).Add(float64(n))
}

func (m *metrics) keepBack(k eventv1.Kind, muted, folded uint64) {
	if muted > 0 {
		m.kept.WithLabelValues("muted", k.String()).Add(float64(muted))
	}
	if folded > 0 {
		m.kept.WithLabelValues("folded", k.String()).Add(float64(folded))
	}
}

// policy says which capture policy is in force.
func (m *metrics) policy(source, digest string) {
	m.policyInfo.Reset()
	m.policyInfo.WithLabelValues(source, digest).Set(1)
}
