package recording_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/evaluator/recording"
	"github.com/gyre-sec/gyre/schemas/eventv1"
	"github.com/gyre-sec/gyre/schemas/eventv1/eventtest"
)

// batch is n events of node from a number on, with losses.
func batch(t testing.TB, node string, first uint64, n int, lost uint64) []byte {
	t.Helper()
	b := eventv1.NewBuilder()
	eventtest.Sample(b, node, first, n)
	if lost > 0 {
		b.AddLost(eventv1.Openat, lost)
	}
	return bytes.Clone(b.Encode())
}

var start = time.Unix(1_780_000_000, 5).UTC()

// record writes batches, one a second; the numbers of the stream begin at 10 and one is missing.
func record(t testing.TB, complete bool, batches ...[]byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	w, err := recording.NewWriter(&buf)
	if err != nil {
		t.Fatal(err)
	}
	for i, data := range batches {
		seq := uint64(10 + i)
		if i > 0 {
			seq++
		}
		if err := w.Add("gyre.enriched.syscall.n", seq, start.Add(time.Duration(i)*time.Second), data, false); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(complete); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func open(data []byte) (*recording.File, error) {
	return recording.New(bytes.NewReader(data), int64(len(data)), true)
}

func read(f *recording.File) (out []bus.Packed, err error) {
	err = f.Read(context.Background(), func(p bus.Packed) error { out = append(out, p); return nil })
	return out, err
}

func TestRoundTrip(t *testing.T) {
	list := [][]byte{batch(t, "a", 1, 100, 0), batch(t, "a", 101, 50, 7), batch(t, "b", 1, 10, 0), []byte("no batch"), batch(t, "a", 161, 10, 0)}
	for range 60 { // several blocks
		list = append(list, batch(t, "c", uint64(1+1000*len(list)), 1000, 0))
	}
	data := record(t, true, list...)
	f, err := open(data)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	x := f.Index()
	if !x.Complete || x.Damage != "" || x.Batches != 64 || x.Bad != 1 || x.Missing != 1 || x.FirstSeq != 10 || x.LastSeq != uint64(10+len(list)) || x.Events != 170+60_000 || len(x.Blocks) < 2 {
		t.Errorf("%+v", x)
	}
	a := x.Nodes["a"]
	if a.Events != 160 || a.Batches != 3 || a.Gaps != 10 || a.Lost["openat"] != 7 || x.Lost() != 7 || x.Gaps() != 10 {
		t.Errorf("node a: %+v, lost %d, gaps %d", a, x.Lost(), x.Gaps())
	}
	got, err := read(f)
	if err != nil || len(got) != 64 {
		t.Fatalf("%d batches, %v", len(got), err)
	}
	want := bus.Packed{Subject: "gyre.enriched.syscall.n", Codec: bus.None, Data: list[1], Seq: 12, Time: start.Add(time.Second)}
	if d := cmp.Diff(want, got[1]); d != "" {
		t.Error(d)
	}
	if len(data) > int(x.Bytes)/2 {
		t.Errorf("%d bytes of %d", len(data), x.Bytes)
	}
}

// TestCutOff: a file that ends anywhere gives the whole blocks before, and says that it is damaged.
func TestCutOff(t *testing.T) {
	var list [][]byte
	for i := range 120 {
		list = append(list, batch(t, "a", uint64(1+1000*i), 1000, 0))
	}
	data := record(t, true, list...)
	whole, err := open(data)
	if err != nil {
		t.Fatal(err)
	}
	blocks := whole.Index().Blocks
	if len(blocks) < 3 {
		t.Fatalf("%d blocks", len(blocks))
	}
	for _, c := range []struct{ size, blocks int }{{8, 0}, {20, 0}, {int(blocks[1].Offset), 1}, {int(blocks[1].Offset) + 1, 1}, {int(blocks[2].Offset) - 1, 1}, {len(data) - 1, len(blocks)}} {
		f, err := open(data[:c.size])
		if err != nil {
			t.Fatalf("%d bytes: %v", c.size, err)
		}
		n := 0
		for _, b := range blocks[:c.blocks] {
			n += b.Batches
		}
		got, err := read(f)
		if err != nil || len(got) != n || f.Index().Damage == "" || f.Index().Complete || f.Index().Batches != uint64(n) {
			t.Errorf("%d bytes: %d batches, want %d, %v, %q", c.size, len(got), n, err, f.Index().Damage)
		}
	}
}

// TestDamaged: no byte of a file can change without a word.
func TestDamaged(t *testing.T) {
	data := record(t, true, batch(t, "a", 1, 20, 3), batch(t, "b", 1, 20, 0))
	for i := range data {
		bad := bytes.Clone(data)
		bad[i] ^= 0x10
		f, err := open(bad)
		if err == nil && f.Index().Damage == "" {
			t.Fatalf("byte %d of %d was changed unnoticed", i, len(data))
		}
		if err != nil && !errors.Is(err, recording.ErrFormat) && !errors.Is(err, recording.ErrDamaged) {
			t.Fatalf("byte %d: %v", i, err)
		}
	}
	if _, err := open([]byte("GYREREC1 and so on, a recording of raw records")); !errors.Is(err, recording.ErrFormat) {
		t.Error(err)
	}
	if _, err := open(nil); !errors.Is(err, recording.ErrFormat) {
		t.Error(err)
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(record(f, true, batch(f, "a", 1, 5, 1)))
	f.Add(record(f, false))
	f.Add([]byte("GYREBAT1B\x00\x00\x00\x01"))
	f.Fuzz(func(t *testing.T, data []byte) {
		x, err := recording.New(bytes.NewReader(data), int64(len(data)), false)
		if err != nil {
			return
		}
		defer x.Close()
		_, _ = read(x)
		x.Index().Lost()
	})
}

// TestVirtual: virtual nodes have other names and boots, but the same events.
func TestVirtual(t *testing.T) {
	data := batch(t, "a", 1, 20, 0)
	v := recording.NewVirtual("run")
	if _, err := v.Decode(data); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for n := range 3 {
		out, node, boot := v.Encode(n, int64(time.Second))
		var b eventv1.Batch
		if err := eventv1.NewDecoder().Decode(out, &b); err != nil {
			t.Fatal(err)
		}
		if b.Node != node || b.BootID != boot || seen[node] || seen[boot] || b.BaseTime != eventtest.BaseTime+int64(time.Second) || b.Count != 20 || len(boot) != 36 {
			t.Errorf("%s %s %d", b.Node, b.BootID, b.BaseTime)
		}
		seen[node], seen[boot] = true, true
	}
	if _, _, boot := recording.NewVirtual("other").Encode(0, 0); seen[boot] {
		t.Error("another run has the same boot")
	}
}

// TestDistinct gives the events of batches that overlap, as those do that were picked from one under several conditions: each once.
func TestDistinct(t *testing.T) {
	var whole eventv1.Batch
	if err := eventv1.NewDecoder().Decode(batch(t, "n", 100, 64, 0), &whole); err != nil {
		t.Fatal(err)
	}
	pick := func(every, from int) []byte {
		keep := make([]bool, whole.Count)
		for i := from; i < len(keep); i += every {
			keep[i] = true
		}
		data, err := eventv1.NewSelector().Select(&whole, keep)
		if err != nil {
			t.Fatal(err)
		}
		return bytes.Clone(data)
	}
	d := recording.NewDistinct()
	seqs := func(data []byte) (out []uint64) {
		t.Helper()
		data, err := d.Next(data)
		if err != nil {
			t.Fatal(err)
		}
		if data == nil {
			return nil
		}
		var b eventv1.Batch
		if err := eventv1.NewDecoder().Decode(data, &b); err != nil {
			t.Fatal(err)
		}
		r := eventv1.NewReader()
		var e eventv1.Event
		for r.Reset(&b); r.Next(&e); {
			out = append(out, e.Seq)
		}
		return out
	}
	for _, c := range []struct {
		what string
		data []byte
		want []uint64
	}{
		{"every 16th", pick(16, 0), []uint64{100, 116, 132, 148}},
		{"every 8th", pick(8, 0), []uint64{108, 124, 140, 156}},
		{"the same again", pick(8, 0), nil},
		{"others", pick(32, 3), []uint64{103, 135}},
		{"another node", batch(t, "m", 100, 2, 0), []uint64{100, 101}},
	} {
		if d := cmp.Diff(c.want, seqs(c.data)); d != "" {
			t.Errorf("%s (-want +got):\n%s", c.what, d)
		}
	}
	if _, err := d.Next([]byte("not a batch")); err == nil {
		t.Error("bytes that are no batch were taken")
	}
}
