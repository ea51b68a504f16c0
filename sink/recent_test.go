package sink

import (
	"encoding/binary"
	"testing"
	"time"

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

// TestRecent: an id is known for as long as a lost acknowledgement takes to have an alert come again, at 5,000 others in a second, and
// for minRecent others however slowly they come; memory is bounded.
func TestRecent(t *testing.T) {
	id := func(n int) (id alertv1.ID) {
		binary.BigEndian.PutUint64(id[:], uint64(n))
		return id
	}
	for _, tt := range []struct {
		name  string
		every time.Duration
		after int
		known bool
	}{
		{"fast, 10 s later", time.Second / 5000, 50_000, true},
		{"fast, 30 s later", time.Second / 5000, 150_000, true},
		{"fast, two minutes later", time.Second / 5000, 600_000, false},
		{"slow", time.Minute, minRecent, true},
		{"slow, long ago", time.Minute, 2*minRecent + 1, false},
		{"too fast to keep", time.Microsecond, 2*maxRecent + 1, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, first := range []int{0, 1, minRecent - 1, minRecent, 2 * maxRecent / 3} { // where it stands among others
				var r recent
				at := time.Unix(1e9, 0)
				for n := range first + tt.after + 1 {
					r.add(id(n), at)
					at = at.Add(tt.every)
				}
				if got := r.has(id(first)); got != tt.known {
					t.Errorf("number %d is known after %d others: %t, want %t", first, tt.after, got, tt.known)
				}
				if len(r.now) > maxRecent || len(r.before) > maxRecent {
					t.Errorf("%d and %d ids", len(r.now), len(r.before))
				}
			}
		})
	}
}
