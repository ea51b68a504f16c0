package evaluator

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gyre-sec/gyre/evaluator/ruleset"
)

// ruleMetrics shows the counters of the rules in force. They start again when the rules are replaced.
type ruleMetrics struct {
	set                                               atomic.Pointer[ruleset.Set]
	evaluated, matched, samples, seconds, notCompiled *prometheus.Desc
}

var _ prometheus.Collector = (*ruleMetrics)(nil)

func newRuleMetrics() *ruleMetrics {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("gyre_evaluator_"+name, help, labels, nil)
	}
	return &ruleMetrics{
		evaluated:   desc("rule_evaluated_total", "Events for which the rule was decided: those of its kinds.", "rule"),
		matched:     desc("rule_matched_total", "Events that satisfied the rule's condition.", "rule"),
		samples:     desc("rule_samples_total", "Events for which the condition was timed on its own.", "rule"),
		seconds:     desc("rule_sampled_seconds_total", "Time that the condition took for the sampled events, with nothing known of the event before.", "rule"),
		notCompiled: desc("rules_interpreted", "Rules whose conditions cannot be compiled and run on their cel-go programs."),
	}
}

// Describe implements [prometheus.Collector].
func (m *ruleMetrics) Describe(c chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.evaluated, m.matched, m.samples, m.seconds, m.notCompiled} {
		c <- d
	}
}

// Collect implements [prometheus.Collector].
func (m *ruleMetrics) Collect(c chan<- prometheus.Metric) {
	set := m.set.Load()
	if set == nil {
		return
	}
	for _, r := range set.Stats() {
		put := func(d *prometheus.Desc, v float64) {
			c <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, r.ID)
		}
		put(m.evaluated, float64(r.Evaluated))
		put(m.matched, float64(r.Matched))
		put(m.samples, float64(r.Samples))
		put(m.seconds, r.Time.Seconds())
	}
	c <- prometheus.MustNewConstMetric(m.notCompiled, prometheus.GaugeValue, float64(set.Interpreted()))
}
