package eventv1_test

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/gyre-sec/gyre/schemas/eventv1"
	"github.com/gyre-sec/gyre/schemas/eventv1/eventtest"
	"github.com/gyre-sec/gyre/schemas/wire"
)

var freeze = flag.String("freeze", "", "write a new wire fixture of this name; existing ones are never changed")

func sample(t testing.TB, n int) []byte {
	t.Helper()
	b := eventv1.NewBuilder()
	eventtest.Sample(b, "node-1", 1000, n)
	b.AddLabel("kernel", "6.1.0-44-amd64")
	b.AddLost(eventv1.Openat, 12)
	return append([]byte(nil), b.Encode()...)
}

func decode(t testing.TB, data []byte) *eventv1.Batch {
	t.Helper()
	var b eventv1.Batch
	if err := eventv1.NewDecoder().Decode(data, &b); err != nil {
		t.Fatalf("decode batch: %v", err)
	}
	return &b
}

func events(t testing.TB, b *eventv1.Batch) []eventv1.Event {
	t.Helper()
	r := eventv1.NewReader()
	r.Reset(b)
	var out []eventv1.Event
	var e eventv1.Event
	for r.Next(&e) {
		out = append(out, e)
	}
	if err := r.Err(); err != nil {
		t.Fatalf("read events: %v", err)
	}
	return out
}

func TestBatchRoundTrip(t *testing.T) {
	b := decode(t, sample(t, 64))
	ev := events(t, b)
	if len(ev) != 64 || b.Count != 64 {
		t.Fatalf("got %d events, count %d, want 64", len(ev), b.Count)
	}
	for i, e := range ev {
		if e.Seq != 1000+uint64(i) || e.Time != eventtest.BaseTime+int64(i)*37_000 {
			t.Errorf("event %d: seq %d time %d", i, e.Seq, e.Time)
		}
	}
	again := decode(t, append([]byte(nil), eventv1.NewEncoder().Encode(b)...))
	if d := cmp.Diff(b, again, cmpopts.IgnoreUnexported(eventv1.Batch{}), cmpopts.EquateEmpty()); d != "" {
		t.Errorf("second round (-want +got)\n%s", d)
	}
	if got := b.Text(b.Procs[4].Exe); got != "/usr/lib/gcc/x86_64-linux-gnu/12/cc1" {
		t.Errorf("exe %q", got)
	}
	if got := b.Cmdline(3); got != "make -j2 all" {
		t.Errorf("cmdline %q", got)
	}
	if v, ok := b.Label("kernel"); !ok || v != "6.1.0-44-amd64" {
		t.Errorf("label %q %v", v, ok)
	}
}

func TestEnrichmentKeepsEvents(t *testing.T) {
	data := sample(t, 32)
	b := decode(t, data)
	before := append([]byte(nil), b.Events...)
	b.Users = append(b.Users, eventv1.User{UID: 1000, Container: -1, Name: b.AddString("ada")})
	for i := range b.Procs {
		b.Procs[i].User = 0
	}
	c := decode(t, append([]byte(nil), eventv1.NewEncoder().Encode(b)...))
	if string(c.Events) != string(before) {
		t.Fatal("events changed")
	}
	if got := c.Text(c.User(c.Procs[0].User).Name); got != "ada" {
		t.Errorf("user %q", got)
	}
	if len(events(t, c)) != 32 {
		t.Error("events are lost")
	}
}

func TestContainerColumns(t *testing.T) {
	b := decode(t, sample(t, 4))
	c := &b.Containers[0]
	c.Flags, c.ImageID, c.Env = eventv1.ContainerKnown, b.AddString("6f7e"), []eventv1.StrID{b.AddString("PATH")}
	c.Mounts = []eventv1.ContainerMount{{Source: b.AddString("/proc"), Dest: b.AddString("/host/proc"), Writable: true}}
	again := decode(t, append([]byte(nil), eventv1.NewEncoder().Encode(b)...))
	if d := cmp.Diff(b.Containers, again.Containers, cmpopts.EquateEmpty()); d != "" {
		t.Errorf("containers (-want +got)\n%s", d)
	}
	// A batch of the first release in memory that held this one must not show its mounts.
	data, err := os.ReadFile(filepath.Join("..", "testdata", "v1", "0001.batch.msgpack"))
	if err != nil {
		t.Fatal(err)
	}
	if err := eventv1.NewDecoder().Decode(data, again); err != nil {
		t.Fatal(err)
	}
	if len(again.Containers) == 0 || len(again.Containers[0].Mounts) != 0 || len(again.Containers[0].Env) != 0 || again.Containers[0].ImageID != 0 {
		t.Errorf("containers of a batch of the first release: %+v", again.Containers)
	}
}

func TestUnknownTrailingElementsAreSkipped(t *testing.T) {
	e := wire.NewEncoder()
	e.Array(19)
	e.Int(eventv1.Version)
	for _, s := range []string{"n", "boot", "syscall"} {
		e.String(s)
	}
	e.Uint(5)
	e.Int(100)
	e.Int(1)
	e.Array(0)
	e.Array(1)
	e.String("")
	for range 4 {
		e.Array(0)
	}
	e.Uint(1)
	ev := wire.NewEncoder()
	ev.Array(10)
	for _, v := range []int64{4000, 0, 0, -1, 7, 0, 0, 0} {
		ev.Int(v)
	}
	ev.Int(9)
	ev.Int(9)
	e.Bytes(ev.Data())
	e.Array(0)
	e.Array(0)
	e.Array(1)
	e.String("new in a later release")
	e.Bool(true)
	b := decode(t, e.Data())
	got := events(t, b)
	if len(got) != 1 || got[0].Kind.Known() || got[0].TID != 7 || got[0].Kind.String() != "unknown" {
		t.Errorf("got %+v", got)
	}
}

func TestHostileInput(t *testing.T) {
	good := sample(t, 16)
	var b eventv1.Batch
	d := eventv1.NewDecoder()
	for n := range good {
		if err := d.Decode(good[:n], &b); err == nil {
			t.Fatalf("a batch cut at byte %d decodes", n)
		} else if !errors.Is(err, wire.ErrMalformed) {
			t.Fatalf("cut at %d: %v is not ErrMalformed", n, err)
		}
	}
	v2 := append([]byte(nil), good...)
	v2[3] = 2 // behind the header of an array of more than 15
	if err := d.Decode(v2, &b); !errors.Is(err, eventv1.ErrVersion) {
		t.Errorf("version 2: %v", err)
	}
}

func TestDecodeEventAllocatesNothing(t *testing.T) {
	b := decode(t, sample(t, 256))
	r := eventv1.NewReader()
	var e eventv1.Event
	if n := testing.AllocsPerRun(100, func() {
		r.Reset(b)
		for r.Next(&e) {
		}
		if r.Err() != nil {
			t.Fatal(r.Err())
		}
	}); n != 0 {
		t.Errorf("%v allocations to read 256 events, want 0", n)
	}
}

// TestFixtures reads every batch that was ever frozen.
func TestFixtures(t *testing.T) {
	dir := filepath.Join("..", "testdata", "v1")
	if *freeze != "" {
		writeFixture(t, filepath.Join(dir, *freeze))
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.batch.msgpack"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no fixtures: %v", err)
	}
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) {
			data, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			want, err := os.ReadFile(f[:len(f)-len("msgpack")] + "json")
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), describe(t, data)); d != "" {
				t.Errorf("frozen batch reads otherwise (-want +got)\n%s", d)
			}
		})
	}
}

func writeFixture(t *testing.T, base string) {
	data := sample(t, 16)
	for name, content := range map[string][]byte{base + ".batch.msgpack": data, base + ".batch.json": []byte(describe(t, data))} {
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(content); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// describe is the decoded batch as JSON, without the bytes of the events but with the events. Columns
// that later releases add are absent from old fixtures' JSON, so only what is not zero is written.
func describe(t *testing.T, data []byte) string {
	b := decode(t, data)
	ev := events(t, b)
	b.Events = nil
	raw, err := json.Marshal(map[string]any{"batch": b, "events": ev})
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	out, err := json.MarshalIndent(dropZero(v), "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(out) + "\n"
}

func dropZero(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			if x = dropZero(x); x == nil || x == float64(0) || x == "" {
				delete(v, k)
			} else {
				v[k] = x
			}
		}
	case []any:
		for i := range v {
			v[i] = dropZero(v[i])
		}
	}
	return v
}

func FuzzDecode(f *testing.F) {
	f.Add(sample(f, 3))
	f.Add(sample(f, 40))
	d, r := eventv1.NewDecoder(), eventv1.NewReader()
	f.Fuzz(func(t *testing.T, data []byte) {
		var b eventv1.Batch
		if d.Decode(data, &b) != nil {
			return
		}
		var e eventv1.Event
		for r.Reset(&b); r.Next(&e); {
			b.ExecID(&eventv1.Proc{})
			b.Cmdline(e.Proc)
		}
		again := eventv1.NewEncoder().Encode(&b)
		var c eventv1.Batch
		if err := eventv1.NewDecoder().Decode(again, &c); err != nil {
			t.Fatalf("a batch that decodes does not decode after encoding: %v", err)
		}
	})
}

func BenchmarkDecodeEvents(b *testing.B) {
	batch := decode(b, sample(b, 256))
	r := eventv1.NewReader()
	var e eventv1.Event
	b.ReportAllocs()
	for b.Loop() {
		for r.Reset(batch); r.Next(&e); {
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/256, "ns/event")
}

func BenchmarkDecodeTables(b *testing.B) {
	data := sample(b, 256)
	d := eventv1.NewDecoder()
	var batch eventv1.Batch
	b.ReportAllocs()
	for b.Loop() {
		if err := d.Decode(data, &batch); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncodeEvents(b *testing.B) {
	batch := decode(b, sample(b, 256))
	ev := events(b, batch)
	x := eventv1.NewBuilder()
	b.ReportAllocs()
	for b.Loop() {
		x.Reset(eventv1.Header{Node: "n"})
		for i := range ev {
			x.Add(&ev[i])
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/256, "ns/event")
}
