package correlate

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"

	"github.com/gyre-sec/gyre/schemas/alertv1"
)

// keySignal is a signal of a key as an evaluator sends it: with two processes and four fields.
func keySignal(rule, step string, key int, at float64, seq uint64) []byte {
	s := sig(rule, step, fmt.Sprintf("/opt/service-%06d/bin/worker", key), at, seq, fmt.Sprintf("/var/lib/service-%06d/data", key))
	s.Alert.Fields = append(s.Alert.Fields, alertv1.Field{Name: "user.name", Value: "service"}, alertv1.Field{Name: "proc.pid", Value: int64(key)})
	s.Alert.Node = fmt.Sprintf("node-%03d.example.com", key%500)
	s.Alert.Lineage = []alertv1.Process{
		{ExecID: fmt.Sprintf("node:%d", key), PID: uint32(key), Name: "worker", Exe: "/opt/service/bin/worker", Cmdline: "worker --config /etc/service/worker.yaml --id " + fmt.Sprint(key), Cwd: "/", User: "service"},
		{ExecID: fmt.Sprintf("node:%d", key+1), PID: uint32(key + 1), Name: "systemd", Exe: "/usr/lib/systemd/systemd", Cmdline: "systemd --system", Cwd: "/", User: "root"},
	}
	data, err := s.Marshal()
	if err != nil {
		panic(err)
	}
	return data
}

func heapInUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestMemory: a hundred thousand keys with two events each fit into 200 MB, and the engine's own account is near the truth.
func TestMemory(t *testing.T) {
	const keys = 100_000
	defer debug.SetGCPercent(debug.SetGCPercent(50))
	set := testSet(t, testRules)
	limits := testLimits()
	limits.Keys, limits.KeysPerRule, limits.Bytes = 2*keys, 2*keys, 1<<30
	b := NewBudget(limits)
	engines := make([]*Engine, 64)
	for i := range engines {
		engines[i] = NewEngine(b)
		engines[i].SetRules(set, epoch)
	}
	before := heapInUse()
	clock := epoch
	for round := range 2 {
		for k := range keys {
			s, err := UnmarshalSignal(keySignal("three", "event", k, 0, uint64(2*k+round+1)))
			if err != nil {
				t.Fatal(err)
			}
			engines[s.Partition()].Add(s, clock, func(*alertv1.Alert) {})
			clock += 10_000
		}
	}
	for _, e := range engines {
		e.Advance(clock+int64(3*time.Second), func(*alertv1.Alert) {})
	}
	after := heapInUse()
	got, said := b.Held()
	used := after - before
	t.Logf("%d keys, 2 events each: %d MB of heap, %d bytes a key; accounted %d MB", got, used>>20, used/keys, said>>20)
	if got != keys || used > 200_000_000 {
		t.Errorf("%d keys in %d bytes", got, used)
	}
	if said < int64(used)*6/10 || said > int64(used)*2 {
		t.Errorf("accounted %d bytes, used %d", said, used)
	}
	var size, packed int
	start := time.Now()
	for _, e := range engines {
		data, err := e.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		size += len(data)
		packed += len(s2.Encode(nil, data))
	}
	t.Logf("64 snapshots: %d MB, %d MB compressed, in %s", size>>20, packed>>20, time.Since(start).Round(time.Millisecond))
	runtime.KeepAlive(engines)
}

// TestBounds: beyond its bounds the engine forgets the keys that were idle the longest, and counts them.
func TestBounds(t *testing.T) {
	limits := testLimits()
	limits.KeysPerRule, limits.Keys, limits.Bytes = 10, 15, 1<<30
	b := NewBudget(limits)
	e := NewEngine(b)
	e.SetRules(testSet(t, testRules), epoch)
	none := func(*alertv1.Alert) {}
	for k := range 20 {
		e.Add(sig("three", "event", fmt.Sprint(k), 0, uint64(k), "v"), epoch, none)
		e.Add(sig("pair", "a", fmt.Sprint(k), 0, uint64(k), "v"), epoch, none)
	}
	keys, _ := b.Held()
	if keys != 15 || b.Evicted["three"]+b.Evicted["pair"] != 25 || e.states[joinKey("three", []string{"", "19"})] == nil || e.states[joinKey("three", []string{"", "0"})] != nil {
		t.Errorf("%d keys, evicted %v", keys, b.Evicted)
	}
	b.Bytes = 4000
	e.Add(sig("three", "event", "new", 0, 99, "v"), epoch, none)
	if _, bytes := b.Held(); bytes > 4000 || e.states[joinKey("three", []string{"", "new"})] == nil {
		t.Errorf("%d bytes", bytes)
	}
}

func benchmark(b *testing.B, rule string, steps ...string) {
	set := testSet(b, testRules)
	limits := testLimits()
	limits.Keys, limits.KeysPerRule = 1<<20, 1<<20
	budget := NewBudget(limits)
	e := NewEngine(budget)
	e.SetRules(set, epoch)
	const keys = 10_000
	data := make([][]byte, keys*len(steps))
	for i := range data {
		data[i] = keySignal(rule, steps[i/keys], i%keys, 0, uint64(i+1))
	}
	b.ReportAllocs()
	b.ResetTimer()
	alerts := 0
	for i := range b.N {
		s, err := UnmarshalSignal(data[i%len(data)])
		if err != nil {
			b.Fatal(err)
		}
		at := epoch + int64(i)*100_000 // ten thousand signals a second
		s.Alert.Time, s.Alert.Seq = at, uint64(i)
		e.Add(s, at, func(*alertv1.Alert) { alerts++ })
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "signals/s")
}

func BenchmarkThreshold(b *testing.B) { benchmark(b, "three", "event") }
func BenchmarkSequence(b *testing.B)  { benchmark(b, "pair", "a", "b") }
func BenchmarkRate(b *testing.B)      { benchmark(b, "fast", "event") }
