package collector

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/gyre-sec/gyre/bpf"
	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/bus/bustest"
	"github.com/gyre-sec/gyre/collector/decode"
	"github.com/gyre-sec/gyre/collector/decode/recordtest"
	"github.com/gyre-sec/gyre/collector/replay"
	"github.com/gyre-sec/gyre/collector/spool"
	"github.com/gyre-sec/gyre/schemas/eventv1"
	"github.com/gyre-sec/gyre/schemas/factv1"
	"github.com/gyre-sec/gyre/schemas/subject"
)

func head(kind eventv1.Kind, pid uint32, start, at uint64, comm string) bpf.Header {
	h := bpf.Header{Kind: uint16(kind), Time: at, TGID: pid, TID: pid, Start: start, Execs: 1, UID: 1000, GID: 1000}
	copy(h.Comm[:], comm)
	return h
}

// handmade is a session: init and a shell run; the shell forks, the child becomes cat and opens a file n times.
func handmade(t testing.TB, opens int) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := replay.NewWriter(&out, replay.Meta{Node: "made"})
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(err)
	seed := func(pid uint32, start uint64, comm string, s recordtest.Snapshot, cmdline string) {
		h := head(eventv1.Execve, pid, start, 0, comm)
		h.Flags = bpf.FlagSeed
		s.UID = 1000
		must(w.Seed(recordtest.Exec(h, s), []byte(cmdline)))
	}
	seed(1, 10, "init", recordtest.Snapshot{Exe: "/sbin/init"}, "/sbin/init\x00")
	seed(30, 300, "bash", recordtest.Snapshot{PPID: 1, ParentStart: 10, Exe: "/bin/bash"}, "-bash\x00")
	must(w.Record(recordtest.Record(head(eventv1.Clone, 30, 300, 1000, "bash"), 17, 31, 31, 1000, 1, 31, 7)))
	h := head(eventv1.Execve, 31, 1000, 2000, "cat")
	h.Execs = 2
	must(w.Record(recordtest.Exec(h, recordtest.Snapshot{PPID: 30, ParentStart: 300, UID: 1000, Exe: "/bin/cat", Args: "cat\x00/etc/hostname\x00"})))
	for i := range opens {
		h := head(eventv1.Openat, 31, 1000, uint64(3000+i*1000), "cat")
		h.Execs, h.Ret = 2, 3
		must(w.Record(recordtest.Record(h, 3, -100, "/etc/hostname", "/", "etc/hostname", 0, 0, 0, 1, 2, 0, 0o100644, 0)))
	}
	h = head(eventv1.ProcExit, 31, 1000, uint64(4000+opens*1000), "cat")
	h.Execs = 2
	must(w.Record(recordtest.Record(h, 0, 1)))
	must(w.Close())
	return out.Bytes()
}

func play(t testing.TB, data []byte) Source {
	t.Helper()
	s, err := replay.New(bytes.NewReader(data), replay.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// collected is what stands in the EVENTS stream.
type collected struct {
	batches []*eventv1.Batch
	dec     *eventv1.Decoder
}

// read follows the stream until enough says so.
func read(t *testing.T, b *bus.Bus, enough func(*collected) bool) *collected {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c := &collected{dec: eventv1.NewDecoder()}
	stop := errors.New("enough")
	err := b.Tail(ctx, bus.TailConfig{Stream: bus.StreamEvents, Seq: 1}, func(m bus.Stored) error {
		batch := &eventv1.Batch{}
		if err := c.dec.Decode(append([]byte(nil), m.Data...), batch); err != nil {
			return err
		}
		c.batches = append(c.batches, batch)
		if enough(c) {
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) {
		t.Fatalf("read EVENTS: %v after %d batches", err, len(c.batches))
	}
	return c
}

// each calls fn for all events.
func (c *collected) each(t *testing.T, fn func(*eventv1.Batch, *eventv1.Event)) {
	t.Helper()
	r, e := eventv1.NewReader(), eventv1.Event{}
	for _, b := range c.batches {
		for r.Reset(b); r.Next(&e); {
			fn(b, &e)
		}
		if err := r.Err(); err != nil {
			t.Fatal(err)
		}
	}
}

func (c *collected) count() int {
	n := 0
	for _, b := range c.batches {
		n += b.Count
	}
	return n
}

func lineage(b *eventv1.Batch, row int32) string {
	s := ""
	for p := b.Proc(row); p != nil; p = b.Proc(p.Parent) {
		s += b.Text(p.Comm) + " "
	}
	return s
}

func testConfig() Config {
	cfg := DefaultConfig()
	cfg.Node, cfg.ReplaySpeed = "test-node", 0
	return cfg
}

func run(t *testing.T, cfg Config, src Source, b *bus.Bus) {
	t.Helper()
	c, err := New(cfg, src, b, bustest.Log(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestRecordedToStream(t *testing.T) {
	b := bustest.New(t)
	const opens = 1000
	run(t, testConfig(), play(t, handmade(t, opens)), b)
	got := read(t, b, func(c *collected) bool { return c.count() == opens+3 })
	var seq uint64
	kinds := map[eventv1.Kind]int{}
	got.each(t, func(b *eventv1.Batch, e *eventv1.Event) {
		if seq != 0 && e.Seq != seq+1 {
			t.Errorf("number %d after %d", e.Seq, seq)
		}
		seq = e.Seq
		kinds[e.Kind]++
		want := "cat bash init "
		if e.Kind == eventv1.Clone {
			want = "bash init "
			if l := lineage(b, int32(e.Args[eventv1.CloneChildProc])); l != "bash bash init " {
				t.Errorf("child has lineage %q", l)
			}
		}
		if l := lineage(b, e.Proc); l != want {
			t.Errorf("%s has lineage %q, want %q", e.Kind, l, want)
		}
		if e.Kind == eventv1.Openat && b.Text(e.Str(eventv1.OpenName)) != "/etc/hostname" {
			t.Errorf("opened %q", b.Text(e.Str(eventv1.OpenName)))
		}
		if age := time.Since(time.Unix(0, e.Time)); age < -time.Minute || age > time.Minute {
			t.Errorf("event is %s old", age)
		}
	})
	if kinds[eventv1.Openat] != opens || kinds[eventv1.Execve] != 1 || kinds[eventv1.ProcExit] != 1 {
		t.Errorf("kinds %v", kinds)
	}
	for _, batch := range got.batches {
		if batch.Count > DefaultConfig().BatchEvents || batch.Node != "test-node" || batch.Source != SourceName {
			t.Errorf("batch of %d from %s", batch.Count, batch.Node)
		}
	}
	if p := got.batches[0].Procs[0]; got.batches[0].Text(p.Args[0]) != "/sbin/init" {
		t.Errorf("init has args %v", p.Args)
	}
}

func TestFactsArePublished(t *testing.T) {
	b := bustest.New(t)
	src := &blocking{Source: play(t, handmade(t, 1))}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c, err := New(testConfig(), src, b, bustest.Log(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	kv, err := b.KV(t.Context(), bus.BucketFacts)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string][]byte{}
	watch, stop := context.WithTimeout(t.Context(), 20*time.Second)
	defer stop()
	_ = kv.Watch(watch, ">", func(e bus.Entry) {
		if seen[e.Key] = e.Value; len(seen) == 2 {
			stop()
		}
	}, func() {})
	host, err := factv1.DecodeHost(seen[subject.FactHost("test-node")])
	if err != nil || host.Node != "test-node" || host.Kernel == "" || host.Capture != "recorded" {
		t.Errorf("host %+v, %v", host, err)
	}
	users, err := factv1.DecodeUsers(seen[factv1.UsersKey("test-node")])
	if me, _ := user.Current(); err != nil || me == nil || len(users.Users) == 0 {
		t.Errorf("users %+v, %v", users, err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("stop: %v", err)
	}
}

// blocking is a source that goes on until ctx ends.
type blocking struct{ Source }

func (s *blocking) Read(ctx context.Context, record func([]byte), idle func()) error {
	err := s.Source.Read(ctx, record, idle)
	<-ctx.Done()
	return err
}

func TestNATSAwayAndBack(t *testing.T) {
	srv := bustest.Start(t)
	b := srv.Connect()
	const opens = 5000
	cfg := testConfig()
	cfg.BatchEvents = 50
	cfg.StopTimeout = 30 * time.Second
	data := handmade(t, opens)
	srv.Down()
	c, err := New(cfg, play(t, data), b, bustest.Log(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- c.Run(t.Context()) }()
	srv.Up()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	seen := map[uint64]bool{}
	b2 := srv.Connect()
	got := read(t, b2, func(c *collected) bool { return c.count() >= opens+3 })
	got.each(t, func(_ *eventv1.Batch, e *eventv1.Event) { seen[e.Seq] = true })
	if len(seen) != opens+3 || got.count() != opens+3 {
		t.Errorf("%d events, %d different, want %d", got.count(), len(seen), opens+3)
	}
}

// batcherFor collects what a batcher emits.
func batcherFor(cfg Config) (*batcher, *[]*eventv1.Batch, *[]spool.Item) {
	var batches []*eventv1.Batch
	var items []spool.Item
	x := newBatcher(cfg, eventv1.Header{Node: "n", BootID: "b", Source: SourceName, BootTime: 1e18}, 1000, func(it spool.Item, data []byte) {
		b := &eventv1.Batch{}
		if err := eventv1.NewDecoder().Decode(append([]byte(nil), data...), b); err != nil {
			panic(err)
		}
		batches, items = append(batches, b), append(items, it)
	})
	return x, &batches, &items
}

func open(at int64) *decode.Record {
	r := &decode.Record{Kind: eventv1.Openat, Time: at}
	r.Text[eventv1.OpenName] = []byte("/etc/passwd")
	return r
}

func TestBatchCloses(t *testing.T) {
	cfg := testConfig()
	cfg.BatchEvents = 10
	x, batches, items := batcherFor(cfg)
	for i := range 25 {
		x.add(open(int64(i)), nil, nil)
	}
	if len(*batches) != 2 {
		t.Fatalf("%d batches by count", len(*batches))
	}
	x.due(int64(cfg.BatchDelay) + 19)
	if len(*batches) != 2 {
		t.Fatal("closed before it was due")
	}
	x.due(int64(cfg.BatchDelay) + 20)
	if len(*batches) != 3 || (*batches)[2].Count != 5 {
		t.Fatal("not closed when due")
	}
	x.add(open(100), nil, nil)
	x.add(open(100+int64(cfg.BatchDelay)), nil, nil)
	if len(*batches) != 4 {
		t.Error("a late event joined an old batch")
	}
	var next uint64 = 1000
	for i, b := range *batches {
		if b.FirstSeq != next || (*items)[i].ID != "n/b/"+strconv.FormatUint(next, 10) {
			t.Errorf("batch %d: number %d, id %s, want %d", i, b.FirstSeq, (*items)[i].ID, next)
		}
		next += uint64(b.Count)
	}
	big := testConfig()
	big.BatchBytes, big.BatchEvents = 1024, 1000
	x, batches, _ = batcherFor(big)
	for i := range 500 {
		x.add(open(int64(i)), nil, nil)
	}
	if len(*batches) < 5 {
		t.Errorf("%d batches by size", len(*batches))
	}
}

func TestLossesTravel(t *testing.T) {
	x, batches, items := batcherFor(testConfig())
	x.lose(eventv1.Openat, 7)
	x.add(open(1), nil, nil)
	x.report(2) // there is a batch to go with
	x.flush()
	x.lose(60, 2)
	x.report(3)
	x.report(4)
	x.add(open(5), nil, nil)
	x.flush()
	if len(*batches) != 3 {
		t.Fatalf("%d batches", len(*batches))
	}
	if l := (*batches)[0].Lost; len(l) != 1 || l[0] != (eventv1.Lost{Kind: eventv1.Openat, Count: 7}) {
		t.Errorf("lost %v", l)
	}
	if b := (*batches)[1]; b.Count != 0 || len(b.Lost) != 1 || b.Lost[0].Count != 2 || b.FirstSeq != 1001 || b.BaseTime != 1e18+3 {
		t.Errorf("report %+v", b)
	}
	if (*items)[1].ID == (*items)[2].ID || (*batches)[2].FirstSeq != 1001 {
		t.Errorf("ids %q and %q: the stream would drop the second", (*items)[1].ID, (*items)[2].ID)
	}
}

func TestConfig(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*Config){
		"source": func(c *Config) { c.Source = "recorded:" }, "mode": func(c *Config) { c.Mode = "x" }, "ring": func(c *Config) { c.RingBuffer = 3 << 20 },
		"there is no kind": func(c *Config) { c.Capture.Kinds = []string{"nope"} }, "batch": func(c *Config) { c.BatchEvents = 0 }, "spool": func(c *Config) { c.Spool = 0 },
		"speed": func(c *Config) { c.ReplaySpeed = -1 },
	} {
		c := DefaultConfig()
		change(&c)
		if err := c.Validate(); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestBoundaries: the agent stays small.
func TestBoundaries(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "./...").CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}
	for line := range strings.FieldsSeq(string(out)) {
		for _, bad := range []string{"google/cel-go", "ClickHouse", "k8s.io/client-go", "k8s.io/api", "k8s.io/apimachinery", "docker/docker", "containerd/containerd", "gyre-sec/gyre/enricher", "gyre-sec/gyre/evaluator", "gyre-sec/gyre/sink", "gyre-sec/gyre/gyre"} {
			if strings.Contains(line, bad) {
				t.Errorf("the collector depends on %s", line)
			}
		}
	}
}

func BenchmarkEvent(b *testing.B) {
	cfg := testConfig()
	var raw, packed, events int
	var buf []byte
	c := &Collector{dec: decode.New(), table: nil}
	x := newBatcher(cfg, eventv1.Header{Node: "n", BootID: "b", Source: SourceName}, 1, func(it spool.Item, data []byte) {
		buf = s2.Encode(buf[:cap(buf)], data)
		raw, packed, events = raw+len(data), packed+len(buf), events+it.Events
	})
	c.batch = x
	c.table = newTestTable()
	h := head(eventv1.Openat, 30, 300, 0, "bash")
	rec := recordtest.Record(h, 3, -100, "/usr/lib/x86_64-linux-gnu/libc.so.6", "", "/lib/x86_64-linux-gnu/libc.so.6", 0o2000000, 0, 0, 1, 2, 0, 0o100644, 0)
	b.ReportAllocs()
	for b.Loop() {
		r, err := c.dec.Decode(rec)
		if err != nil {
			b.Fatal(err)
		}
		img, child := c.apply(r)
		x.add(r, img, child)
	}
	if events > 0 {
		b.ReportMetric(float64(raw)/float64(events), "B/event")
		b.ReportMetric(float64(packed)/float64(events), "s2-B/event")
	}
}

func TestEventAllocatesNothing(t *testing.T) {
	c := &Collector{dec: decode.New(), table: newTestTable()}
	cfg := testConfig()
	cfg.BatchEvents = 1 << 16
	c.batch = newBatcher(cfg, eventv1.Header{}, 1, func(spool.Item, []byte) {})
	rec := recordtest.Record(head(eventv1.Openat, 30, 300, 0, "bash"), 3, -100, "/lib/libc.so.6", "", "/lib/libc.so.6", 0, 0, 0, 1, 2, 0, 0, 0)
	event := func() {
		r, err := c.dec.Decode(rec)
		if err != nil {
			t.Fatal(err)
		}
		img, child := c.apply(r)
		c.batch.add(r, img, child)
	}
	for range 1000 {
		event() // lets the buffers grow
	}
	if n := testing.AllocsPerRun(200, event); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestLive needs privileges and a kernel with BTF: it sees what a shell that the test starts does.
func TestLive(t *testing.T) {
	cfg := testConfig()
	cfg.ReplaySpeed = 1
	src, err := Open(cfg)
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("live capture: %v", err)
		}
		t.Skipf("SKIPPED, NOT TESTED: live capture needs root and a kernel with BTF: %v", err)
	}
	b := bustest.New(t)
	c, err := New(cfg, src, b, bustest.Log(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	for c.Ready() != nil {
		time.Sleep(time.Millisecond)
	}
	marker := filepath.Join(t.TempDir(), "marker")
	if err := os.WriteFile(marker, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("sh", "-c", "cat /etc/hostname "+marker+"; true").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var execs, opens int
	me := filepath.Base(os.Args[0])
	read(t, b, func(got *collected) bool {
		one := &collected{batches: got.batches[len(got.batches)-1:]}
		one.each(t, func(b *eventv1.Batch, e *eventv1.Event) {
			l := lineage(b, e.Proc)
			if !strings.HasPrefix(l, "cat sh "+me[:min(15, len(me))]+" ") {
				return
			}
			switch {
			case e.Kind == eventv1.Execve && e.Ret == 0 && strings.Contains(b.Cmdline(e.Proc), marker):
				execs++
			case e.Kind.IsOpen() && b.Text(e.Str(eventv1.OpenName)) == marker && e.Ret >= 0:
				opens++
			}
		})
		return execs > 0 && opens > 0
	})
	cancel()
	if err := <-done; err != nil {
		t.Errorf("stop: %v", err)
	}
}
