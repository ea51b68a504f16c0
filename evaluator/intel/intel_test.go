package intel

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/bus/bustest"
	"github.com/gyre-sec/gyre/bus/indicator"
	"github.com/gyre-sec/gyre/schemas/intelv1"
)

func build(t testing.TB, lists map[string]string) *Set {
	t.Helper()
	var b Builder
	for _, name := range slices.Sorted(mapsKeys(lists)) {
		p, err := intelv1.Parse(strings.NewReader(lists[name]), intelv1.Source{Name: name})
		if err != nil {
			t.Fatal(err)
		}
		_ = b.Add(name, func(add func([]byte)) error {
			for _, e := range p.Entries {
				add([]byte(e))
			}
			return nil
		})
	}
	return b.Build()
}

func mapsKeys(m map[string]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

const sum = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

var rawSum = string([]byte{
	0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24,
	0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
})

func TestSet(t *testing.T) {
	s := build(t, map[string]string{
		"a": "1.2.3.4\n10.0.0.0/8\nevil.example\n/tmp/x\n/opt/bad/\n" + sum + "\n",
		"b": "1.2.3.4\n10.9.0.0/16\n2001:db8::/32\nsub.evil.example\n",
	})
	for in, want := range map[string]string{
		"1.2.3.4": "a", "1.2.3.5": "", "10.1.1.1": "a", "10.9.1.1": "b", "::ffff:1.2.3.4": "a", "2001:db8::1": "b", "2001:db9::1": "",
	} {
		if got := s.IP(netip.MustParseAddr(in)); got != want {
			t.Errorf("address %s: %q, want %q", in, got, want)
		}
	}
	for in, want := range map[string]string{"evil.example": "a", "x.evil.example": "a", "y.sub.evil.example": "b", "notevil.example": "", "example": "", "": "", ".": "", "evil.example.org": ""} {
		if got := s.Domain(in); got != want {
			t.Errorf("domain %s: %q, want %q", in, got, want)
		}
	}
	for in, want := range map[string]string{"/tmp/x": "a", "/tmp/x/y": "", "/opt/bad/a/b": "a", "/opt/bad": "", "/opt/badly": "", "": "", "/": ""} {
		if got := s.Path(in); got != want {
			t.Errorf("path %s: %q, want %q", in, got, want)
		}
	}
	if s.SHA256(rawSum) != "a" || s.SHA256("") != "" || s.Len() != 10 {
		t.Errorf("sum %q, %d entries", s.SHA256(rawSum), s.Len())
	}
	empty := (&Builder{}).Build()
	if empty.IP(netip.MustParseAddr("1.2.3.4")) != "" || empty.Domain("a.b") != "" || empty.Path("/x") != "" || empty.SHA256(rawSum) != "" {
		t.Error("an empty set has something")
	}
}

func TestNothingIsAllocated(t *testing.T) {
	s := build(t, map[string]string{"a": "1.2.3.4\n10.0.0.0/8\n2001:db8::/32\nevil.example\n/opt/bad/\n" + sum + "\n"})
	a4, a6 := netip.MustParseAddr("10.2.3.4"), netip.MustParseAddr("2001:db8::7")
	if n := testing.AllocsPerRun(100, func() {
		s.IP(a4)
		s.IP(a6)
		s.Domain("a.b.evil.example")
		s.Path("/opt/bad/x/y")
		s.SHA256(rawSum)
	}); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

// TestWatch puts, replaces and deletes lists below a running watch.
func TestWatch(t *testing.T) {
	b := bustest.New(t)
	w := NewWatch(b, bus.BucketIntel, bustest.Log(), prometheus.NewRegistry())
	go func() { _ = w.Run(t.Context()) }()
	<-w.Ready()
	kv, err := b.KV(t.Context(), bus.BucketIntel)
	if err != nil {
		t.Fatal(err)
	}
	put := func(name string, entries ...string) {
		t.Helper()
		m, chunks, err := intelv1.Pack(name, "test", entries, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := indicator.Put(t.Context(), kv, m, chunks); err != nil {
			t.Fatal(err)
		}
	}
	until := func(addr, want string) {
		t.Helper()
		a := netip.MustParseAddr(addr)
		for end := time.Now().Add(time.Minute); w.Set().IP(a) != want; time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s is on %q, want %q", addr, w.Set().IP(a), want)
			}
		}
	}
	put("one", "1.1.1.1")
	until("1.1.1.1", "one")
	put("one", "2.2.2.2")
	until("2.2.2.2", "one")
	until("1.1.1.1", "")
	if _, err := kv.Put(t.Context(), "list.bad", []byte("no manifest")); err != nil {
		t.Fatal(err)
	}
	put("two", "3.3.3.3")
	until("3.3.3.3", "two")
	until("2.2.2.2", "one")
	keys, err := kv.Keys(t.Context())
	if err != nil || len(keys) != 5 {
		t.Errorf("keys %v, %v: chunks of replaced lists stay", keys, err)
	}
	if err := indicator.Delete(t.Context(), kv, "two"); err != nil {
		t.Fatal(err)
	}
	until("3.3.3.3", "")
}

func million(n int) *Builder {
	r := rand.New(rand.NewPCG(1, 2))
	b := &Builder{}
	_ = b.Add("big", func(add func([]byte)) error {
		for i := range n {
			switch i % 4 {
			case 0:
				v := r.Uint32()
				add(fmt.Appendf(nil, "%d.%d.%d.%d", v>>24, v>>16&255, v>>8&255, v&255))
			case 1:
				add(fmt.Appendf(nil, "host-%08x.example%d.com", r.Uint32(), i%1000))
			case 2:
				add(fmt.Appendf(nil, "%016x%016x%016x%016x", r.Uint64(), r.Uint64(), r.Uint64(), r.Uint64()))
			default:
				add(fmt.Appendf(nil, "/tmp/.cache-%x/payload", r.Uint64()))
			}
		}
		return nil
	})
	return b
}

// BenchmarkMillion tells what a million indicators take, and what an answer costs that is not there.
func BenchmarkMillion(b *testing.B) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	s := million(1_000_000).Build()
	runtime.GC()
	runtime.ReadMemStats(&after)
	sum := strings.Repeat("x", 32)
	i := uint32(0)
	b.ReportAllocs()
	for b.Loop() {
		i += 2654435761
		s.IP(netip.AddrFrom4([4]byte{byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i)}))
		s.Domain("www.some-host.example.org")
		s.Path("/usr/lib/x86_64-linux-gnu/libc.so.6")
		s.SHA256(sum)
	}
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(1<<20), "MiB")
	b.ReportMetric(float64(s.Bytes())/(1<<20), "MiB-tables")
}
