package clickhouse

// RenderForTest returns the form for a cluster of a migration's text.
func RenderForTest(cluster, text string) ([]string, error) {
	r, err := newRendering(cluster)
	if err != nil {
		return nil, err
	}
	return migration{name: "test", sql: text}.statements(r)
}
