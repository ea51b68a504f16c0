package backtest_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/evaluator/recording"
	"github.com/gyre-sec/gyre/evaluator/rule"
	"github.com/gyre-sec/gyre/evaluator/ruleset"
	"github.com/gyre-sec/gyre/schemas/eventv1"
	"github.com/gyre-sec/gyre/schemas/eventv1/eventtest"
	"github.com/gyre-sec/gyre/schemas/subject"
)

// list is a source.
type list []bus.Packed

// Read implements backtest.Source.
func (l list) Read(ctx context.Context, fn func(bus.Packed) error) error {
	for _, p := range l {
		if ctx.Err() != nil {
			return nil
		}
		if err := fn(p); err != nil {
			return err
		}
	}
	return nil
}

// amplified plays a recording once for each of n virtual nodes, a batch of all of them after the other.
type amplified struct {
	f *recording.File
	n int
}

// Read implements backtest.Source.
func (a amplified) Read(ctx context.Context, fn func(bus.Packed) error) error {
	v, seq := recording.NewVirtual("test"), uint64(0)
	return a.f.Read(ctx, func(p bus.Packed) error {
		b, err := v.Decode(p.Data)
		if err != nil {
			return err
		}
		for n := range a.n {
			data, node, _ := v.Encode(n, 0)
			seq++
			if err := fn(bus.Packed{Subject: subject.Enriched(b.Source, node), Codec: bus.None, Data: bytes.Clone(data), Seq: seq, Time: p.Time}); err != nil {
				return err
			}
		}
		return nil
	})
}

// began is when the first sample batch is stored.
var began = time.Unix(0, eventtest.BaseTime).UTC()

// sample is a batch of 256 events of the realistic mix, number i of node, i seconds after the first.
func sample(t testing.TB, node string, i int) []byte {
	t.Helper()
	b := eventv1.NewBuilder()
	eventtest.Sample(b, node, uint64(1+256*i), 256)
	if i%7 == 3 {
		b.AddLost(eventv1.Openat, 5)
	}
	var batch eventv1.Batch
	if err := eventv1.NewDecoder().Decode(b.Encode(), &batch); err != nil {
		t.Fatal(err)
	}
	batch.BaseTime += int64(i) * int64(time.Second)
	return bytes.Clone(eventv1.NewEncoder().Encode(&batch))
}

// samples are n batches of node, one a second.
func samples(t testing.TB, node string, n int) list {
	t.Helper()
	var l list
	for i := range n {
		l = append(l, bus.Packed{Subject: subject.Enriched("syscall", node), Codec: bus.None, Data: sample(t, node, i), Seq: uint64(i + 1), Time: began.Add(time.Duration(i) * time.Second)})
	}
	return l
}

// recorded is a recording of a list.
func recorded(t testing.TB, l list) *recording.File {
	t.Helper()
	var buf bytes.Buffer
	w, err := recording.NewWriter(&buf)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range l {
		if err := w.Add(p.Subject, p.Seq, p.Time, p.Data, false); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(true); err != nil {
		t.Fatal(err)
	}
	f, err := recording.New(bytes.NewReader(buf.Bytes()), int64(buf.Len()), true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func compile(t testing.TB, files ...string) *ruleset.Set {
	t.Helper()
	var list []rule.File
	for i, text := range files {
		f, err := rule.Parse(fmt.Sprintf("f%d.yaml", i), []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		f.Layer = i
		list = append(list, f)
	}
	set, err := ruleset.Compile(list, ruleset.Options{SampleEvery: -1})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// Rules about the sample mix: one that is quiet, one that is noisy, and one that a throttle makes depend on the order.
const rules = `rules:
  - id: renamed
    name: Renamed
    condition: evt.type == "renameat2" && proc.name == "make"
    output: "%proc.name renamed"
    priority: notice
  - id: deleted
    name: Deleted
    condition: evt.type == "unlinkat"
    output: "%proc.name deleted %evt.arg.name"
    priority: error
  - id: connected
    name: Connected
    condition: evt.type == "connect"
    output: "%proc.name connected"
    priority: error
    throttle: {key: [proc.name], window: 2s}
`

// changed is the rules with one that is stricter, one that is gone and one that is new.
const changed = `rules:
  - id: deleted
    name: Deleted
    condition: evt.type == "unlinkat" && proc.name == "cc1"
    output: "%proc.name deleted %evt.arg.name"
    priority: error
  - id: connected
    name: Connected
    condition: evt.type == "connect"
    output: "%proc.name connected"
    priority: error
    throttle: {key: [proc.name], window: 2s}
  - id: started
    name: Started
    condition: evt.type == "execve"
    output: "%proc.name <script>alert(1)</script>"
    priority: error
`
