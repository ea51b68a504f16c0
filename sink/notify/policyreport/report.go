package policyreport

import (
	"encoding/json"
	"strconv"

	"github.com/gyre-sec/gyre/schemas/alertv1"
	"github.com/gyre-sec/gyre/sink/notify"
)

const apiVersion = "wgpolicyk8s.io/v1alpha2"

// report is a PolicyReport or ClusterPolicyReport.
type report struct {
	APIVersion string          `json:"apiVersion"`
	Kind       string          `json:"kind"`
	Metadata   map[string]any  `json:"metadata"`
	Scope      json.RawMessage `json:"scope,omitempty"`
	Summary    map[string]int  `json:"summary"`
	Results    []result        `json:"results"`
}

type result struct {
	Source     string            `json:"source,omitempty"`
	Policy     string            `json:"policy"`
	Rule       string            `json:"rule,omitempty"`
	Category   string            `json:"category,omitempty"`
	Severity   string            `json:"severity,omitempty"`
	Result     string            `json:"result,omitempty"`
	Scored     bool              `json:"scored"`
	Message    string            `json:"message,omitempty"`
	Timestamp  timestamp         `json:"timestamp"`
	Resources  []resource        `json:"resources,omitempty"`
	Properties map[string]string `json:"properties,omitempty"`
}

type timestamp struct {
	Seconds int64 `json:"seconds"`
	Nanos   int64 `json:"nanos"`
}

type resource struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Name       string `json:"name"`
	Namespace  string `json:"namespace,omitempty"`
}

// idKey is the property that holds an alert's id.
const idKey = "gyre.alert"

// add appends the alerts that are not there, cuts the report to at most limit results, and counts them. It tells whether
// anything has changed.
func (r *report) add(msgs []*notify.Message, limit int) bool {
	have := map[string]bool{}
	for _, x := range r.Results {
		have[x.Properties[idKey]] = true
	}
	changed := false
	for _, m := range msgs {
		if id := m.Alert.ID.String(); !have[id] {
			have[id], changed = true, true
			r.Results = append(r.Results, resultOf(m))
		}
	}
	if n := len(r.Results) - limit; n > 0 {
		r.Results = r.Results[n:]
	}
	r.Summary = map[string]int{"pass": 0, "fail": 0, "warn": 0, "error": 0, "skip": 0}
	for _, x := range r.Results {
		r.Summary[x.Result]++
	}
	return changed
}

// Sizes of texts in bytes, which together bound a report.
const (
	maxMessage  = 1024
	maxProperty = 128
)

func resultOf(m *notify.Message) result {
	a := m.Alert
	c := func(s string) string { return notify.CutBytes(notify.Clean(s), maxProperty) }
	x := result{
		Source: "gyre", Policy: c(a.Rule), Rule: c(a.RuleID), Category: c(a.Source), Severity: severity(a.Priority), Result: "fail", Message: notify.CutBytes(notify.Clean(a.Output), maxMessage),
		Timestamp: timestamp{a.Time / 1e9, a.Time % 1e9}, Properties: map[string]string{idKey: a.ID.String(), "priority": a.Priority.String(), "node": c(a.Node)},
	}
	if a.Priority > alertv1.Error {
		x.Result = "warn"
	}
	if a.K8s.Pod != "" {
		x.Resources = []resource{{"v1", "Pod", c(a.K8s.Pod), c(a.K8s.Namespace)}}
	}
	if p := a.Process().Name; p != "" {
		x.Properties["process"] = c(p)
	}
	if m.Repeats > 0 {
		x.Properties["repeats"] = strconv.Itoa(m.Repeats)
	}
	return x
}

// severity is the word that the definition of PolicyReport has for a priority.
func severity(p alertv1.Priority) string {
	switch {
	case p <= alertv1.Critical:
		return "critical"
	case p == alertv1.Error:
		return "high"
	case p == alertv1.Warning:
		return "medium"
	case p == alertv1.Notice:
		return "low"
	}
	return "info"
}
