package evaluator

import (
	"strings"
	"testing"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/bus/bustest"
	"github.com/gyre-sec/gyre/schemas/eventv1"
	"github.com/gyre-sec/gyre/schemas/eventv1/eventtest"
	"github.com/gyre-sec/gyre/schemas/field"
	"github.com/gyre-sec/gyre/schemas/subject"
)

// sampled is a batch of n events.
func sampled(n int) []byte {
	b := eventv1.NewBuilder()
	b.Reset(eventv1.Header{Node: "test", BootID: "00000000-0000-4000-8000-000000000000", Source: "syscall", BootTime: 1})
	eventtest.Sample(b, "test", 500, n)
	return append([]byte(nil), b.Encode()...)
}

// events lists the fields of events by number.
func events(t *testing.T, data []byte) map[uint64]string {
	t.Helper()
	var b eventv1.Batch
	if err := eventv1.NewDecoder().Decode(data, &b); err != nil {
		t.Fatal(err)
	}
	out := map[uint64]string{}
	r, v := eventv1.NewReader(), field.NewView()
	v.Batch(&b)
	r.Reset(&b)
	for e := (eventv1.Event{}); r.Next(&e); {
		v.Event(&e)
		out[e.Seq] = string(field.EventJSON(nil, v))
	}
	if r.Err() != nil {
		t.Fatal(r.Err())
	}
	return out
}

// TestStoreEvents: what matches goes to the stream of events to store, once, however often the batch is delivered.
func TestStoreEvents(t *testing.T) {
	b := bustest.New(t)
	cfg := DefaultConfig()
	cfg.Builtin, cfg.StoreEvents = false, `evt.type == "openat" && !evt.failed`
	start(t, b, cfg)
	data := sampled(60)
	publish(t, b, "1", data)
	publish(t, b, "2", data)                                  // as after a redelivery
	publish(t, b, "3", execBatch(t, "one"))                   // nothing of it matches
	publish(t, b, "4", append([]byte(nil), sampledOne(t)...)) // comes last
	got := until(t, b, bus.StreamStored, 2)
	if got[0].Subject != subject.Stored("syscall", "test") || !strings.HasPrefix(got[0].ID, "stored-") || len(got) != 2 {
		t.Errorf("%d messages, the first on %s with id %s", len(got), got[0].Subject, got[0].ID)
	}
	all, kept := events(t, data), events(t, got[0].Data)
	if last := events(t, got[1].Data); len(last) != 1 || last[9000] == "" {
		t.Errorf("the second message has %v: the batch that came again was stored again", last)
	}
	want := 0
	for seq, e := range all {
		matches := strings.Contains(e, `"evt.type":"openat"`) && strings.Contains(e, `"evt.failed":false`)
		if matches {
			want++
		}
		if matches && kept[seq] != e || !matches && kept[seq] != "" {
			t.Errorf("event %d is stored as\n%s\nwant (%v)\n%s", seq, kept[seq], matches, e)
		}
	}
	if want == 0 || want == len(all) {
		t.Errorf("%d of %d events match: the sample tells nothing", want, len(all))
	}
}

// sampledOne is a batch with one event that matches.
func sampledOne(t *testing.T) []byte {
	t.Helper()
	b := eventv1.NewBuilder()
	b.Reset(eventv1.Header{Node: "test", BootID: "00000000-0000-4000-8000-000000000000", Source: "syscall", BootTime: 1})
	b.Add(&eventv1.Event{Kind: eventv1.Openat, Seq: 9000, Time: 1_780_000_000_000_000_000, Proc: -1, Ret: 3})
	return b.Encode()
}

// TestStoreEventsCondition refuses a condition that does not check, with its place.
func TestStoreEventsCondition(t *testing.T) {
	for _, text := range []string{`evt.tpye == "openat"`, `evt.type`, `evt.type ==`} {
		cfg := DefaultConfig()
		cfg.StoreEvents = text
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), "store_events") || !strings.Contains(err.Error(), "1:") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func BenchmarkPick(b *testing.B) {
	p, err := newPicker(`evt.type == "openat" && !evt.failed`)
	if err != nil {
		b.Fatal(err)
	}
	var batch eventv1.Batch
	if err := eventv1.NewDecoder().Decode(sampled(256), &batch); err != nil {
		b.Fatal(err)
	}
	r, v := eventv1.NewReader(), field.NewView()
	b.ReportAllocs()
	for b.Loop() {
		p.reset()
		v.Batch(&batch)
		r.Reset(&batch)
		for e := (eventv1.Event{}); r.Next(&e); {
			v.Event(&e)
			p.event(v)
		}
		if _, err := p.message(&batch); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*256/b.Elapsed().Seconds(), "events/s")
}
