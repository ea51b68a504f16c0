package notify

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

type senderMetrics struct {
	sent, dead prometheus.Counter
	errors     *prometheus.CounterVec
	up         prometheus.Gauge
	seconds    prometheus.Histogram
}

func newSenderMetrics(name string, reg prometheus.Registerer) (*senderMetrics, error) {
	l := prometheus.Labels{"output": name}
	m := &senderMetrics{
		sent:    prometheus.NewCounter(prometheus.CounterOpts{Name: "gyre_sink_notifications_total", Help: "Alerts that an output has taken.", ConstLabels: l}),
		dead:    prometheus.NewCounter(prometheus.CounterOpts{Name: "gyre_sink_notifications_dead_total", Help: "Alerts that an output refused, or was given up on; they are in the stream DEAD.", ConstLabels: l}),
		errors:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "gyre_sink_notification_errors_total", Help: "Attempts that failed.", ConstLabels: l}, []string{"reason"}),
		up:      prometheus.NewGauge(prometheus.GaugeOpts{Name: "gyre_sink_output_up", Help: "1 unless the last attempt failed.", ConstLabels: l}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "gyre_sink_notification_seconds", Help: "How long attempts took.", ConstLabels: l, Buckets: prometheus.ExponentialBuckets(0.001, 4, 8)}),
	}
	m.up.Set(1)
	for _, c := range []prometheus.Collector{m.sent, m.dead, m.errors, m.up, m.seconds} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics of output %s: %w", name, err)
		}
	}
	return m, nil
}
