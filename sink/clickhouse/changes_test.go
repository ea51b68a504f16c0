package clickhouse_test

import (
	"testing"
	"time"

	"github.com/gyre-sec/gyre/schemas/changev1"
)

// TestChangesAreStoredOnce stores a change twice, in different company.
func TestChangesAreStoredOnce(t *testing.T) {
	s := open(t, server(t))
	change := func(version string) changev1.Change {
		return changev1.Change{
			ID: changev1.NewID("c", "u", version, "image"), Time: time.Now(), Cluster: "c", Kind: "image", ObjectKind: "Deployment", Namespace: "shop", Name: "web", UID: "u",
			What: "image a became b", Old: "a", New: "b", Touches: []string{"ServiceAccount/shop/robot"},
		}
	}
	for _, batch := range [][]changev1.Change{{change("1"), change("2")}, {change("2")}, nil} {
		if err := s.InsertChanges(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
	}
	r, err := s.Query(t.Context(), "SELECT count() AS n, any(new) AS new, any(touches[1]) AS touches FROM changes")
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Rows) != 1 || r.Rows[0][0] != "2" && r.Rows[0][0] != uint64(2) {
		t.Errorf("got %v", r.Rows)
	}
	if err := s.InsertChanges(t.Context(), []changev1.Change{{ID: "x"}}); err == nil {
		t.Error("a bad id was stored")
	}
}
