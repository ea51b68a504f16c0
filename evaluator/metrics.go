package evaluator

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	batches, events, lost, bad prometheus.Counter
	alerts                     *prometheus.CounterVec
	ruleErrors, folded         *prometheus.CounterVec
	loads, refused             *prometheus.CounterVec
	set                        *prometheus.GaugeVec
	signals, noKey             *prometheus.CounterVec
	rules                      prometheus.Gauge
	seconds                    prometheus.Histogram
	picked, pickErrors         prometheus.Counter
	perRule                    *ruleMetrics
}

func newMetrics(reg prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "gyre_evaluator_" + name, Help: help})
	}
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "gyre_evaluator_" + name, Help: help}, labels)
	}
	m := &metrics{
		perRule:    newRuleMetrics(),
		batches:    counter("batches_total", "Batches evaluated."),
		events:     counter("events_total", "Events evaluated, redelivered ones again."),
		lost:       counter("events_lost_total", "Events that nodes reported as lost."),
		bad:        counter("bad_batches_total", "Batches that do not decode; they go to the DEAD stream."),
		alerts:     vec("alerts_total", "Alerts raised.", "rule", "priority"),
		ruleErrors: vec("rule_errors_total", "Conditions that failed at run time, which counts as no match.", "rule"),
		folded:     vec("alerts_folded_total", "Matches that became no alert because of their rule's throttle.", "rule"),
		signals:    vec("signals_total", "Signals sent to the correlator: matches of the steps of correlation rules.", "rule"),
		noKey:      vec("signals_without_key_total", "Matches of steps that are not correlated, as the event lacks a field of the rule's key.", "rule"),
		picked:     counter("events_stored_total", "Events that match evaluator.store_events and were sent to be stored, redelivered ones again."),
		pickErrors: counter("store_events_errors_total", "Events for which the condition of evaluator.store_events failed at run time; they are not stored."),
		loads:      vec("rule_loads_total", "Attempts to load rules by result: ok, refused.", "result"),
		refused:    vec("rule_loads_refused_total", "Refused attempts to load rules by reason: rules (they do not check), unsigned, signature, stale, deleted, malformed.", "reason"),
		set: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "gyre_evaluator_rule_set", Help: "Revision of the bucket's rule set in force, by version and the key that signed it.",
		}, []string{"rule_set", "key_id"}),
		rules: prometheus.NewGauge(prometheus.GaugeOpts{Name: "gyre_evaluator_rules", Help: "Rules in force."}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "gyre_evaluator_batch_seconds", Help: "Time to evaluate one batch.", Buckets: prometheus.ExponentialBuckets(0.0001, 4, 8),
		}),
	}
	reg.MustRegister(m.perRule, m.batches, m.events, m.lost, m.bad, m.alerts, m.ruleErrors, m.folded, m.loads, m.refused, m.set, m.rules, m.seconds, m.signals, m.noKey, m.picked, m.pickErrors)
	return m
}

// version shows which version of the bucket's rule set is in force.
func (m *metrics) version(r remote) {
	m.set.Reset()
	if r.name != "" {
		m.set.WithLabelValues(r.name, r.signer).Set(float64(r.revision))
	}
}
