package enricher_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/bus/bustest"
	"github.com/gyre-sec/gyre/enricher"
	"github.com/gyre-sec/gyre/enricher/account"
	"github.com/gyre-sec/gyre/enricher/container"
	"github.com/gyre-sec/gyre/enricher/host"
	"github.com/gyre-sec/gyre/schemas/eventv1"
	"github.com/gyre-sec/gyre/schemas/eventv1/eventtest"
	"github.com/gyre-sec/gyre/schemas/factv1"
	"github.com/gyre-sec/gyre/schemas/subject"
)

// sampleContainer is the one in the batches of eventtest.
const sampleContainer = "3f1c9a7be0d24c55a1f0b7d3c526a1e4f0e9d531c2f3a4b5c6d7e8f901234567"

// held runs an enricher and lets tests send batches and read what comes out.
type held struct {
	t   *testing.T
	b   *bus.Bus
	reg *prometheus.Registry
	out chan bus.Stored
	n   uint64
}

func hold(t *testing.T, wait time.Duration) *held {
	t.Helper()
	return holdAtMost(t, wait, enricher.DefaultConfig().Containers.Max)
}

// holdAtMost keeps the facts of that many containers in memory.
func holdAtMost(t *testing.T, wait time.Duration, facts int) *held {
	t.Helper()
	h := &held{t: t, b: bustest.New(t), reg: prometheus.NewRegistry(), out: make(chan bus.Stored, 1000)}
	cfg := enricher.DefaultConfig()
	cfg.Containers.Wait, cfg.Containers.Max = wait, facts
	e, err := enricher.New(cfg, h.b, bustest.Log(), h.reg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	go func() {
		_ = h.b.Tail(ctx, bus.TailConfig{Stream: bus.StreamEnriched, Seq: 1}, func(m bus.Stored) error { h.out <- m; return nil })
	}()
	return h
}

func (h *held) send(node string) (id string) {
	h.t.Helper()
	build := eventv1.NewBuilder()
	eventtest.Sample(build, node, 1+h.n*20, 20)
	h.n++
	id = fmt.Sprintf("%s/%d", node, h.n)
	m := bus.Message{Subject: subject.Event("syscall", node), ID: id, Data: append([]byte(nil), build.Encode()...)}
	if err := h.b.NewPublisher(bus.PublisherConfig{Stage: "test"}).Publish(h.t.Context(), m); err != nil {
		h.t.Fatal(err)
	}
	return id
}

func (h *held) next() (string, *eventv1.Batch) {
	h.t.Helper()
	m := <-h.out
	var b eventv1.Batch
	if err := eventv1.NewDecoder().Decode(m.Data, &b); err != nil {
		h.t.Fatal(err)
	}
	return m.ID, &b
}

func (h *held) put(node string, c factv1.Container) {
	h.t.Helper()
	kv, err := h.b.KV(h.t.Context(), bus.BucketFacts)
	if err != nil {
		h.t.Fatal(err)
	}
	c.ID = sampleContainer
	data, err := c.Encode()
	if err != nil {
		h.t.Fatal(err)
	}
	if _, err := kv.Put(h.t.Context(), subject.FactContainer(node, c.ID), data); err != nil {
		h.t.Fatal(err)
	}
}

func (h *held) counter(name, label string) float64 {
	h.t.Helper()
	families, err := h.reg.Gather()
	if err != nil {
		h.t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && (label == "" || len(m.GetLabel()) == 1 && m.GetLabel()[0].GetValue() == label) {
				return m.GetCounter().GetValue()
			}
		}
	}
	return 0
}

func TestBatchWaitsForItsContainer(t *testing.T) {
	h := hold(t, 30*time.Second)
	h.put("quick", factv1.Container{Name: "known"})
	first := h.send("quick")
	if id, _ := h.next(); id != first { // now the enricher has read the fact
		t.Fatalf("first out: %s", id)
	}
	before := h.counter("gyre_enricher_batches_held_total", "")
	slow := h.send("slow.1")
	quick := h.send("quick") // comes out although the one before it waits
	if id, b := h.next(); id != quick || b.Text(b.Containers[0].Name) != "known" {
		t.Fatalf("first out: %s", id)
	}
	yes := true
	h.put("slow.1", factv1.Container{
		Runtime: "docker", Name: "web", Image: "registry:5000/shop/web:7", ImageRepo: "registry:5000/shop/web", ImageTag: "7", Privileged: &yes, HostPID: true,
		Labels: map[string]string{"team": "shop"}, Mounts: []factv1.Mount{{Source: "/proc", Dest: "/host/proc", Mode: "ro", Propagation: "private"}}, Env: []string{"PATH"},
		PodName: "web-0", PodNamespace: "shop", PodUID: "u1", Started: 99,
		Users: []factv1.User{{UID: 1000, Name: "nginx", Home: "/var/www"}}, Groups: []factv1.Group{{GID: 1000, Name: "www"}},
	})
	id, b := h.next()
	c := b.Container(0)
	if id != slow || c.Flags != eventv1.ContainerKnown|eventv1.ContainerHostPID || c.Privileged != eventv1.Yes || c.Start != 99 {
		t.Fatalf("%s: %+v", id, c)
	}
	got := fmt.Sprint(b.Text(c.Runtime), b.Text(c.Name), b.Text(c.Image), b.Text(c.ImageRepo), b.Text(c.ImageTag), b.Text(c.PodName), b.Text(c.PodNamespace), b.Text(c.PodUID),
		b.Text(c.Labels[0].Key), b.Text(c.Labels[0].Value), b.Text(c.Mounts[0].Source), b.Text(c.Mounts[0].Dest), b.Text(c.Mounts[0].Mode), b.Text(c.Mounts[0].Propagation), b.Text(c.Env[0]))
	if want := fmt.Sprint("docker", "web", "registry:5000/shop/web:7", "registry:5000/shop/web", "7", "web-0", "shop", "u1", "team", "shop", "/proc", "/host/proc", "ro", "private", "PATH"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for i := range b.Procs {
		p := &b.Procs[i]
		if p.Container != 0 {
			continue
		}
		if u := b.User(p.User); u == nil || b.Text(u.Name) != "nginx" || u.Container != 0 || b.Text(p.Group) != "www" {
			t.Errorf("user %+v, group %q of the container", u, b.Text(p.Group))
		}
	}
	if n := h.counter("gyre_enricher_batches_held_total", "") - before; n != 1 {
		t.Errorf("%v batches were held", n)
	}
}

func TestWaitEnds(t *testing.T) {
	h := hold(t, 100*time.Millisecond)
	for range 3 { // the first waits; the others know that it is in vain
		id := h.send("n")
		if got, b := h.next(); got != id || b.Containers[0].Flags != eventv1.ContainerIncomplete || b.Count != 20 {
			t.Fatalf("%s: %+v", got, b.Containers[0])
		}
	}
	if held, missing := h.counter("gyre_enricher_batches_held_total", ""), h.counter("gyre_enricher_container_rows_total", "incomplete"); held != 1 || missing != 3 {
		t.Errorf("%v held, %v incomplete", held, missing)
	}
	h.put("n", factv1.Container{Name: "late"})
	for i := 0; ; i++ {
		h.send("n")
		if _, b := h.next(); b.Text(b.Containers[0].Name) == "late" {
			break
		}
		if i > 1000 {
			t.Fatal("facts that came late are not used")
		}
	}
}

func TestNodeThatKnowsNothing(t *testing.T) {
	h := hold(t, 30*time.Second)
	h.put("n", factv1.Container{Unknown: true})
	h.send("n")
	if _, b := h.next(); b.Containers[0].Flags != eventv1.ContainerIncomplete {
		t.Errorf("%+v", b.Containers[0])
	}
	if n := h.counter("gyre_enricher_container_rows_total", "unknown"); n != 1 {
		t.Errorf("%v batches took the node's word", n)
	}
}

// TestMemoryIsBounded: facts that had to leave memory are read again when a batch names their container.
func TestMemoryIsBounded(t *testing.T) {
	h := holdAtMost(t, 30*time.Second, 1)
	nodes := []string{"a", "b", "c"}
	for _, n := range nodes {
		h.put(n, factv1.Container{Name: "of-" + n})
	}
	for range 3 {
		for _, n := range nodes {
			h.send(n)
			if _, b := h.next(); b.Node != n || b.Text(b.Containers[0].Name) != "of-"+n {
				t.Fatalf("node %s: container %q", b.Node, b.Text(b.Containers[0].Name))
			}
		}
	}
	if n := h.counter("gyre_enricher_container_facts_evicted_total", ""); n == 0 {
		t.Error("nothing was evicted")
	}
}

func TestConfigIsChecked(t *testing.T) {
	for _, change := range []func(*enricher.Config){
		func(c *enricher.Config) { c.Containers.Wait = -1 },
		func(c *enricher.Config) { c.Containers.Wait = time.Hour },
		func(c *enricher.Config) { c.Containers.Max = 0 },
		func(c *enricher.Config) { c.Containers.Holding = 0 },
	} {
		c := enricher.DefaultConfig()
		if change(&c); c.Validate() == nil {
			t.Errorf("accepted: %+v", c)
		}
	}
}

// BenchmarkEnrich is the whole work of an enricher on a batch of 256 events whose facts are in memory: decoding, stages
// and encoding, without NATS.
func BenchmarkEnrich(b *testing.B) {
	server := bustest.New(b)
	const node = "n"
	cs, err := container.New(server, container.DefaultConfig(), bustest.Log(), prometheus.NewRegistry())
	if err != nil {
		b.Fatal(err)
	}
	stages := []enricher.Stage{account.New(server, 10, bustest.Log()), host.New(server, 10, bustest.Log()), cs}
	for _, s := range stages {
		go func() { _ = s.Run(b.Context()) }()
	}
	no := false
	c := factv1.Container{
		ID: sampleContainer, Name: "web", Image: "docker.io/library/nginx:1.27", ImageRepo: "docker.io/library/nginx", ImageTag: "1.27", Privileged: &no, PodName: "web-0", PodNamespace: "shop",
		PodUID: "u-1", Labels: map[string]string{"io.kubernetes.pod.name": "web-0", "io.kubernetes.pod.namespace": "shop", "team": "shop"}, PodLabels: map[string]string{"app": "web"},
		Mounts: []factv1.Mount{{Source: "/var/lib/kubelet/x", Dest: "/data"}, {Source: "/etc/hosts", Dest: "/etc/hosts"}}, Env: []string{"HOME", "PATH"},
		Users: []factv1.User{{UID: 1000, Name: "nginx"}}, Groups: []factv1.Group{{GID: 1000, Name: "www"}},
	}
	value, err := c.Encode()
	if err != nil {
		b.Fatal(err)
	}
	kv, err := server.KV(b.Context(), bus.BucketFacts)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := kv.Put(b.Context(), subject.FactContainer(node, c.ID), value); err != nil {
		b.Fatal(err)
	}
	facts(b, server, node)
	build := eventv1.NewBuilder()
	eventtest.Sample(build, node, 1, 256)
	raw := append([]byte(nil), build.Encode()...)
	dec, enc := eventv1.NewDecoder(), eventv1.NewEncoder()
	var batch eventv1.Batch
	work := func() {
		if err := dec.Decode(raw, &batch); err != nil {
			b.Fatal(err)
		}
		if cs.Missing(&batch) {
			return
		}
		for _, s := range stages {
			if err := s.Enrich(b.Context(), &batch); err != nil {
				b.Fatal(err)
			}
		}
		enc.Encode(&batch)
	}
	for begin := time.Now(); time.Since(begin) < time.Minute; { // until the watches have brought the facts
		work()
		if _, kernel := batch.Label("kernel"); kernel && batch.Text(batch.Containers[0].Name) == "web" && batch.Procs[0].User >= 0 {
			break
		}
	}
	if batch.Text(batch.Containers[0].Name) != "web" {
		b.Fatal("the facts did not come")
	}
	b.ReportAllocs()
	for b.Loop() {
		work()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/256, "ns/event")
}
