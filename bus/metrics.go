package bus

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	published, publishedBytes, publishErrors *prometheus.CounterVec
	inFlight                                 *prometheus.GaugeVec
	received, acked, retried, dead           *prometheus.CounterVec
	lost                                     *prometheus.GaugeVec
	connErrors                               prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels))
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return register(reg, prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels))
	}
	return &metrics{
		published:      counter("gyre_bus_published_total", "Messages acknowledged by the server.", "stage"),
		publishedBytes: counter("gyre_bus_published_bytes_total", "Bytes of payload acknowledged, as sent.", "stage"),
		publishErrors:  counter("gyre_bus_publish_errors_total", "Publishes that failed and were tried again or given up.", "stage", "reason"),
		inFlight:       gauge("gyre_bus_in_flight_bytes", "Bytes published and not yet acknowledged.", "stage"),
		received:       counter("gyre_bus_received_total", "Messages received, redeliveries included.", "stage"),
		acked:          counter("gyre_bus_acked_total", "Messages whose work is done.", "stage"),
		retried:        counter("gyre_bus_retried_total", "Messages given back to be delivered again.", "stage"),
		dead:           counter("gyre_bus_dead_total", "Messages dead-lettered.", "stage"),
		lost:           gauge("gyre_bus_lost_messages", "Messages that stream limits removed before the consumer got them, as last seen.", "stage", "reason"),
		connErrors:     register(reg, prometheus.NewCounter(prometheus.CounterOpts{Name: "gyre_bus_connection_errors_total", Help: "Errors that the connection reported."})),
	}
}

// register registers c, or returns the one that a second Bus of the process finds registered.
func register[C prometheus.Collector](reg prometheus.Registerer, c C) C {
	if err := reg.Register(c); err != nil {
		if dup, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
			if have, ok := dup.ExistingCollector.(C); ok {
				return have
			}
		}
	}
	return c
}
