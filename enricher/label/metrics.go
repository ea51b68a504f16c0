package label

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	loads *prometheus.CounterVec
	rows  *prometheus.GaugeVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		loads: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "gyre_enricher_label_loads_total", Help: "Tables of labels that were read after a change, by table and result."}, []string{"table", "result"}),
		rows:  prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "gyre_enricher_label_rows", Help: "Rows of the tables of labels in force."}, []string{"table"}),
	}
	reg.MustRegister(m.loads, m.rows)
	return m
}
