package intel

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/bus/bustest"
	"github.com/gyre-sec/gyre/bus/indicator"
	"github.com/gyre-sec/gyre/daemon"
)

func feeder(t *testing.T, b *bus.Bus, lists ...List) *Feeder {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Lists, cfg.MaxBytes, cfg.Retry, cfg.Timeout = lists, 64*daemon.KiB, 30*time.Second, 10*time.Second
	f, err := New(cfg, b, bustest.Log(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func entries(t *testing.T, b *bus.Bus, name string) []string {
	t.Helper()
	kv, err := b.KV(t.Context(), bus.BucketIntel)
	if err != nil {
		t.Fatal(err)
	}
	m, err := indicator.Get(t.Context(), kv, name)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	if err := indicator.Each(t.Context(), kv, m, func(x []byte) { out = append(out, string(x)) }); err != nil {
		t.Fatal(err)
	}
	return out
}

// forget lets the next turn begin at once.
func forget(t *testing.T, f *Feeder, name string) {
	t.Helper()
	kv, err := f.b.KV(t.Context(), bus.BucketIntel)
	if err != nil {
		t.Fatal(err)
	}
	e, err := kv.Get(t.Context(), "feed."+name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Put(t.Context(), "feed."+name, []byte(strings.Replace(string(e.Value), `"until":"2`, `"until":"1`, 1))); err != nil {
		t.Fatal(err)
	}
}

// TestURL fetches a list from a server that fails twice, then answers with an etag, then says that nothing changed, then has a new one.
func TestURL(t *testing.T) {
	b := bustest.New(t)
	var calls, notModified atomic.Int32
	var body atomic.Value
	body.Store("1.2.3.4\nevil.example\n")
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if calls.Add(1) <= 2 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		text, _ := body.Load().(string)
		etag := fmt.Sprintf("%q", fmt.Sprint(len(text)))
		if r.Header.Get("If-None-Match") == etag {
			notModified.Add(1)
			w.WriteHeader(http.StatusNotModified)
			return
		}
		w.Header().Set("ETag", etag)
		fmt.Fprint(w, text)
	}))
	defer s.Close()
	l := List{Name: "feed", Secret: daemon.NewSecret(s.URL + "/token-in-path")}
	f := feeder(t, b, l)
	if _, err := f.turn(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	if got := entries(t, b, "feed"); !slices.Equal(got, []string{"1.2.3.4", "evil.example"}) || calls.Load() != 3 {
		t.Errorf("%v after %d calls", got, calls.Load())
	}
	if _, err := f.turn(t.Context(), l); err != nil || calls.Load() != 3 {
		t.Errorf("it was not time: %d calls, %v", calls.Load(), err)
	}
	other := feeder(t, b, l) // another enricher finds that it is done
	if wait, err := other.turn(t.Context(), l); err != nil || calls.Load() != 3 || wait > time.Hour {
		t.Errorf("another one fetched as well: %d calls, %v", calls.Load(), err)
	}
	forget(t, f, "feed")
	if _, err := f.turn(t.Context(), l); err != nil || notModified.Load() != 1 {
		t.Errorf("the etag was not sent: %v", err)
	}
	body.Store("5.6.7.8\n")
	forget(t, f, "feed")
	if _, err := f.turn(t.Context(), l); err != nil || !slices.Equal(entries(t, b, "feed"), []string{"5.6.7.8"}) {
		t.Errorf("%v %v", entries(t, b, "feed"), err)
	}
	body.Store("<html>sign in</html>\n")
	forget(t, f, "feed")
	_, err := f.turn(t.Context(), l)
	if err == nil || !strings.Contains(err.Error(), "list feed:1:") || strings.Contains(err.Error(), "token-in-path") {
		t.Errorf("got %v", err)
	}
	body.Store(strings.Repeat("9.9.9.9\n", 1<<14))
	forget(t, f, "feed")
	if _, err = f.turn(t.Context(), l); err == nil || !strings.Contains(err.Error(), "64KiB") {
		t.Errorf("a large answer: %v", err)
	}
	if !slices.Equal(entries(t, b, "feed"), []string{"5.6.7.8"}) {
		t.Error("a bad list replaced a good one")
	}
}

func TestFile(t *testing.T) {
	b := bustest.New(t)
	path := filepath.Join(t.TempDir(), "bad.txt")
	write := func(s string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l := List{Name: "own", File: path, Type: "ip", Every: time.Second}
	f := feeder(t, b, l)
	write("1.1.1.1\n")
	go func() { _ = f.Run(t.Context()) }()
	until := func(want string) {
		t.Helper()
		kv, err := b.KV(t.Context(), bus.BucketIntel)
		if err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
			if _, err := indicator.Get(t.Context(), kv, "own"); err == nil && slices.Equal(entries(t, b, "own"), []string{want}) {
				return
			}
		}
		t.Fatalf("the list never had %s", want)
	}
	until("1.1.1.1")
	write("22.22.22.22\n")
	until("22.22.22.22")
}

func TestConfig(t *testing.T) {
	for want, l := range map[string]List{
		"want one of file": {Name: "a"}, "cannot be the name": {Name: "a b", File: "x"}, "url is none": {Name: "a", URL: "ftp://x"},
		"type is": {Name: "a", File: "x", Type: "mail"}, "column is": {Name: "a", File: "x", Column: -1}, "every is": {Name: "a", File: "x", Every: 1},
	} {
		cfg := DefaultConfig()
		cfg.Lists = []List{l}
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
