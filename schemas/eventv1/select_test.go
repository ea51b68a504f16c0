package eventv1_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gyre-sec/gyre/schemas/eventv1"
	"github.com/gyre-sec/gyre/schemas/eventv1/eventtest"
	"github.com/gyre-sec/gyre/schemas/field"
)

// sampled is a batch as an enricher makes it: with users, containers, pods and addresses.
func sampled(t testing.TB) []byte {
	t.Helper()
	b := eventv1.NewBuilder()
	b.Reset(eventv1.Header{Node: "node-1", BootID: "b007b007-0000-4000-8000-000000000000", Source: "syscall", BootTime: 1})
	eventtest.Sample(b, "node-1", 100, 60)
	var x eventv1.Batch
	if err := eventv1.NewDecoder().Decode(b.Encode(), &x); err != nil {
		t.Fatal(err)
	}
	pod := eventv1.Pod{UID: x.AddString("pod-uid"), Name: x.AddString("web-0"), Namespace: x.AddString("shop"), Changes: []eventv1.Change{{Time: 5, Kind: x.AddString("image"), Object: x.AddString("o"), What: x.AddString("w")}}}
	x.Pods = append(x.Pods, pod)
	x.Containers = append(x.Containers, eventv1.Container{ID: x.AddString("unused")}, eventv1.Container{ID: x.AddString("0123456789abcdef"), Name: x.AddString("web"), Image: x.AddString("nginx:1"), PodUID: pod.UID, PodName: pod.Name, PodNamespace: pod.Namespace, Flags: eventv1.ContainerKnown, Labels: []eventv1.Label{{Key: x.AddString("k"), Value: x.AddString("v")}}})
	x.Users = append(x.Users, eventv1.User{UID: 4711, Container: 0, Name: x.AddString("nobody-here")}, eventv1.User{UID: 33, Container: int32(len(x.Containers) - 1), Name: x.AddString("www")})
	for i := range x.Procs {
		if i > 0 {
			x.Procs[i].Container, x.Procs[i].User = int32(len(x.Containers)-1), int32(len(x.Users)-1)
		}
	}
	for i := range x.Addresses {
		x.Addresses[i].Name = x.AddString("db.example.com")
	}
	return bytes.Clone(eventv1.NewEncoder().Encode(&x))
}

// lines are the events of a batch with every field of rules that they have.
func lines(t testing.TB, data []byte) (eventv1.Batch, []string) {
	t.Helper()
	var b eventv1.Batch
	if err := eventv1.NewDecoder().Decode(data, &b); err != nil {
		t.Fatal(err)
	}
	r, v := eventv1.NewReader(), field.NewView()
	v.Batch(&b)
	var out []string
	r.Reset(&b)
	for e := (eventv1.Event{}); r.Next(&e); {
		v.Event(&e)
		out = append(out, fmt.Sprintf("%d %d %s", e.Seq, e.Time, field.EventJSON(nil, v)))
	}
	if r.Err() != nil {
		t.Fatal(r.Err())
	}
	return b, out
}

// TestSelect compares every field of the events that are kept with what they were.
func TestSelect(t *testing.T) {
	data := sampled(t)
	b, all := lines(t, data)
	s := eventv1.NewSelector()
	for every := 1; every <= len(all); every++ {
		for first := range min(every, 3) {
			keep := make([]bool, len(all))
			var want []string
			for i := first; i < len(all); i += every {
				keep[i] = true
				want = append(want, all[i])
			}
			out, err := s.Select(&b, keep)
			if err != nil {
				t.Fatal(err)
			}
			small, got := lines(t, out)
			if d := cmp.Diff(want, got); d != "" {
				t.Fatalf("every %d from %d: (-want +got)\n%s", every, first, d)
			}
			if len(want) == 1 && (len(out)*2 > len(data) || len(small.Containers) > 1) {
				t.Errorf("one event takes %d bytes of %d, %d containers", len(out), len(data), len(small.Containers))
			}
		}
	}
	if _, err := s.Select(&b, nil); err == nil {
		t.Error("a mask of another length was taken")
	}
}

// TestSelectCircle takes a batch whose processes are each other's parents: bytes from the wire may say so.
func TestSelectCircle(t *testing.T) {
	b, all := lines(t, sampled(t))
	for i := range b.Procs {
		b.Procs[i].Parent = int32((i + 1) % len(b.Procs))
	}
	keep := make([]bool, len(all))
	keep[len(all)-1] = true
	out, err := eventv1.NewSelector().Select(&b, keep)
	if err != nil {
		t.Fatal(err)
	}
	if small, _ := lines(t, out); small.Count != 1 || len(small.Procs) != len(b.Procs) {
		t.Errorf("got %d events and %d processes", small.Count, len(small.Procs))
	}
}

// FuzzSelect: what is selected of any batch that decodes, decodes.
func FuzzSelect(f *testing.F) {
	f.Add(sampled(f), uint64(0b1011))
	f.Add(sampled(f), ^uint64(0))
	f.Fuzz(func(t *testing.T, data []byte, mask uint64) {
		var b eventv1.Batch
		if eventv1.NewDecoder().Decode(data, &b) != nil {
			return
		}
		r := eventv1.NewReader()
		r.Reset(&b)
		for e := (eventv1.Event{}); r.Next(&e); {
		}
		if r.Err() != nil {
			return
		}
		keep := make([]bool, b.Count)
		want := 0
		for i := range keep {
			if keep[i] = mask>>(i%64)&1 == 1; keep[i] {
				want++
			}
		}
		out, err := eventv1.NewSelector().Select(&b, keep)
		if err != nil {
			t.Fatal(err)
		}
		if small, got := lines(t, out); small.Count != want || len(got) != want {
			t.Fatalf("got %d events, want %d", small.Count, want)
		}
	})
}
