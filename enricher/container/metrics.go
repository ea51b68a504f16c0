package container

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// Results of looking for the facts of a container that a batch names.
const (
	resultFound   = "found"
	resultUnknown = "unknown"
	resultMissing = "incomplete"
)

type metrics struct {
	rows          map[string]prometheus.Counter
	held, skipped prometheus.Counter
	evicted       prometheus.Counter
	holding       prometheus.Gauge
	waited        prometheus.Histogram
	rowsVec       *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer, cached func() float64) (*metrics, error) {
	m := &metrics{
		rowsVec: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "gyre_enricher_container_rows_total", Help: "Containers that batches named: found, unknown (the node found nothing either) or incomplete (the facts did not come in time)."}, []string{"result"}),
		held:    prometheus.NewCounter(prometheus.CounterOpts{Name: "gyre_enricher_batches_held_total", Help: "Batches held for the facts of a container."}),
		skipped: prometheus.NewCounter(prometheus.CounterOpts{Name: "gyre_enricher_batches_not_held_total", Help: "Batches that went on at once because too many were held."}),
		evicted: prometheus.NewCounter(prometheus.CounterOpts{Name: "gyre_enricher_container_facts_evicted_total", Help: "Facts of containers that left memory because it was full."}),
		holding: prometheus.NewGauge(prometheus.GaugeOpts{Name: "gyre_enricher_batches_holding", Help: "Batches held now."}),
		waited: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "gyre_enricher_hold_seconds", Help: "How long batches were held.", Buckets: []float64{.001, .005, .01, .025, .05, .1, .25, .5, 1, 2, 5},
		}),
	}
	m.rows = map[string]prometheus.Counter{}
	for _, r := range []string{resultFound, resultUnknown, resultMissing} {
		m.rows[r] = m.rowsVec.WithLabelValues(r)
	}
	size := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "gyre_enricher_container_facts", Help: "Containers whose facts are in memory."}, cached)
	var errs []error
	for _, c := range []prometheus.Collector{m.rowsVec, m.held, m.skipped, m.evicted, m.holding, m.waited, size} {
		errs = append(errs, reg.Register(c))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("register container metrics: %w", err)
	}
	return m, nil
}
