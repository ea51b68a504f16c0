package bus_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/bus/bustest"
	"github.com/gyre-sec/gyre/schemas/subject"
)

// TestRead reads parts of a stream while a durable stands beside, which it does not move.
func TestRead(t *testing.T) {
	b := bustest.New(t)
	if n := read(t, b, bus.ReadConfig{Stream: bus.StreamEvents}); len(n) > 0 {
		t.Errorf("an empty stream gave %v", n)
	}
	publish(t, b, 100, 3000)
	p := b.NewPublisher(bus.PublisherConfig{Stage: "test"})
	if err := p.Publish(t.Context(), bus.Message{Subject: subject.Event("syscall", "other"), ID: "other", Data: []byte("100:x")}); err != nil {
		t.Fatal(err)
	}
	bounds, err := b.Bounds(t.Context(), bus.StreamEvents)
	if err != nil || bounds.LastSeq != 101 || bounds.Messages != 101 {
		t.Fatalf("bounds %+v, %v", bounds, err)
	}
	for _, c := range []struct {
		name        string
		cfg         bus.ReadConfig
		first, last uint64
		n           int
	}{
		{"all", bus.ReadConfig{}, 1, 101, 101},
		{"numbers", bus.ReadConfig{FromSeq: 10, ToSeq: 19}, 10, 19, 10},
		{"past the end", bus.ReadConfig{FromSeq: 95, ToSeq: 1000}, 95, 101, 7},
		{"behind the end", bus.ReadConfig{FromSeq: 500}, 0, 0, 0},
		{"one node", bus.ReadConfig{Filters: []string{subject.EventFilter(subject.PrefixEvents, "", "other")}}, 101, 101, 1},
		{"two nodes", bus.ReadConfig{Filters: []string{subject.EventFilter(subject.PrefixEvents, "", "other"), subject.EventFilter(subject.PrefixEvents, "", "n")}}, 1, 101, 101},
		{"no such node", bus.ReadConfig{Filters: []string{subject.EventFilter(subject.PrefixEvents, "", "none")}}, 0, 0, 0},
		{"time", bus.ReadConfig{FromTime: bounds.FirstTime}, 1, 101, 101},
		{"before the first", bus.ReadConfig{ToTime: bounds.FirstTime}, 0, 0, 0},
		{"future", bus.ReadConfig{FromTime: time.Now().Add(time.Hour)}, 0, 0, 0},
		{"follow to a number", bus.ReadConfig{FromSeq: 1, ToSeq: 101, Follow: true}, 1, 101, 101},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.cfg.Stream = bus.StreamEvents
			got := read(t, b, c.cfg)
			var ends [2]uint64
			if len(got) > 0 {
				ends = [2]uint64{got[0], got[len(got)-1]}
			}
			if diff := cmp.Diff([]any{c.n, c.first, c.last}, []any{len(got), ends[0], ends[1]}); diff != "" {
				t.Error(diff)
			}
		})
	}
	if d, err := b.Durables(t.Context(), bus.StreamEvents, ""); err != nil || len(d) > 0 {
		t.Errorf("durables were made: %v, %v", d, err)
	}
}

// read reads a part and checks that payloads are those of [publish]; it returns the numbers.
func read(t *testing.T, b *bus.Bus, cfg bus.ReadConfig) []uint64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var u bus.Unpacker
	var got []uint64
	if err := b.Read(ctx, cfg, func(p bus.Packed) error {
		data, err := u.Unpack(p)
		if err != nil {
			return err
		}
		var i uint64
		if _, err := fmt.Sscanf(string(data), "%d:x", &i); err != nil || i != p.Seq-1 {
			return fmt.Errorf("message %d holds %.20q: %w", p.Seq, data, err)
		}
		got = append(got, p.Seq)
		return nil
	}); err != nil || ctx.Err() != nil {
		t.Fatal(err, ctx.Err())
	}
	return got
}
