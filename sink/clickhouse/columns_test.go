package clickhouse_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gyre-sec/gyre/schemas/alertv1"
	"github.com/gyre-sec/gyre/sink/clickhouse"
)

// TestColumnsAreRows: the table holds the same whether alerts are sent as columns or row by row.
func TestColumnsAreRows(t *testing.T) {
	srv := server(t)
	byColumns, byRows := open(t, srv), open(t, srv)
	clickhouse.ByRowsForTest(byRows)
	full := alerts(0, 1)[0]
	full.Container, full.K8s = alertv1.Container{ID: "c", Name: "n", Image: "i"}, alertv1.K8s{Namespace: "ns", Pod: "p"}
	full.Fields = []alertv1.Field{
		{Name: "twice", Value: "first"}, {Name: "n", Value: int64(-7)}, {Name: "absent"}, {Name: "yes", Value: true}, {Name: "list", Value: []string{"a", "b"}}, {Name: "twice", Value: "last"}, {Name: "n"},
	}
	full.Lineage = append(full.Lineage, alertv1.Process{PID: 1, Name: "init", Start: -5})
	full.User = alertv1.User{UID: 3, Name: "\x00\xff", LoginUID: 1<<32 - 1, LoginName: "l"}
	many := alerts(100, 400) // more words than fit a byte's index
	for i := range many {
		many[i].RuleID = many[i].ID.String()
	}
	all := append([]alertv1.Alert{full, {Time: full.Time + 1}, {Time: full.Time + 2, Priority: alertv1.Debug, Tags: []string{}}}, many...)
	for name, s := range map[string]*clickhouse.Store{"columns": byColumns, "rows": byRows} {
		for i := range all {
			all[i].ID, all[i].Node = alertv1.EventID("r", name, "b", uint64(i)), name
		}
		if err := s.InsertAlerts(t.Context(), all); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	read := func(name string) string {
		return one(t, byRows, "SELECT * EXCEPT (id, node, inserted_at) FROM alerts WHERE node = '"+name+"' ORDER BY time, output, rule_id")
	}
	if d := cmp.Diff(read("rows"), read("columns")); d != "" {
		t.Errorf("(-rows +columns)\n%s", d)
	}
	if got := one(t, byRows, "SELECT count(), uniqExact(id) FROM alerts WHERE node = 'columns'"); got != "303,303" {
		t.Errorf("alerts: %s", got)
	}
	if got := one(t, byRows, "SELECT fields['twice'], fields['n'], has(mapKeys(fields), 'absent'), fields['list'] FROM alerts WHERE node = 'columns' AND k8s_pod = 'p'"); got != `last,-7,0,"(a,b)"` {
		t.Errorf("fields: %s", got)
	}
}
