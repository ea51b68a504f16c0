package collector

import (
	"errors"
	"testing"
	"time"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/bus/bustest"
	"github.com/gyre-sec/gyre/collector/container"
	"github.com/gyre-sec/gyre/schemas/factv1"
	"github.com/gyre-sec/gyre/schemas/subject"
)

// TestFactsOfEndedContainersGo: a collector takes away what the one before it told of containers that are gone.
func TestFactsOfEndedContainersGo(t *testing.T) {
	b := bustest.New(t)
	kv, err := b.KV(t.Context(), bus.BucketFacts)
	if err != nil {
		t.Fatal(err)
	}
	tell := func(x *index, ids ...string) {
		t.Helper()
		for _, id := range ids {
			value, err := factv1.Container{ID: id}.Encode()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := kv.Put(t.Context(), subject.FactContainer("n", id), value); err != nil {
				t.Fatal(err)
			}
			x.note(container.Fact{Container: factv1.Container{ID: id}})
		}
	}
	now := time.Now()
	keep := func(x *index, after time.Duration) {
		t.Helper()
		if err := x.keep(t.Context(), kv, now.Add(after)); err != nil {
			t.Fatal(err)
		}
	}
	first := newIndex("n", time.Minute)
	tell(first, "a", "b", "c")
	keep(first, 0)

	for range 2 { // the second one was killed before it took anything away
		x := newIndex("n", time.Minute)
		keep(x, 0)
		tell(x, "a")
		keep(x, 10*time.Second)
		if _, err := kv.Get(t.Context(), subject.FactContainer("n", "b")); err != nil {
			t.Fatalf("taken away too early: %v", err)
		}
	}
	last := newIndex("n", time.Minute)
	keep(last, 0)
	tell(last, "a")
	if !last.due(now.Add(2 * time.Minute)) {
		t.Error("nothing is due")
	}
	keep(last, 2*time.Minute)
	for id, there := range map[string]bool{"a": true, "b": false, "c": false} {
		if _, err := kv.Get(t.Context(), subject.FactContainer("n", id)); (err == nil) != there || err != nil && !errors.Is(err, bus.ErrNotFound) {
			t.Errorf("%s: %v", id, err)
		}
	}
	if last.due(now.Add(3 * time.Minute)) {
		t.Error("there is still something due")
	}
}

// TestNoticeDoesNotWait: the reader of events goes on when nobody takes what it asks.
func TestNoticeDoesNotWait(t *testing.T) {
	x := newContainers()
	for i := range cap(x.asks) + 10 {
		x.notice(container.Ask{ID: string(rune('a' + i))})
		x.notice(container.Ask{ID: string(rune('a' + i))})
	}
	if len(x.asks) != cap(x.asks) || len(x.noticed) != cap(x.asks) {
		t.Errorf("%d asked, %d noticed", len(x.asks), len(x.noticed))
	}
	x.forgotten <- "a"
	<-x.asks
	x.notice(container.Ask{ID: "a"})
	if len(x.asks) != cap(x.asks) {
		t.Error("a container that was forgotten is not asked for again")
	}
}
