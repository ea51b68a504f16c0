package exehash

import (
	"crypto/sha256"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/gyre-sec/gyre/daemon"
)

func file(t *testing.T, content string) (string, Key) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(path, []byte(content), 0o700); err != nil {
		t.Fatal(err)
	}
	return path, keyOf(t, path)
}

func keyOf(t *testing.T, path string) Key {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	st, _ := info.Sys().(*syscall.Stat_t)
	return Key{st.Dev, st.Ino, st.Ctim.Nano()}
}

func TestSums(t *testing.T) {
	cfg := DefaultConfig()
	cfg.MaxSize = daemon.KiB
	h := New[string](cfg, prometheus.NewRegistry())
	good, key := file(t, "content")
	large, largeKey := file(t, strings.Repeat("x", 2000))
	other, otherKey := file(t, "other")
	changed := otherKey
	changed.Ctime--
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, ok := h.Lookup(key); ok {
		t.Error("a file is known before it was asked for")
	}
	h.Ask(Ask[string]{largeKey, []string{large}, false, "large"})
	h.Ask(Ask[string]{changed, []string{other}, false, "changed"})
	h.Ask(Ask[string]{keyOf(t, pipe), []string{pipe}, false, "pipe"})
	h.Ask(Ask[string]{Key{1, 2, 3}, []string{"/no/such/file"}, false, "gone"})
	h.Ask(Ask[string]{key, []string{"/proc/0/exe", other, good}, false, "good"})
	if sum, ok := h.Lookup(key); !ok || sum != "" {
		t.Errorf("while it is being found: %q %v", sum, ok)
	}
	go h.Run(t.Context())
	a := <-h.Answers()
	want := sha256.Sum256([]byte("content"))
	if a.About != "good" || a.Sum != string(want[:]) || a.Size != 7 || a.Key != key {
		t.Errorf("got %+v", a)
	}
	if sum, ok := h.Lookup(key); !ok || sum != a.Sum {
		t.Errorf("afterwards: %q %v", sum, ok)
	}
	for result, n := range map[string]float64{"ok": 1, "too_large": 1, "changed": 2, "gone": 1} {
		if got := testutil.ToFloat64(h.done.WithLabelValues(result)); got != n {
			t.Errorf("%v files %s, want %v", got, result, n)
		}
	}
}

// TestUrgentGoesFirst asks for a file behind others.
func TestUrgentGoesFirst(t *testing.T) {
	h := New[string](DefaultConfig(), prometheus.NewRegistry())
	for range 3 {
		path, key := file(t, "old")
		h.Ask(Ask[string]{Key: key, Paths: []string{path}, About: "old"})
	}
	path, key := file(t, "new")
	h.Ask(Ask[string]{Key: key, Paths: []string{path}, Urgent: true, About: "new"})
	go h.Run(t.Context())
	if a := <-h.Answers(); a.About != "new" {
		t.Errorf("first answer about %s", a.About)
	}
}

// TestAskNeverWaits fills the queue of a hasher that does not run.
func TestAskNeverWaits(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Cache = 100
	h := New[int](cfg, prometheus.NewRegistry())
	for i := range queue + 10 {
		h.Ask(Ask[int]{Key: Key{Ino: uint64(i)}})
	}
	if got := testutil.ToFloat64(h.done.WithLabelValues("busy")); got != 10 {
		t.Errorf("%v questions turned away, want 10", got)
	}
	if len(h.known) != 100 || h.order.Len() != 100 {
		t.Errorf("%d entries, want 100", len(h.known))
	}
	if _, ok := h.Lookup(Key{Ino: queue + 5}); ok {
		t.Error("a question that was turned away cannot be put again")
	}
}

func TestPace(t *testing.T) {
	p := pacer{rate: 1 << 20}
	start := time.Now()
	for range 4 {
		if err := p.wait(t.Context(), 64<<10); err != nil {
			t.Fatal(err)
		}
	}
	if d := time.Since(start); d < 200*time.Millisecond {
		t.Errorf("256 KiB at 1 MiB/s took %s", d)
	}
}
