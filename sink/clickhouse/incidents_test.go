package clickhouse

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gyre-sec/gyre/schemas/alertv1"
)

func TestLinks(t *testing.T) {
	for _, c := range []struct {
		name  string
		execs []string
		pids  []uint32
		want  []string
	}{
		{"a login", []string{"n:b:9:50:2", "n:b:8:40:1", "n:b:7:30:1", "n:b:0:1:1"}, []uint32{50, 40, 30, 1}, []string{"n:b:9:50", "n:b:8:40"}},
		{"a daemon", []string{"n:b:7:30:1", "n:b:0:1:1"}, []uint32{30, 1}, []string{"n:b:7:30"}},
		{"alone", []string{"n:b:7:30:1"}, []uint32{30}, []string{"n:b:7:30"}},
		{"nobody", nil, nil, nil},
	} {
		if d := cmp.Diff(c.want, links(c.execs, c.pids)); d != "" {
			t.Errorf("%s\n%s", c.name, d)
		}
	}
}

// TestGroup: alerts that share a process belong together, also by way of others, but not over more than an hour.
func TestGroup(t *testing.T) {
	start := time.Unix(1_780_000_000, 0).UTC()
	alert := func(rule string, minute int, node string, p alertv1.Priority, links ...string) IncidentAlert {
		return IncidentAlert{ID: alertv1.KeyID(rule, node, ""), RuleID: rule, Time: start.Add(time.Duration(minute) * time.Minute), Node: node, Priority: p, links: links, mitre: []string{"T" + rule}}
	}
	got := group([]IncidentAlert{
		alert("a", 0, "n1", alertv1.Warning, "p"),
		alert("x", 1, "n1", alertv1.Notice, "other"),
		alert("b", 5, "n2", alertv1.Critical, "q"),
		alert("c", 6, "n2", alertv1.Error, "q", "p"),
		alert("a", 90, "n1", alertv1.Warning, "p"),
	})
	var rules [][]string
	for _, x := range got {
		rules = append(rules, x.Rules)
	}
	if d := cmp.Diff([][]string{{"a", "b", "c"}, {"a"}, {"x"}}, rules); d != "" {
		t.Error(d)
	}
	if x := got[0]; x.Priority != alertv1.Critical || x.Score != 185 || len(x.Nodes) != 2 || x.ID != alertv1.KeyID("gyre.incident", x.Alerts[0].ID.String(), "") {
		t.Errorf("%+v", x)
	}
}
