package correlate

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gyre-sec/gyre/schemas/alertv1"
)

func TestSignalRoundTrip(t *testing.T) {
	want := sig("three", "event", "k", 1, 2, "v")
	want.Weight = 7
	data, err := want.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	got, err := UnmarshalSignal(data)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	for n := range data {
		if _, err := UnmarshalSignal(data[:n]); err == nil {
			t.Fatalf("a signal cut at byte %d", n)
		}
	}
}

// FuzzSignal: whatever decodes can be taken.
func FuzzSignal(f *testing.F) {
	for _, rule := range []string{"three", "pair", "fast", "lonely"} {
		data, err := sig(rule, "a", "k", 1, 2, "v").Marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	set := testSet(f, testRules)
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := UnmarshalSignal(data)
		if err != nil {
			return
		}
		e := NewEngine(NewBudget(testLimits()))
		e.SetRules(set, epoch)
		none := func(*alertv1.Alert) {}
		e.Add(s, epoch, none)
		e.Add(s, epoch+int64(5*time.Second), none)
		e.Finish(none)
	})
}

// FuzzRestore: a snapshot that decodes gives an engine that works.
func FuzzRestore(f *testing.F) {
	set := testSet(f, testRules)
	none := func(*alertv1.Alert) {}
	for _, c := range [][2]string{{"three", "event"}, {"pair", "a"}, {"chain", "a"}, {"fast", "event"}, {"many", "event"}, {"lonely", "a"}, {"new", "event"}} {
		e := NewEngine(NewBudget(testLimits()))
		e.SetRules(set, epoch)
		for i := range uint64(5) {
			e.Add(sig(c[0], c[1], "k", float64(i), i+1, "v"), epoch+int64(i)*int64(time.Second), none)
		}
		data, err := e.Snapshot()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		e := NewEngine(NewBudget(testLimits()))
		e.SetRules(set, epoch)
		if e.Restore(data) != nil {
			return
		}
		for _, c := range [][2]string{{"three", "event"}, {"pair", "b"}, {"chain", "b"}, {"chain", "c"}, {"fast", "event"}, {"many", "event"}, {"lonely", "b"}, {"new", "event"}} {
			e.Add(sig(c[0], c[1], "k", 7, 99, "v"), epoch+int64(8*time.Second), none)
		}
		e.Finish(none)
	})
}

// TestSignalsTogether: signals that share a message come out as they went in; one alone is the message.
func TestSignalsTogether(t *testing.T) {
	var all [][]byte
	var want []*Signal
	for i := range int64(5) {
		s := sig("three", "event", "k", 1, uint64(i), "v")
		data, err := s.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		all, want = append(all, data), append(want, s)
		got, err := SplitSignals(JoinSignals(all))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%d signals (-want +got):\n%s", i+1, d)
		}
	}
	message := JoinSignals(all)
	for n := range message {
		if got, err := SplitSignals(message[:n]); err == nil {
			t.Fatalf("%d signals of a message cut at byte %d", len(got), n)
		}
	}
}
