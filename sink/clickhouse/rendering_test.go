package clickhouse

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gyre-sec/gyre/daemon"
)

func TestRendering(t *testing.T) {
	made := "CREATE TABLE t (node String COMMENT 'a ) and a, b', at DateTime) ENGINE = MergeTree() ORDER BY (toDate(at), node) SETTINGS non_replicated_deduplication_window = 5"
	for _, c := range []struct {
		name, in string
		want     []string
	}{
		{"table", made, []string{
			"CREATE TABLE t_local ON CLUSTER 'c' (node String COMMENT 'a ) and a, b', at DateTime) ENGINE = ReplicatedMergeTree('/clickhouse/tables/{shard}/{database}/t', '{replica}') ORDER BY (toDate(at), node) SETTINGS replicated_deduplication_window = 5",
			"CREATE TABLE t ON CLUSTER 'c' AS t_local\nENGINE = Distributed('c', currentDatabase(), 't_local', sipHash64(node))",
		}},
		{"no column of choice", "CREATE TABLE IF NOT EXISTS u (a Int8, b Int8) ENGINE = SummingMergeTree((b)) ORDER BY a", []string{
			"CREATE TABLE IF NOT EXISTS u_local ON CLUSTER 'c' (a Int8, b Int8) ENGINE = ReplicatedSummingMergeTree('/clickhouse/tables/{shard}/{database}/u', '{replica}', (b)) ORDER BY a",
			"CREATE TABLE IF NOT EXISTS u ON CLUSTER 'c' AS u_local\nENGINE = Distributed('c', currentDatabase(), 'u_local', sipHash64(a))",
		}},
		{"view", "CREATE VIEW v AS SELECT * FROM t FINAL", []string{"CREATE VIEW v ON CLUSTER 'c' AS SELECT * FROM t FINAL"}},
		{"view again", "CREATE OR REPLACE VIEW v AS SELECT 1", []string{"CREATE OR REPLACE VIEW v ON CLUSTER 'c' AS SELECT 1"}},
		{"materialized view", "CREATE MATERIALIZED VIEW m TO t AS SELECT * FROM t", []string{"CREATE MATERIALIZED VIEW m ON CLUSTER 'c' TO t_local AS SELECT * FROM t_local"}},
		{"its query", "ALTER TABLE m MODIFY QUERY SELECT 1 FROM t", []string{"ALTER TABLE m ON CLUSTER 'c' MODIFY QUERY SELECT 1 FROM t_local"}},
		{"columns", "ALTER TABLE t ADD COLUMN x Int8, MODIFY TTL at + toIntervalDay(1), COMMENT COLUMN node 'it''s, here'", []string{
			"ALTER TABLE t_local ON CLUSTER 'c' ADD COLUMN x Int8, MODIFY TTL at + toIntervalDay(1), COMMENT COLUMN node 'it''s, here'",
			"ALTER TABLE t ON CLUSTER 'c' ADD COLUMN x Int8, COMMENT COLUMN node 'it''s, here'",
		}},
		{"table's comment", "ALTER TABLE t MODIFY COMMENT 'rows'", []string{"ALTER TABLE t_local ON CLUSTER 'c' MODIFY COMMENT 'rows'"}},
		{"view's comment", "ALTER TABLE v MODIFY COMMENT 'rows'", []string{"ALTER TABLE v ON CLUSTER 'c' MODIFY COMMENT 'rows'"}},
		{"insert", "INSERT INTO t SELECT * FROM t", []string{"INSERT INTO t SELECT * FROM t"}},
		{"drop", "DROP TABLE IF EXISTS t", []string{"DROP TABLE IF EXISTS t ON CLUSTER 'c'", "DROP TABLE IF EXISTS t_local ON CLUSTER 'c'"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := newRendering("c")
			if err != nil {
				t.Fatal(err)
			}
			if c.in != made {
				if _, err := r.statement(made); err != nil {
					t.Fatal(err)
				}
			}
			got, err := r.statement(c.in)
			if d := cmp.Diff(c.want, got); err != nil || d != "" {
				t.Errorf("%v (-want +got)\n%s", err, d)
			}
		})
	}
	for _, bad := range []string{
		"OPTIMIZE TABLE t", "CREATE TABLE t", "CREATE TABLE t (a Int8", "CREATE TABLE t (a Int8) ORDER BY a", "CREATE TABLE t (a Int8) ENGINE = Log",
		"CREATE TABLE t (a Int8) ENGINE = MergeTree(", "CREATE TABLE t (a Int8) ENGINE = MergeTree", "CREATE TABLE t (a Int8) ENGINE = MergeTree ORDER BY (a",
		"CREATE TABLE t (a Int8) ENGINE = MergeTree ORDER BY ", "CREATE MATERIALIZED VIEW m ENGINE = Log AS SELECT 1", "ALTER TABLE m MODIFY QUERY SELECT 1",
	} {
		r, _ := newRendering("c")
		if got, err := r.statement(bad); err == nil {
			t.Errorf("%s became %q", bad, got)
		}
	}
	r, _ := newRendering("c")
	if _, err := r.statement(made); err != nil {
		t.Fatal(err)
	}
	if got, err := r.statement("ALTER TABLE t MODIFY COLUMN node String TTL at"); err == nil {
		t.Errorf("a column's TTL became %q", got)
	}
}

func FuzzRendering(f *testing.F) {
	all, err := migrations()
	if err != nil {
		f.Fatal(err)
	}
	for _, m := range all {
		f.Add(m.sql)
	}
	f.Add("CREATE TABLE t (a Int8) ENGINE = MergeTree ORDER BY ;\nALTER TABLE t '\\")
	f.Fuzz(func(t *testing.T, sql string) {
		r, _ := newRendering("c")
		list, err := migration{name: "m", sql: sql}.statements(r)
		for _, s := range list {
			if err == nil && !strings.HasPrefix(strings.ToUpper(s), "INSERT INTO ") && !strings.Contains(s, " ON CLUSTER 'c'") {
				t.Errorf("not on the cluster: %s", s)
			}
		}
	})
}

func TestSchemaKind(t *testing.T) {
	const single, spread = "ReplacingMergeTree(inserted_at) ORDER BY id", "Distributed('fleet', 'default', 'alerts_raw_local', sipHash64(id))"
	for _, c := range []struct{ want, engine, cluster string }{{"", single, ""}, {"", spread, "fleet"}, {"fleet", spread, "fleet"}, {"{cluster}", spread, "{cluster}"}} {
		if got, err := schemaKind(c.want, c.engine); err != nil || got != c.cluster {
			t.Errorf("%q with %s: %q, %v", c.want, c.engine, got, err)
		}
	}
	for want, engine := range map[string]string{"fleet": single, "other": spread} {
		if _, err := schemaKind(want, engine); !errors.Is(err, ErrSchema) || daemon.Remedy(err) == "" {
			t.Errorf("%q with %s: %v", want, engine, err)
		}
	}
}

func TestShardSettings(t *testing.T) {
	got, err := shardSettings("clickhouse://u:p%40@h:9000/d?distributed_product_mode=allow&x=1")
	if want := "clickhouse://u:p%40@h:9000/d?distributed_foreground_insert=1&distributed_product_mode=allow&parallel_distributed_insert_select=0&x=1"; err != nil || got != want {
		t.Errorf("%s, %v", got, err)
	}
	if _, err := shardSettings("clickhouse://u:%zz@h"); err == nil || strings.Contains(err.Error(), "zz") {
		t.Errorf("a DSN that cannot be parsed: %v", err)
	}
}
