package label

import (
	"bytes"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/bus/bustest"
	"github.com/gyre-sec/gyre/schemas/eventv1"
	"github.com/gyre-sec/gyre/schemas/eventv1/eventtest"
	"github.com/gyre-sec/gyre/schemas/field"
)

func write(t testing.TB, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func batch(t testing.TB) *eventv1.Batch {
	t.Helper()
	x := eventv1.NewBuilder()
	eventtest.Sample(x, "web1", 1, 64)
	b := &eventv1.Batch{}
	if err := eventv1.NewDecoder().Decode(append([]byte(nil), x.Encode()...), b); err != nil {
		t.Fatal(err)
	}
	b.Users = append(b.Users, eventv1.User{UID: 1000, Container: -1, Name: b.AddString("ada")})
	for i := range b.Procs {
		b.Procs[i].User = 0
	}
	c := &b.Containers[0]
	c.ImageRepo, c.PodUID = b.AddString("registry/shop"), b.AddString("77")
	b.Pods = append(b.Pods, eventv1.Pod{UID: c.PodUID, Labels: []eventv1.Label{{Key: b.AddString("app"), Value: b.AddString("cart")}}})
	return b
}

// values reads fields for the first event of a kind, after a trip over the wire.
func values(t testing.TB, b *eventv1.Batch, k eventv1.Kind, proc int32, names ...string) map[string]any {
	t.Helper()
	var out eventv1.Batch
	if err := eventv1.NewDecoder().Decode(append([]byte(nil), eventv1.NewEncoder().Encode(b)...), &out); err != nil {
		t.Fatal(err)
	}
	r, v := eventv1.NewReader(), field.NewView()
	r.Reset(&out)
	v.Batch(&out)
	var e eventv1.Event
	for r.Next(&e) {
		if e.Kind != k {
			continue
		}
		if proc >= 0 {
			e.Proc = proc
		}
		v.Event(&e)
		got := map[string]any{}
		for _, n := range names {
			f, ok := field.Lookup(n)
			if !ok {
				t.Fatalf("no field %s", n)
			}
			got[n] = f.Value(v)
		}
		return got
	}
	t.Fatalf("no %s: %v", k, r.Err())
	return nil
}

func database(t testing.TB, name string, record mmdbtype.Map) string {
	t.Helper()
	w, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: "test", RecordSize: 24})
	if err != nil {
		t.Fatal(err)
	}
	_, n, _ := net.ParseCIDR("8.8.0.0/16")
	if err := w.Insert(n, record); err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	if _, err := w.WriteTo(&buf); err != nil {
		t.Fatal(err)
	}
	return write(t, name, buf.String())
}

func config(t testing.TB) Config {
	t.Helper()
	c := DefaultConfig()
	c.Poll = 100 * time.Millisecond
	c.Static = map[string]string{"env": "prod"}
	c.Lookups = []Lookup{
		{Name: "nodes", Field: "node.name", File: write(t, "nodes.csv", "key,rack\nweb1,r7\n")},
		{Name: "images", Field: "container.image.repository", File: write(t, "images.csv", "# who owns what\nkey,team,tier\nregistry/shop,blue,1\nother,red,2\n")},
		{Name: "apps", Field: "k8s.pod.label[app]", File: write(t, "apps.csv", "key,cost\ncart,4711\n")},
		{Name: "people", Field: "user.name", File: write(t, "people.csv", "key,role\nada,admin\n")},
		{Name: "tools", Field: "proc.exepath", File: write(t, "tools.csv", "key,package\n/usr/bin/make,make\n")},
	}
	c.Networks = write(t, "nets.csv", "network,site,zone\n10.0.0.0/8,corp,inside\n10.0.0.5,,printer\n2001:db8::/32,lab,\n")
	c.Country = database(t, "country.mmdb", mmdbtype.Map{"country": mmdbtype.Map{"iso_code": mmdbtype.String("US")}})
	c.ASN = database(t, "asn.mmdb", mmdbtype.Map{"autonomous_system_number": mmdbtype.Uint32(15169), "autonomous_system_organization": mmdbtype.String("Example Inc")})
	return c
}

func TestLabels(t *testing.T) {
	s, err := New(config(t), bustest.New(t), bustest.Log(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	b := batch(t)
	events := string(b.Events)
	for range 2 { // a batch that is enriched again stays the same
		if err := s.Enrich(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	if string(b.Events) != events {
		t.Error("events changed")
	}
	got := values(t, b, eventv1.Connect, -1, "node.label", "user.label", "fd.sip.country", "fd.sip.asn", "fd.sip.as_org", "fd.cip.label", "fd.cip.country", "fd.sip.label", "fd.rip.country", "fd.cip.asn")
	want := map[string]any{
		"node.label": []string{"env=prod", "rack=r7"}, "user.label": []string{"role=admin"}, "fd.sip.country": "US", "fd.sip.asn": int64(15169), "fd.sip.as_org": "Example Inc",
		"fd.cip.label": []string{"zone=printer", "site=corp"}, "fd.cip.country": nil, "fd.sip.label": nil, "fd.rip.country": "US", "fd.cip.asn": nil,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	if d := cmp.Diff(map[string]any{"container.label": []string{"team=blue", "tier=1", "cost=4711"}}, values(t, b, eventv1.Openat, 5, "container.label")); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	if d := cmp.Diff(map[string]any{"proc.label": []string{"package=make"}}, values(t, b, eventv1.Openat, 3, "proc.label")); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestBadTables(t *testing.T) {
	for _, c := range []struct{ name, content, want string }{
		{"empty", "", "x.csv:1: the table is empty"},
		{"no header", "web1,r7\n", `x.csv:1: the first line names 2 columns, the first one "web1"`},
		{"short line", "key,a,b\nx,1\n", "x.csv:2:"},
		{"double", "key,a\nx,1\ny,2\nx,3\n", `x.csv:4: "x" has a row already`},
		{"quote", "key,a\nx,\"1\n", "x.csv:"},
		{"label name", "key,a b\nx,1\n", `x.csv:1: column 2: "a b" cannot be a name`},
		{"long", "key,a\nx," + strings.Repeat("v", 2000) + "\n", "x.csv:2: column 2 has 2000 bytes"},
		{"rows", "key,a\n1,1\n2,2\n3,3\n4,4\n", "x.csv:5: more than 3 rows"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := readTable("x.csv", []byte(c.content), 3); !errors.Is(err, ErrTable) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
	for in, want := range map[string]string{
		"network,a\n10.0.0.0,x\n10.0.0.0/33,y\n": "x.csv:3: \"10.0.0.0/33\" is no network", "network,a\n10.0.0.1/8,x\n": "did you mean 10.0.0.0/8?", "network,a\n::1%eth0,x\n": "is no network",
	} {
		if _, err := readNetworks("x.csv", []byte(in), 10); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if _, err := readGeo("x.mmdb", []byte("no database")); !errors.Is(err, ErrTable) || !strings.Contains(err.Error(), "x.mmdb") {
		t.Errorf("got %v", err)
	}
}

func TestBadConfig(t *testing.T) {
	for field, want := range map[string]string{
		"no.such": "is no field", "fd.sip": "which events have", "evt.type": "which events have", "proc.aname": "is a list", "proc.name[x]": "has no elements", "proc.name[": "want a field",
	} {
		c := DefaultConfig()
		c.Lookups = []Lookup{{Name: "l", Field: field, File: "x"}}
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", field, err, want)
		}
	}
}

// TestReload changes a file and the bucket below a running stage; a bad table leaves the one before in force.
func TestReload(t *testing.T) {
	b := bustest.New(t)
	c := DefaultConfig()
	c.Poll = 100 * time.Millisecond
	c.Lookups = []Lookup{{Name: "file", Field: "node.name", File: write(t, "x.csv", "key,rack\nweb1,r7\n")}, {Name: "kv", Field: "node.name"}}
	reg := prometheus.NewRegistry()
	s, err := New(c, b, bustest.Log(), reg)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Run(t.Context()) }()
	kv, err := b.KV(t.Context(), bus.BucketContext)
	if err != nil {
		t.Fatal(err)
	}
	put := func(v string) {
		t.Helper()
		if _, err := kv.Put(t.Context(), "kv", []byte(v)); err != nil {
			t.Fatal(err)
		}
	}
	until := func(want ...string) {
		t.Helper()
		var got []string
		for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
			x := batch(t)
			if err := s.Enrich(t.Context(), x); err != nil {
				t.Fatal(err)
			}
			got, _ = values(t, x, eventv1.Connect, -1, "node.label")["node.label"].([]string)
			if cmp.Equal(got, want) {
				return
			}
		}
		t.Fatalf("labels %v, want %v", got, want)
	}
	until("rack=r7")
	put("key,owner\nweb1,ada\n")
	until("owner=ada", "rack=r7")
	put("key,owner\nweb1\n")
	if err := os.WriteFile(c.Lookups[0].File, []byte("key,rack\nweb1,r8\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	until("owner=ada", "rack=r8")
	if err := kv.Delete(t.Context(), "kv"); err != nil {
		t.Fatal(err)
	}
	until("rack=r8")
}

func FuzzTables(f *testing.F) {
	f.Add("key,a\nx,1\n")
	f.Add("network,a\n10.0.0.0/8,1\n")
	f.Fuzz(func(_ *testing.T, s string) {
		_, _ = readTable("x", []byte(s), 100)
		_, _ = readNetworks("x", []byte(s), 100)
		_, _ = readGeo("x", []byte(s))
	})
}

func BenchmarkEnrich(b *testing.B) {
	s, err := New(config(b), nil, bustest.Log(), prometheus.NewRegistry())
	if err != nil {
		b.Fatal(err)
	}
	x := eventv1.NewBuilder()
	eventtest.Sample(x, "web1", 1, 256)
	data := append([]byte(nil), x.Encode()...)
	d, in := eventv1.NewDecoder(), eventv1.Batch{}
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		if err := d.Decode(data, &in); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if err := s.Enrich(b.Context(), &in); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/256, "ns/event")
}
