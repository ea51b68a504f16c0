package action

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	decided    *prometheus.CounterVec
	unreported prometheus.Counter
	loads      *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		decided:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "gyre_collector_actions_total", Help: "Requests for response actions that were decided, by status and code."}, []string{"status", "code"}),
		unreported: prometheus.NewCounter(prometheus.CounterOpts{Name: "gyre_collector_actions_unreported_total", Help: "Requests without proof of who sent them that were refused without a result, because there were too many."}),
		loads:      prometheus.NewCounterVec(prometheus.CounterOpts{Name: "gyre_collector_actions_policy_loads_total", Help: "Loads of the policy for response actions, by result."}, []string{"result"}),
	}
	reg.MustRegister(m.decided, m.unreported, m.loads)
	return m
}
