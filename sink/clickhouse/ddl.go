package clickhouse

import (
	"fmt"
	"strings"
)

// DDL returns the statements that make the schema, in their order and without a semicolon: as the migrations have them, or with a
// cluster's name the form for that cluster. The last ones record the migrations, so that [Store.Migrate] has nothing left to apply.
func DDL(cluster string) ([]string, error) {
	all, err := migrations()
	if err != nil {
		return nil, err
	}
	r, err := renderer(cluster)
	if err != nil {
		return nil, err
	}
	out := []string{migrationsTable(cluster)}
	var records []string
	for _, m := range all {
		list, err := m.statements(r)
		if err != nil {
			return nil, err
		}
		out = append(out, list...)
		records = append(records, fmt.Sprintf("INSERT INTO schema_migrations (number, name, checksum) VALUES (%d, '%s', '%s')", m.number, m.name, m.sum))
	}
	return append(out, records...), nil
}

// renderer returns the rendering for a cluster, nil for one server.
func renderer(cluster string) (*rendering, error) {
	if cluster == "" {
		return nil, nil
	}
	return newRendering(cluster)
}

// statements splits a migration, in the form for r's cluster unless r is nil. Lines of comment before a statement are left out.
func (m migration) statements(r *rendering) ([]string, error) {
	var out []string
	for stmt := range strings.SplitSeq(m.sql, ";\n") {
		stmt = strings.TrimSpace(stmt)
		for strings.HasPrefix(stmt, "--") {
			_, rest, _ := strings.Cut(stmt, "\n")
			stmt = strings.TrimSpace(rest)
		}
		if stmt = strings.TrimSuffix(stmt, ";"); stmt == "" {
			continue
		}
		if r == nil {
			out = append(out, stmt)
			continue
		}
		list, err := r.statement(stmt)
		if err != nil {
			return nil, fmt.Errorf("render migration %s for a cluster: %w", m.name, err)
		}
		out = append(out, list...)
	}
	return out, nil
}

// migrationsTable records what was applied. In a cluster every server has all of it: it has one path for all shards, and a replica's
// name holds its shard's because replicas of several shards may have the same.
func migrationsTable(cluster string) string {
	on, engine := "", "ReplacingMergeTree"
	if cluster != "" {
		on = " ON CLUSTER '" + cluster + "'"
		engine = "ReplicatedReplacingMergeTree('/clickhouse/tables/all/{database}/schema_migrations', '{shard}_{replica}')"
	}
	return "CREATE TABLE IF NOT EXISTS schema_migrations" + on + "\n" +
		"(number UInt32, name String, checksum String, applied_at DateTime64(3, 'UTC') DEFAULT now64(3)) ENGINE = " + engine + " ORDER BY number"
}
