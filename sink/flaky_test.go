package sink

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// flaky is a service that takes arrays of alerts, and fails in several ways.
type flaky struct {
	*httptest.Server
	mu                  sync.Mutex
	mode                string
	got                 map[string]tally
	taken, acknowledged int
	failed              map[string]int
}

// tally is how often an alert was taken, and how often the service said so, whether the sink heard it or not.
type tally struct{ taken, acknowledged int }

// Ways to fail: the service says so, it cuts the connection, it takes the alerts and cuts the connection, so that the sink cannot
// know, or it takes them and says so when the sink has gone.
const (
	modeUp   = ""
	modeBusy = "503"
	modeCut  = "cut"
	modeLost = "answer lost"
	modeLate = "answer late"
)

func newFlaky(t testing.TB) *flaky {
	f := &flaky{got: map[string]tally{}, failed: map[string]int{}}
	f.Server = httptest.NewServer(http.HandlerFunc(f.serve))
	t.Cleanup(f.Close)
	return f
}

func (f *flaky) serve(w http.ResponseWriter, r *http.Request) {
	var alerts []struct{ ID string }
	if err := json.NewDecoder(r.Body).Decode(&alerts); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	switch f.take(alerts) {
	case modeBusy:
		w.WriteHeader(http.StatusServiceUnavailable)
	case modeLate:
		_, _ = io.Copy(io.Discard, r.Body) // only then the server notices that the sink has gone
		<-r.Context().Done()
	}
}

// take counts alerts as the mode says; it panics to cut the connection.
func (f *flaky) take(alerts []struct{ ID string }) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mode != modeUp {
		f.failed[f.mode]++
	}
	if f.mode == modeUp || f.mode == modeLost || f.mode == modeLate {
		for _, a := range alerts {
			t := f.got[a.ID]
			t.taken++
			f.taken++
			if f.mode == modeUp || f.mode == modeLate {
				t.acknowledged++
				f.acknowledged++
			}
			f.got[a.ID] = t
		}
	}
	if f.mode == modeCut || f.mode == modeLost {
		panic(http.ErrAbortHandler)
	}
	return f.mode
}

// disturb changes the mode until ctx ends; then the service works.
func (f *flaky) disturb(ctx context.Context, rng *rand.Rand) {
	set := func(mode string) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.mode = mode
	}
	defer set(modeUp)
	for ctx.Err() == nil {
		set(modeUp)
		pause(ctx, time.Duration(50+rng.IntN(1200))*time.Millisecond)
		set([]string{modeBusy, modeCut, modeLost, modeLate}[rng.IntN(4)])
		pause(ctx, time.Duration(50+rng.IntN(800))*time.Millisecond)
	}
}

// said is how often it failed in which way.
func (f *flaky) said() string {
	var parts []string
	for _, m := range []string{modeBusy, modeCut, modeLost, modeLate} {
		parts = append(parts, fmt.Sprintf("%s: %d", m, f.failed[m]))
	}
	return strings.Join(parts, ", ")
}
