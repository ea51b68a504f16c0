package sink

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gyre-sec/gyre/bus"
)

// lag is how far an output is behind.
type lag struct{ messages, paused prometheus.Gauge }

func (l *lag) register(name string, reg prometheus.Registerer) error {
	labels := prometheus.Labels{"output": name}
	l.messages = prometheus.NewGauge(prometheus.GaugeOpts{Name: "gyre_sink_output_lag_alerts", Help: "Alerts in the stream that an output has not settled.", ConstLabels: labels})
	l.paused = prometheus.NewGauge(prometheus.GaugeOpts{Name: "gyre_sink_output_paused", Help: "1 while an operator has paused the output.", ConstLabels: labels})
	if err := errors.Join(reg.Register(l.messages), reg.Register(l.paused)); err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	return nil
}

// watch asks the server every few seconds.
func (l *lag) watch(ctx context.Context, d *delivery) error {
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		at, err := d.b.Durable(ctx, bus.StreamAlerts, d.durable())
		if err != nil {
			continue // the worker says so
		}
		l.messages.Set(float64(at.Lag) + float64(at.AckPending))
		l.paused.Set(0)
		if at.Paused() {
			l.paused.Set(1)
		}
	}
}
