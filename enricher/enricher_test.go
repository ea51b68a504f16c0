package enricher_test

import (
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/bus/bustest"
	"github.com/gyre-sec/gyre/enricher"
	"github.com/gyre-sec/gyre/schemas/eventv1"
	"github.com/gyre-sec/gyre/schemas/eventv1/eventtest"
	"github.com/gyre-sec/gyre/schemas/factv1"
	"github.com/gyre-sec/gyre/schemas/subject"
)

func facts(t testing.TB, b *bus.Bus, node string) {
	t.Helper()
	kv, err := b.KV(t.Context(), bus.BucketFacts)
	if err != nil {
		t.Fatal(err)
	}
	users, err := factv1.Users{Users: []factv1.User{{UID: 1000, Name: "ada", Home: "/home/ada"}}, Groups: []factv1.Group{{GID: 1000, Name: "staff"}}}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	host, err := factv1.Host{Node: node, Kernel: "6.1.0", OSName: "Debian 12", Machine: "x86_64", Labels: map[string]string{"team": "shop"}, Cloud: &factv1.Cloud{Provider: "aws", Zone: "eu-west-1a"}}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for key, value := range map[string][]byte{factv1.UsersKey(node): users, subject.FactHost(node): host} {
		if _, err := kv.Put(t.Context(), key, value); err != nil {
			t.Fatal(err)
		}
	}
}

func start(t *testing.T, b *bus.Bus) func() {
	t.Helper()
	e, err := enricher.New(enricher.DefaultConfig(), b, bustest.Log(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestTablesAreEnrichedAndEventsUntouched(t *testing.T) {
	b := bustest.New(t)
	const node = "web.1"
	facts(t, b, node)
	stop := start(t, b)
	defer stop()
	pub := b.NewPublisher(bus.PublisherConfig{Stage: "test"})
	build := eventv1.NewBuilder()
	enriched := make(chan bus.Stored, 100)
	go func() {
		_ = b.Tail(t.Context(), bus.TailConfig{Stream: bus.StreamEnriched, Seq: 1}, func(m bus.Stored) error { enriched <- m; return nil })
	}()
	for i := 0; ; i++ { // facts arrive through a watch: send until a batch has met them
		eventtest.Sample(build, node, uint64(1+i*20), 20)
		raw := append([]byte(nil), build.Encode()...)
		var in, out eventv1.Batch
		if err := eventv1.NewDecoder().Decode(raw, &in); err != nil {
			t.Fatal(err)
		}
		id := node + "/" + in.BootID + "/" + time.Now().String()
		if err := pub.Publish(t.Context(), bus.Message{Subject: subject.Event("syscall", node), ID: id, Data: raw}); err != nil {
			t.Fatal(err)
		}
		m := <-enriched
		if m.ID != id || m.Subject != subject.Enriched("syscall", node) {
			t.Fatalf("got %s %s, want id %s", m.Subject, m.ID, id)
		}
		if err := eventv1.NewDecoder().Decode(m.Data, &out); err != nil {
			t.Fatal(err)
		}
		if string(out.Events) != string(in.Events) || out.FirstSeq != in.FirstSeq || len(out.Procs) != len(in.Procs) {
			t.Fatal("events or rows changed")
		}
		kernel, _ := out.Label("kernel")
		if out.User(out.Procs[0].User) == nil || kernel == "" {
			if i > 1000 {
				t.Fatal("facts never arrived")
			}
			continue
		}
		p := out.Procs[0]
		if u := out.User(p.User); out.Text(u.Name) != "ada" || out.Text(u.Home) != "/home/ada" || out.Text(p.Group) != "staff" || kernel != "6.1.0" {
			t.Errorf("user %+v group %q kernel %q", u, out.Text(p.Group), kernel)
		}
		team, _ := out.Label("label.team")
		zone, _ := out.Label("cloud.zone")
		if _, empty := out.Label("cloud.region"); team != "shop" || zone != "eu-west-1a" || empty {
			t.Errorf("labels of the node: %q %q", team, zone)
		}
		for _, p := range out.Procs {
			if p.Container >= 0 && p.User >= 0 {
				t.Error("a process of a container got a user of the host")
			}
		}
		return
	}
}

func TestGarbageIsDeadLettered(t *testing.T) {
	b := bustest.New(t)
	stop := start(t, b)
	defer stop()
	pub := b.NewPublisher(bus.PublisherConfig{Stage: "test"})
	if err := pub.Publish(t.Context(), bus.Message{Subject: subject.Event("syscall", "n"), ID: "x", Data: []byte("garbage")}); err != nil {
		t.Fatal(err)
	}
	dead := make(chan bus.Stored, 1)
	go func() {
		_ = b.Tail(t.Context(), bus.TailConfig{Stream: bus.StreamDead, Seq: 1}, func(m bus.Stored) error { dead <- m; return nil })
	}()
	if m := <-dead; m.Subject != subject.Dead("enricher") {
		t.Errorf("dead letter on %s", m.Subject)
	}
}

func TestBoundaries(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "./...").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for p := range strings.FieldsSeq(string(out)) {
		for _, bad := range []string{"gyre/collector", "gyre/evaluator", "gyre/sink", "gyre/bpf", "cilium/ebpf", "google/cel-go", "clickhouse-go", "nats-server"} {
			if strings.Contains(p, bad) {
				t.Errorf("enricher depends on %s", p)
			}
		}
	}
}

func BenchmarkBatch(b *testing.B) {
	build := eventv1.NewBuilder()
	eventtest.Sample(build, "n", 1, 256)
	raw := append([]byte(nil), build.Encode()...)
	dec, enc := eventv1.NewDecoder(), eventv1.NewEncoder()
	var batch eventv1.Batch
	b.ReportAllocs()
	for b.Loop() {
		if err := dec.Decode(raw, &batch); err != nil {
			b.Fatal(err)
		}
		enc.Encode(&batch)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/256, "ns/event")
}
