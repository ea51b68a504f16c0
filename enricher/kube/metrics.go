package kube

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	synced  *prometheus.GaugeVec
	last    *prometheus.GaugeVec
	errors  *prometheus.CounterVec
	events  *prometheus.CounterVec
	changes *prometheus.CounterVec
	lost    prometheus.Counter
	pods    prometheus.Gauge
	unknown prometheus.Counter
	lag     prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		synced:  prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "gyre_enricher_kube_synced", Help: "1 once all objects of a resource have been read."}, []string{"resource"}),
		last:    prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "gyre_enricher_kube_last_event_timestamp_seconds", Help: "When the cluster told of an object of a resource last."}, []string{"resource"}),
		errors:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "gyre_enricher_kube_watch_errors_total", Help: "Lists and watches of a resource that failed and are tried again."}, []string{"resource"}),
		events:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "gyre_enricher_kube_events_total", Help: "Objects that the cluster told of, by resource."}, []string{"resource"}),
		changes: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "gyre_enricher_kube_changes_total", Help: "Changes found in the cluster, by kind."}, []string{"kind"}),
		lost:    prometheus.NewCounter(prometheus.CounterOpts{Name: "gyre_enricher_kube_changes_lost_total", Help: "Changes that could not be stored in the stream."}),
		pods:    prometheus.NewGauge(prometheus.GaugeOpts{Name: "gyre_enricher_kube_pods", Help: "Pods that are known, those deleted of late included."}),
		unknown: prometheus.NewCounter(prometheus.CounterOpts{Name: "gyre_enricher_kube_unknown_pods_total", Help: "Containers in batches whose pod was not known."}),
		lag: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "gyre_enricher_kube_lag_seconds", Help: "Time from the creation of a pod to its being known here, to the second as the cluster tells it.", Buckets: []float64{.5, 1, 2, 5, 10, 30, 60, 300},
		}),
	}
	reg.MustRegister(m.synced, m.last, m.errors, m.events, m.changes, m.lost, m.pods, m.unknown, m.lag)
	return m
}
