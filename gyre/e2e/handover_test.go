package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/evaluator/correlate"
	"github.com/gyre-sec/gyre/schemas/eventv1"
	"github.com/gyre-sec/gyre/schemas/subject"
)

const handoverRule = `rules:
  - id: handover
    name: Handover
    kind: sequence
    scope: node
    within: 10m
    steps:
      - name: first
        condition: evt.type == "openat" && fd.name == "/first"
      - name: second
        condition: evt.type == "openat" && fd.name == "/second"
    output: "%first.fd.name, then %second.fd.name"
    priority: critical
`

// correlators are the stages that correlate.
var correlators = [2]string{"gyre-evaluator", "gyre-evaluator 2"}

// open publishes that a node has opened a file.
func (s *stages) open(node string, seq uint64, path string) {
	s.t.Helper()
	b := eventv1.NewBuilder()
	b.Reset(eventv1.Header{Node: node, BootID: "boot", Source: "syscall"})
	row := b.AddProc(eventv1.Proc{PID: 7, Parent: -1, Container: -1, User: -1, LoginUser: -1, Comm: b.InternString("p")})
	b.Add(&eventv1.Event{Kind: eventv1.Openat, Seq: seq, Time: time.Now().UnixNano(), Proc: row, Ret: 3, Args: [16]int64{3, -100, int64(b.InternString(path))}})
	pub := s.bus.NewPublisher(bus.PublisherConfig{Stage: "test"})
	if err := pub.Publish(s.t.Context(), bus.Message{Subject: subject.Event("syscall", node), ID: fmt.Sprint(node, "/boot/", seq), Data: b.Encode()}); err != nil {
		s.t.Fatal(err)
	}
}

// shared waits until both correlators own partitions and nobody else does.
func (s *stages) shared() {
	s.t.Helper()
	eventually(s.t, "both correlators own partitions", func() error {
		var n [2]float64
		for i, name := range correlators {
			var err error
			if n[i], err = s.metric(name, "gyre_correlate_partitions"); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		if n[0] == 0 || n[1] == 0 || n[0]+n[1] != subject.SignalPartitions {
			return fmt.Errorf("they own %v", n)
		}
		return nil
	})
}

// once waits until the sequence of a node is stored, and fails if it is there or on the stream more than once.
func (s *stages) once(node string) {
	s.t.Helper()
	eventually(s.t, "the alert about "+node, func() error {
		rows, _, err := s.storedOf("handover", node)
		if err == nil && rows == 0 {
			err = errors.New("not stored")
		}
		return err
	})
	if rows, ids, err := s.storedOf("handover", node); err != nil || rows != 1 || ids != 1 {
		s.t.Errorf("%d alerts with %d ids about %s, want one: %v", rows, ids, node, err)
	}
	published := 0
	err := s.bus.Tail(s.t.Context(), bus.TailConfig{Stream: bus.StreamAlerts, Filter: subject.AlertFilter("", "handover", node), Seq: 1, ToEnd: true}, func(bus.Stored) error {
		published++
		return nil
	})
	if err != nil || published != 1 {
		s.t.Errorf("%d alerts about %s on the stream, want one: %v", published, node, err)
	}
}

// half begins the sequence of a node and returns the partition of its signal, which is stored.
func (s *stages) half(node string) (partition int) {
	s.t.Helper()
	s.open(node, 1, "/first")
	ctx, cancel := context.WithTimeout(s.t.Context(), 2*time.Minute)
	defer cancel()
	partition = -1
	err := s.bus.Tail(ctx, bus.TailConfig{Stream: bus.StreamSignals, Seq: 1}, func(m bus.Stored) error {
		defer cancel()
		var err error
		partition, _, err = subject.ParseSignal(m.Subject)
		return err
	})
	if partition < 0 {
		s.t.Fatalf("no signal of %s: %v", node, err)
	}
	return partition
}

// holder waits until one of the correlators has taken a signal, and tells which one and which one has not.
// With stored it has stored a snapshot, too, which it did not have to while it was idle.
func (s *stages) holder(stored bool, idle [2]float64) (has, other string) {
	s.t.Helper()
	eventually(s.t, "the first step is taken", func() error {
		for i, name := range correlators {
			if n, err := s.metric(name, "gyre_correlate_signals_total"); err == nil && n > 0 {
				if n, err := s.metric(name, "gyre_correlate_snapshots_total"); stored && (err != nil || n <= idle[i]) {
					return fmt.Errorf("%s has stored %v snapshots, %v before: %w", name, n, idle[i], err)
				}
				has, other = name, correlators[1-i]
				return nil
			}
		}
		return errors.New("nobody has it")
	})
	return has, other
}

// TestOwnerKilled kills the evaluator that owns the partition of a sequence with SIGKILL when the first step is there. The other
// completes it, from the signals that it reads again or from the state that the dead one had stored, and there is one alert.
func TestOwnerKilled(t *testing.T) {
	for _, tc := range []struct {
		name, snapshot string
		stored         bool
	}{{"signals are read again", "1h", false}, {"the state was stored", "100ms", true}} {
		t.Run(tc.name, func(t *testing.T) {
			s := newStages(t)
			rules := t.TempDir()
			if err := os.WriteFile(filepath.Join(rules, "handover.yaml"), []byte(handoverRule), 0o644); err != nil {
				t.Fatal(err)
			}
			for _, name := range correlators {
				s.args[name] = []string{"-set", "evaluator.dirs=" + rules, "-set", "evaluator.builtin=false", "-set", "evaluator.correlate.lease=3s", "-set", "evaluator.correlate.snapshot=" + tc.snapshot}
			}
			for _, name := range []string{"gyre-enricher", "gyre-sink", correlators[0], correlators[1]} {
				s.up(name)
			}
			s.shared()
			var idle [2]float64 // snapshots that were stored before there was a signal
			for i, name := range correlators {
				idle[i], _ = s.metric(name, "gyre_correlate_snapshots_total")
			}
			const node = "web-1"
			partition := s.half(node)
			before, err := correlate.Owner(t.Context(), s.bus, partition)
			if err != nil {
				t.Fatal(err)
			}
			dead, heir := s.holder(tc.stored, idle)
			s.procs[dead].kill()
			s.open(node, 2, "/second") // before the partition is another's
			s.once(node)
			if now, err := correlate.Owner(t.Context(), s.bus, partition); err != nil || now == before || now == "" {
				t.Errorf("partition %d belongs to %q, %v; before it was %q", partition, now, err, before)
			}
			want := 2.0 // both steps
			if tc.stored {
				want = 1
			}
			if n, err := s.metric(heir, "gyre_correlate_signals_total"); err != nil || n != want {
				t.Errorf("%s took %v signals, want %v: %v\n%s\nthe dead one said\n%s", heir, n, want, err, s.procs[heir].err.String(), s.procs[dead].err.String())
			}
			s.up(dead)
			s.shared()
			s.open("web-2", 1, "/first")
			s.open("web-2", 2, "/second")
			s.once("web-2")
			s.once(node) // still
		})
	}
}
