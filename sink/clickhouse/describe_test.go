package clickhouse_test

import (
	"errors"
	"testing"

	"github.com/gyre-sec/gyre/sink/clickhouse"
)

func TestEveryPublicColumnHasAMeaning(t *testing.T) {
	s := open(t, server(t))
	all, err := s.Describe(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, c := range all {
		seen[c.Table]++
		if c.Meaning == "" || c.Type == "" {
			t.Errorf("%s.%s (%s) has no meaning", c.Table, c.Name, c.Type)
		}
	}
	for _, table := range clickhouse.Tables() {
		if seen[table.Name] < 3 || table.Meaning == "" {
			t.Errorf("%s has %d columns, its meaning is %q", table.Name, seen[table.Name], table.Meaning)
		}
	}
	if one, err := s.Describe(t.Context(), "rules"); err != nil || len(one) != seen["rules"] || one[0].Name != "rule_id" {
		t.Errorf("rules: %v, %v", one, err)
	}
	if _, err := s.Describe(t.Context(), "alerts_raw"); !errors.Is(err, clickhouse.ErrQuery) {
		t.Errorf("a table of the program's own: %v", err)
	}
}
