package containers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/bus/bustest"
	"github.com/gyre-sec/gyre/schemas/eventv1"
	"github.com/gyre-sec/gyre/schemas/eventv1/eventtest"
	"github.com/gyre-sec/gyre/schemas/factv1"
	"github.com/gyre-sec/gyre/schemas/subject"
)

// perBatch is how many events a batch has.
const perBatch = 256

// sampleContainer is the one in the batches of eventtest.
const sampleContainer = "3f1c9a7be0d24c55a1f0b7d3c526a1e4f0e9d531c2f3a4b5c6d7e8f901234567"

func batches() int {
	if n, err := strconv.Atoi(os.Getenv("GYRE_DRAIN")); err == nil {
		return n
	}
	return 400
}

// drain is a stream of batches and the programs that enrich them.
type drain struct {
	t      *testing.T
	bin    string
	server *bustest.Server
	b      *bus.Bus
}

func newDrain(t *testing.T) *drain {
	t.Helper()
	d := &drain{t: t, bin: filepath.Join(t.TempDir(), "gyre-enricher"), server: bustest.Start(t)}
	build := exec.Command("go", "build", "-o", d.bin, "github.com/gyre-sec/gyre/enricher/cmd/gyre-enricher")
	build.Dir = "../../.." // the workspace, which knows all modules
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	d.b = d.server.Connect()
	return d
}

// enricher starts the program; wait is how long it may hold a batch.
func (d *drain) enricher(wait time.Duration) *exec.Cmd {
	d.t.Helper()
	cmd := exec.Command(d.bin, "-set", "enricher.workers=1", "-set", "enricher.containers.wait="+wait.String())
	cmd.Env = append(os.Environ(), "GYRE_NATS_URL="+d.server.URL(), "GYRE_NATS_TOKEN="+d.server.Token(), "GOMAXPROCS=1")
	if err := cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { _ = cmd.Process.Kill() })
	return cmd
}

func (d *drain) send(from, n int, node string) {
	d.t.Helper()
	pub, build := d.b.NewPublisher(bus.PublisherConfig{Stage: "test"}), eventv1.NewBuilder()
	failed := make(chan error, n)
	for i := from; i < from+n; i++ {
		eventtest.Sample(build, node, uint64(i)*perBatch, perBatch)
		m := bus.Message{Subject: subject.Event("syscall", node), ID: fmt.Sprintf("%s/%d", node, i), Data: append([]byte(nil), build.Encode()...)}
		if err := pub.PublishAsync(d.t.Context(), m, func(err error) { failed <- err }); err != nil {
			d.t.Fatal(err)
		}
	}
	for range n {
		if err := <-failed; err != nil {
			d.t.Fatal(err)
		}
	}
}

func (d *drain) fact(node string) {
	d.t.Helper()
	kv, err := d.b.KV(d.t.Context(), bus.BucketFacts)
	if err != nil {
		d.t.Fatal(err)
	}
	data, err := factv1.Container{ID: sampleContainer, Name: "web", Image: "nginx:1", ImageRepo: "nginx", ImageTag: "1"}.Encode()
	if err != nil {
		d.t.Fatal(err)
	}
	if _, err := kv.Put(d.t.Context(), subject.FactContainer(node, sampleContainer), data); err != nil {
		d.t.Fatal(err)
	}
}

// enriched reads until n batches with different ids have come; each is looked at.
func (d *drain) enriched(n int, look func(id string, b *eventv1.Batch)) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), 5*time.Minute)
	defer cancel()
	enough := errors.New("enough")
	ids := map[string]int{}
	err := d.b.Tail(ctx, bus.TailConfig{Stream: bus.StreamEnriched, Seq: 1}, func(m bus.Stored) error {
		ids[m.ID]++
		if look != nil {
			var b eventv1.Batch
			if err := eventv1.NewDecoder().Decode(m.Data, &b); err != nil {
				return err
			}
			look(m.ID, &b)
		}
		if len(ids) == n {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) {
		d.t.Fatalf("%v after %d of %d batches", err, len(ids), n)
	}
	for id, times := range ids {
		if times != 1 {
			d.t.Errorf("batch %s is there %d times", id, times)
		}
	}
}

// TestKilledEnricher kills one of two enrichers while both have batches in work and hold others for facts.
func TestKilledEnricher(t *testing.T) {
	d := newDrain(t)
	first := d.enricher(20 * time.Second)
	d.enricher(20 * time.Second)
	n := batches()
	d.fact("quick")
	d.send(0, n/2, "quick")
	d.send(0, 50, "slow") // held: nothing knows its container yet
	d.send(n/2, n-n/2, "quick")
	d.enriched(n/4, nil)
	if err := first.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = first.Wait() // killed
	d.fact("slow")
	events, incomplete := 0, 0
	d.enriched(n+50, func(_ string, b *eventv1.Batch) {
		events += b.Count
		if b.Text(b.Containers[0].Name) != "web" || b.Containers[0].Flags&eventv1.ContainerIncomplete != 0 {
			incomplete++
		}
	})
	if events != (n+50)*perBatch || incomplete > 0 {
		t.Errorf("%d events, want %d; %d batches without facts", events, (n+50)*perBatch, incomplete)
	}
}

// TestThroughput drains a stream with one process and with two; it asserts nothing about time.
func TestThroughput(t *testing.T) {
	for _, processes := range []int{1, 2} {
		d := newDrain(t)
		n := batches()
		d.fact("n")
		d.send(0, n, "n")
		begin := time.Now()
		var cmds []*exec.Cmd
		for range processes {
			cmds = append(cmds, d.enricher(2*time.Second))
		}
		d.enriched(n, nil)
		took := time.Since(begin)
		var cpu time.Duration
		for _, c := range cmds {
			if err := c.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			if err := c.Wait(); err != nil {
				t.Error(err)
			}
			cpu += c.ProcessState.UserTime() + c.ProcessState.SystemTime()
		}
		events := n * perBatch
		t.Logf("%d process(es): %d events in %s, %.0f events/s, %.3f µs of CPU per event", processes, events, took.Round(time.Millisecond),
			float64(events)/took.Seconds(), float64(cpu.Microseconds())/float64(events))
	}
}
