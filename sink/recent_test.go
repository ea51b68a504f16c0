package sink

import (
	"testing"

	"github.com/gyre-sec/gyre/schemas/alertv1"
)

// TestHistory: stretches that overlap, follow and precede each other give the ids of exactly their messages.
func TestHistory(t *testing.T) {
	f := newFixture(t)
	var all []alertv1.ID
	for range 50 {
		a := f.alert("r", alertv1.Warning)
		all = append(all, a.ID)
		f.publish(a)
	}
	h := &history{b: f.bus}
	for _, tt := range [][2]uint64{{10, 20}, {12, 30}, {10, 15}, {31, 40}, {1, 5}, {5, 50}, {50, 50}, {48, 90}} {
		var got []alertv1.ID
		if err := h.read(t.Context(), tt[0], tt[1], func(id alertv1.ID) { got = append(got, id) }); err != nil {
			t.Fatal(err)
		}
		want := all[tt[0]-1 : min(int(tt[1]), len(all))]
		if len(got) != len(want) {
			t.Fatalf("%v: %d ids, want %d", tt, len(got), len(want))
		}
		for i := range got {
			if got[i] != want[i] {
				t.Errorf("%v: number %d is another", tt, i)
			}
		}
	}
}
