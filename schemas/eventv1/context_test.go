package eventv1_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/gyre-sec/gyre/schemas/eventv1"
	"github.com/gyre-sec/gyre/schemas/eventv1/eventtest"
)

// withContext is a sample batch with every column of the context tables set.
func withContext(t testing.TB) []byte {
	t.Helper()
	b := decode(t, sample(t, 16))
	id := b.AddString
	if len(b.Addresses) != 2 {
		t.Fatalf("%d addresses, want both ends of the connections", len(b.Addresses))
	}
	for i := range b.Addresses {
		a := &b.Addresses[i]
		a.Name, a.Country, a.ASN, a.ASOrg = id("dns.example.org"), id("US"), 15169, id("Example")
		a.Service, a.Pod, a.Workload = id("kube-system/dns"), id("kube-system/dns-1"), id("Deployment/kube-system/dns")
		a.Labels = []eventv1.Label{{Key: id("zone"), Value: id("office")}}
	}
	b.Pods = append(b.Pods, eventv1.Pod{
		UID: id("3f1c"), Namespace: id("shop"), Name: id("web-1"), Node: id("n1"), IP: id("10.0.0.5"), ServiceAccount: id("default"), NamespaceUID: id("77"),
		Owners: []eventv1.Owner{{Kind: id("ReplicaSet"), Name: id("web"), UID: id("8")}}, Labels: []eventv1.Label{{Key: id("app"), Value: id("web")}},
		NamespaceLabels: []eventv1.Label{{Key: id("team"), Value: id("a")}}, Services: []eventv1.StrID{id("web")},
		Changes: []eventv1.Change{{Time: 5, Kind: id("image"), Object: id("Deployment/shop/web"), What: id("nginx:1 to nginx:2")}},
	})
	b.Containers[0].PodUID = id("3f1c")
	b.Procs[0].ExeHash = id("0123456789abcdef0123456789abcdef")
	return append([]byte(nil), eventv1.NewEncoder().Encode(b)...)
}

func TestContextRoundTrip(t *testing.T) {
	data := withContext(t)
	b := decode(t, data)
	again := decode(t, append([]byte(nil), eventv1.NewEncoder().Encode(b)...))
	if d := cmp.Diff(b, again, cmpopts.IgnoreUnexported(eventv1.Batch{}), cmpopts.EquateEmpty()); d != "" {
		t.Errorf("second round (-want +got)\n%s", d)
	}
	for _, e := range events(t, b) {
		if e.Kind != eventv1.Connect {
			continue
		}
		a := b.Address(e.Str(eventv1.ConnectDAddr))
		if a == nil || b.Text(a.Addr) != "\x08\x08\x08\x08" || b.Text(a.Name) != "dns.example.org" {
			t.Errorf("address %+v", a)
		}
	}
	if p := b.PodOf(&b.Containers[0]); p == nil || b.Text(p.Name) != "web-1" {
		t.Errorf("pod %+v", p)
	}
	if got, want := b.ExeSum(0), "3031323334353637383961626364656630313233343536373839616263646566"; got != want {
		t.Errorf("sum %s, want %s", got, want)
	}
	for n := range data {
		var x eventv1.Batch
		if err := eventv1.NewDecoder().Decode(data[:n], &x); err == nil {
			t.Fatalf("a batch cut at byte %d decodes", n)
		}
	}
}

// TestAddressesOfAnyShape reads rows of each length that encoding makes.
func TestAddressesOfAnyShape(t *testing.T) {
	for _, fill := range []func(b *eventv1.Batch, a *eventv1.NetAddr){
		func(*eventv1.Batch, *eventv1.NetAddr) {},
		func(b *eventv1.Batch, a *eventv1.NetAddr) { a.Name = b.AddString("x") },
		func(_ *eventv1.Batch, a *eventv1.NetAddr) { a.ASN = 7 },
		func(b *eventv1.Batch, a *eventv1.NetAddr) { a.Pod = b.AddString("ns/p") },
		func(b *eventv1.Batch, a *eventv1.NetAddr) {
			a.Labels = []eventv1.Label{{Key: b.AddString("k"), Value: b.AddString("v")}}
		},
	} {
		b := decode(t, sample(t, 16))
		fill(b, &b.Addresses[1])
		again := decode(t, append([]byte(nil), eventv1.NewEncoder().Encode(b)...))
		if d := cmp.Diff(b.Addresses, again.Addresses, cmpopts.EquateEmpty()); d != "" {
			t.Errorf("(-want +got)\n%s", d)
		}
	}
}

func BenchmarkBuildConnects(b *testing.B) {
	build := eventv1.NewBuilder()
	b.ReportAllocs()
	for b.Loop() {
		eventtest.Sample(build, "n", 1, 256)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/256, "ns/event")
}
