package clickhouse_test

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/clickhouse"
	"github.com/gyre-sec/gyre/sink/clickhouse/chtest"
)

// TestClusterDDLParses has a real server parse every statement, for one server and for a cluster.
func TestClusterDDLParses(t *testing.T) {
	srv := server(t)
	for _, cluster := range []string{"", "fleet", "{cluster}"} {
		list, err := clickhouse.DDL(cluster)
		if err != nil {
			t.Fatal(err)
		}
		for _, stmt := range list {
			if err := chtest.Exec(t.Context(), srv.DSN(), "EXPLAIN AST "+stmt); err != nil {
				t.Errorf("cluster %q: %v\n%s", cluster, err, stmt)
			}
		}
	}
	if err := chtest.Exec(t.Context(), srv.DSN(), "EXPLAIN AST CREATE TABLE x ON ENGINE = Log"); err == nil {
		t.Error("the server parses anything")
	}
}

func TestClusterDDL(t *testing.T) {
	one, err := clickhouse.DDL("")
	if err != nil {
		t.Fatal(err)
	}
	list, err := clickhouse.DDL("fleet")
	if err != nil {
		t.Fatal(err)
	}
	local, distributed := map[string]bool{}, map[string]string{}
	for _, s := range list {
		if !strings.HasPrefix(s, "INSERT ") && !strings.Contains(s, " ON CLUSTER 'fleet'") {
			t.Errorf("not on the cluster: %s", s)
		}
		if m := regexp.MustCompile(`ENGINE = (\w+)`).FindStringSubmatch(s); m != nil && m[1] != "Distributed" && !strings.HasPrefix(m[1], "Replicated") {
			t.Errorf("a plain engine: %s", s)
		}
		if strings.Contains(s, "non_replicated") {
			t.Errorf("a window of one server: %s", s)
		}
		if m := regexp.MustCompile(`^CREATE TABLE (\w+)_local ON CLUSTER 'fleet'`).FindStringSubmatch(s); m != nil {
			local[m[1]] = true
			if !strings.Contains(s, "('/clickhouse/tables/{shard}/{database}/"+m[1]+"', '{replica}'") {
				t.Errorf("no path of its own: %s", s)
			}
		}
		if m := regexp.MustCompile(`^CREATE TABLE (\w+) ON CLUSTER 'fleet' AS (\w+)_local\nENGINE = Distributed\('fleet', currentDatabase\(\), '(\w+)_local', (.+)\)$`).FindStringSubmatch(s); m != nil {
			distributed[m[1]] = m[4]
			if m[1] != m[2] || m[1] != m[3] {
				t.Errorf("%s is over another table: %s", m[1], s)
			}
		}
		if strings.HasPrefix(s, "CREATE VIEW ") && strings.Contains(s, "_local") {
			t.Errorf("a view of one shard: %s", s)
		}
		if strings.HasPrefix(s, "CREATE MATERIALIZED VIEW ") && !regexp.MustCompile(`(?s) TO \w+_local AS.*FROM \w+_local`).MatchString(s) {
			t.Errorf("a materialized view that is not of one shard: %s", s)
		}
	}
	n := 0
	for _, s := range one {
		if m := regexp.MustCompile(`^CREATE TABLE (\w+)`).FindStringSubmatch(s); m != nil && !strings.Contains(s, "schema_migrations") {
			if n++; !local[m[1]] || distributed[m[1]] == "" {
				t.Errorf("no local or no Distributed table for %s", m[1])
			}
		}
		if v := regexp.MustCompile(`(?s)^CREATE VIEW (\w+) (AS.*)`).FindStringSubmatch(s); v != nil && !slices.Contains(list, "CREATE VIEW "+v[1]+" ON CLUSTER 'fleet' "+v[2]) {
			t.Errorf("view %s is another in a cluster", v[1])
		}
	}
	if n < 5 || n != len(local) || n != len(distributed) {
		t.Errorf("%d tables, %d local, %d Distributed", n, len(local), len(distributed))
	}
	for table, key := range map[string]string{"alerts_raw": "sipHash64(id)", "alert_events_raw": "sipHash64(alert_id)", "changes_raw": "sipHash64(id)", "alerts_minute": "sipHash64(node)"} {
		if distributed[table] != key {
			t.Errorf("%s goes to shards by %s, want %s", table, distributed[table], key)
		}
	}
	for _, bad := range []string{"a'b", "a b", "-", "{a", " "} {
		if _, err := clickhouse.DDL(bad); err == nil {
			t.Errorf("cluster %q is taken", bad)
		}
	}
}

// TestClusterSchemaIsNotMixed: the tables of one server stay as they are, and a server outside of any cluster refuses a cluster's form.
func TestClusterSchemaIsNotMixed(t *testing.T) {
	srv := server(t)
	cfg := clickhouse.DefaultConfig()
	cfg.DSN, cfg.Cluster = daemon.NewSecret(srv.DSN()), "fleet"
	s, err := clickhouse.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if got := one(t, s, "SELECT getSetting('distributed_foreground_insert')"); got != "true" && got != "1" {
		t.Errorf("inserts do not wait for shards: %s", got)
	}
	if err := s.Migrate(t.Context()); !errors.Is(err, clickhouse.ErrSchema) {
		t.Errorf("a server without Keeper takes a cluster's schema: %v", err)
	}
	if got := one(t, s, "SELECT count() FROM system.tables WHERE database = currentDatabase()"); got != "0" {
		t.Errorf("%s tables were made", got)
	}
	open(t, srv)
	if err := s.Migrate(t.Context()); !errors.Is(err, clickhouse.ErrSchema) || daemon.Remedy(err) == "" {
		t.Errorf("a cluster over the tables of one server: %v", err)
	}
	cfg.Cluster = "a b"
	if err := cfg.Validate(); err == nil {
		t.Error("a name that is none is taken")
	}
}

// TestDDLByHand: after the printed statements have been run there is nothing left to apply.
func TestDDLByHand(t *testing.T) {
	srv := server(t)
	list, err := clickhouse.DDL("")
	if err != nil {
		t.Fatal(err)
	}
	for _, stmt := range list {
		exec(t, srv, stmt)
	}
	const records = "SELECT count(), max(applied_at) FROM schema_migrations"
	cfg := clickhouse.DefaultConfig()
	cfg.DSN = daemon.NewSecret(srv.DSN())
	s, err := clickhouse.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	before := one(t, s, records)
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after := one(t, s, records); after != before {
		t.Errorf("migrations were applied again: %s, then %s", before, after)
	}
	if err := s.InsertAlerts(t.Context(), alerts(0, 3)); err != nil {
		t.Fatal(err)
	}
	if got := one(t, s, "SELECT count() FROM alerts"); got != "3" {
		t.Errorf("%s alerts", got)
	}
}

// TestLaterMigrationsParse has a real server parse the cluster's form of what migrations may hold beside what there is today.
func TestLaterMigrationsParse(t *testing.T) {
	list, err := clickhouse.RenderForTest("fleet", `-- Counts per hour.
CREATE TABLE hours (hour DateTime('UTC') COMMENT 'start (UTC)', node String, ids AggregateFunction(uniqExact, UUID))
ENGINE = AggregatingMergeTree() ORDER BY (hour, node) SETTINGS non_replicated_deduplication_window = 9 COMMENT 'rows; per hour';
CREATE TABLE alerts_raw (id UUID, time DateTime, node String) ENGINE = ReplacingMergeTree ORDER BY id TTL time + toIntervalDay(1);
CREATE MATERIALIZED VIEW hours_fill TO hours AS WITH 1 AS one SELECT toStartOfHour(time) AS hour, node, uniqExactState(id) AS ids FROM alerts_raw GROUP BY hour, node;
INSERT INTO hours SELECT toStartOfHour(time), node, uniqExactState(id) FROM alerts_raw FINAL GROUP BY ALL;
CREATE VIEW per_hour (hour DateTime, alerts UInt64) AS SELECT hour, uniqExactMerge(ids) FROM hours GROUP BY hour;
ALTER TABLE hours COMMENT COLUMN node 'host, as it names itself', COMMENT COLUMN ids 'distinct', MODIFY COMMENT 'counts';
ALTER TABLE hours MODIFY COLUMN node COMMENT 'host';
ALTER TABLE hours MODIFY SETTING non_replicated_deduplication_window = 10;
ALTER TABLE per_hour MODIFY COMMENT 'for people';
DROP VIEW IF EXISTS per_hour;
`)
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 14 {
		t.Errorf("%d statements:\n%s", len(list), strings.Join(list, ";\n"))
	}
	srv := server(t)
	for _, stmt := range list {
		if err := chtest.Exec(t.Context(), srv.DSN(), "EXPLAIN AST "+stmt); err != nil {
			t.Errorf("%v\n%s", err, stmt)
		}
	}
}
