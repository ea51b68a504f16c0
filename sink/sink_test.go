package sink

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/bus/bustest"
	"github.com/gyre-sec/gyre/schemas/alertv1"
	"github.com/gyre-sec/gyre/schemas/subject"
	"github.com/gyre-sec/gyre/sink/clickhouse"
	"github.com/gyre-sec/gyre/sink/notify/webhook"
	"github.com/gyre-sec/gyre/sink/route"
)

// receiver is a service that counts what it has taken, by alert id.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	got    map[string]int
	status func(alert map[string]any) int
	change chan struct{}
}

func newReceiver(t testing.TB) *receiver {
	r := &receiver{got: map[string]int{}, change: make(chan struct{}, 1)}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		var alerts []map[string]any
		var body bytes.Buffer
		_, _ = body.ReadFrom(req.Body)
		if err := json.Unmarshal(body.Bytes(), &alerts); err != nil {
			alerts = []map[string]any{{}}
			_ = json.Unmarshal(body.Bytes(), &alerts[0])
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, a := range alerts {
			if r.status != nil {
				if code := r.status(a); code != 200 {
					w.WriteHeader(code)
					return
				}
			}
		}
		for _, a := range alerts {
			r.got[fmt.Sprint(a["id"])]++
		}
		select {
		case r.change <- struct{}{}:
		default:
		}
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) answer(f func(map[string]any) int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status = f
}

func (r *receiver) counts() (ids, total int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range r.got {
		total += n
	}
	return len(r.got), total
}

func down(map[string]any) int { return 503 }

func hook(name, url string) Output {
	o := NewOutput(name, "webhook")
	o.Settings.(*webhook.Config).URL = url
	o.MaxBackoff, o.FromStart = 50*time.Millisecond, true
	return o
}

type fixture struct {
	t    testing.TB
	bus  *bus.Bus
	pub  *bus.Publisher
	sent int
	// store is where the sink stores alerts, nil for nowhere.
	store *clickhouse.Store
}

func newFixture(t testing.TB) *fixture {
	b := bustest.New(t)
	return &fixture{t: t, bus: b, pub: b.NewPublisher(bus.PublisherConfig{Stage: "test"})}
}

// run starts a sink and returns it with what stops it.
func (f *fixture) run(cfg Config) (*Sink, func()) {
	f.t.Helper()
	def := DefaultConfig()
	cfg.ClickHouse, cfg.BatchRows, cfg.Inserts, cfg.BatchWait = def.ClickHouse, def.BatchRows, def.Inserts, def.BatchWait
	s, err := New(cfg, f.bus, f.store, f.t.Output(), bustest.Log(), prometheus.NewRegistry())
	if err != nil {
		f.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(f.t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	var once sync.Once
	stop := func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				f.t.Errorf("run: %v", err)
			}
		})
	}
	f.t.Cleanup(stop)
	return s, stop
}

func (f *fixture) alert(rule string, p alertv1.Priority) alertv1.Alert {
	f.sent++
	return alertv1.Alert{
		ID: alertv1.EventID(rule, "n", "b", uint64(f.sent)), Time: time.Now().UnixNano(), RuleID: rule, Rule: rule, Priority: p, Source: "syscall", Node: "n", Output: "o",
		Tags: []string{}, MITRE: []string{},
	}
}

func (f *fixture) publish(alerts ...alertv1.Alert) {
	f.t.Helper()
	for _, a := range alerts {
		f.publishAs(a, a.ID.String())
	}
}

func (f *fixture) publishAs(a alertv1.Alert, id string) {
	f.t.Helper()
	data, err := a.Marshal()
	if err != nil {
		f.t.Fatal(err)
	}
	if err := f.pub.Publish(f.t.Context(), bus.Message{Subject: subject.Alert(a.Priority.String(), a.RuleID, a.Node), ID: id, Data: data}); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) many(n int) {
	f.t.Helper()
	for range n {
		f.publish(f.alert("r", alertv1.Warning))
	}
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	within(t, 20*time.Second, what, ok)
}

func within(t testing.TB, d time.Duration, what string, ok func() bool) {
	t.Helper()
	poll(t, d, 10*time.Millisecond, what, ok)
}

func poll(t testing.TB, d, every time.Duration, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(d)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("%s: not within %s", what, d)
		case <-tick.C:
		}
	}
}

// settled waits until the output's consumer has nothing left.
func (f *fixture) settled(name string) { f.t.Helper(); f.settledWithin(20*time.Second, name) }

func (f *fixture) settledWithin(limit time.Duration, name string) {
	f.t.Helper()
	var d bus.Durable
	defer func() {
		if f.t.Failed() {
			f.t.Logf("%+v", d)
		}
	}()
	every := 20 * time.Millisecond
	if limit > time.Minute {
		every = 250 * time.Millisecond // asking for the state of a consumer with much in flight slows it down
	}
	poll(f.t, limit, every, name+" settled", func() bool {
		var err error
		d, err = f.bus.Durable(f.t.Context(), bus.StreamAlerts, DurablePrefix+name)
		return err == nil && d.Lag == 0 && d.AckPending == 0 && d.AckFloor == d.Last
	})
}

func (r *receiver) want(t *testing.T, ids, total int) {
	t.Helper()
	if i, n := r.counts(); i != ids || n != total {
		t.Errorf("%d alerts in %d deliveries, want %d in %d", i, n, ids, total)
	}
}

func TestOneDownDelaysNoOther(t *testing.T) {
	f := newFixture(t)
	a, b := newReceiver(t), newReceiver(t)
	b.answer(down)
	s, stop := f.run(Config{Outputs: []Output{hook("a", a.URL), hook("b", b.URL)}})
	f.many(200)
	f.settled("a")
	a.want(t, 200, 200)
	b.want(t, 0, 0)
	eventually(t, "b is down", func() bool { return !s.outputs[1].sender.State().Down.IsZero() })
	stop() // what b has not taken is given back
	b.answer(nil)
	s, _ = f.run(Config{Outputs: []Output{hook("a", a.URL), hook("b", b.URL)}})
	f.settled("b")
	f.settled("a")
	b.want(t, 200, 200)
	a.want(t, 200, 200) // a restart sends nothing again
	if st := s.outputs[1].sender.State(); st.Sent != 200 || st.Queued != 0 || !st.Down.IsZero() {
		t.Errorf("state %+v", st)
	}
}

// TestOutputsWithoutClickHouse: outputs work while ClickHouse is away when the sink starts, and what came meanwhile is stored later.
func TestOutputsWithoutClickHouse(t *testing.T) {
	f := newFixture(t)
	_, store, gate := startClickHouse(t)
	gate.set(false)
	f.store = store
	r := newReceiver(t)
	_, _ = f.run(Config{Outputs: []Output{hook("a", r.URL)}})
	f.many(20)
	f.settled("a")
	r.want(t, 20, 20)
	gate.set(true)
	f.settledWithin(time.Minute, clickHouseName)
	got, err := store.Alerts(t.Context(), clickhouse.Filter{})
	if err != nil || len(got) != 20 {
		t.Errorf("%d alerts stored, %v", len(got), err)
	}
}

// TestSameAlertAgain: an alert that was published again after the stream forgot its id is not sent again, not even after a restart.
func TestSameAlertAgain(t *testing.T) {
	f := newFixture(t)
	r := newReceiver(t)
	cfg := Config{Outputs: []Output{hook("a", r.URL)}}
	_, stop := f.run(cfg)
	a := f.alert("r", alertv1.Warning)
	f.publish(a)
	f.settled("a")
	f.publishAs(a, "again")
	f.settled("a")
	stop()
	_, _ = f.run(cfg)
	f.publishAs(a, "and again")
	f.many(1)
	f.settled("a")
	r.want(t, 2, 2)
}

// TestPoison: an alert that the service never takes goes to DEAD and keeps no other back; from there it is replayed.
func TestPoison(t *testing.T) {
	f := newFixture(t)
	r := newReceiver(t)
	bad := f.alert("bad", alertv1.Warning)
	worse := f.alert("worse", alertv1.Warning)
	r.answer(func(a map[string]any) int {
		switch a["rule"] {
		case "bad":
			return 400
		case "worse":
			return 500
		}
		return 200
	})
	o := hook("a", r.URL)
	o.GiveUpAfter = 500 * time.Millisecond
	_, _ = f.run(Config{Outputs: []Output{o}})
	f.publish(bad, worse)
	f.many(20)
	f.settled("a")
	r.want(t, 20, 20)
	reasons := 0
	if err := f.bus.Tail(t.Context(), bus.TailConfig{Stream: bus.StreamDead, Filter: subject.Dead("sink-a"), ToEnd: true}, func(m bus.Stored) error {
		if _, err := alertv1.Unmarshal(m.Data); err != nil {
			return err
		}
		reasons++
		return nil
	}); err != nil || reasons != 2 {
		t.Errorf("%d dead letters, %v", reasons, err)
	}
	r.answer(nil)
	order(t, f, "a", Order{Replay: &Replay{Since: time.Now().Add(-time.Hour), Dead: true}})
	eventually(t, "replay of dead letters", func() bool { ids, _ := r.counts(); return ids == 22 })
	r.want(t, 22, 22)
}

func order(t *testing.T, f *fixture, output string, o Order) []byte {
	t.Helper()
	data, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	var out []byte
	eventually(t, "order", func() bool {
		out, err = f.bus.Ask(t.Context(), subject.Control(output), data)
		return err == nil
	})
	return out
}

func TestReplayPauseAndTest(t *testing.T) {
	f := newFixture(t)
	r := newReceiver(t)
	_, _ = f.run(Config{Outputs: []Output{hook("a", r.URL)}})
	f.many(10)
	f.settled("a")
	order(t, f, "a", Order{Test: true})
	r.want(t, 11, 11)
	order(t, f, "a", Order{Replay: &Replay{Since: time.Now().Add(-time.Hour)}})
	eventually(t, "replay", func() bool { _, n := r.counts(); return n == 21 })
	eventually(t, "replay's consumer is gone", func() bool {
		list, err := f.bus.Durables(t.Context(), bus.StreamAlerts, "sink-a-replay-")
		return err == nil && len(list) == 0
	})
	r.want(t, 11, 21)
	if err := f.bus.Pause(t.Context(), bus.StreamAlerts, "sink-a", time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	f.many(5)
	r.want(t, 11, 21)
	if err := f.bus.Resume(t.Context(), bus.StreamAlerts, "sink-a"); err != nil {
		t.Fatal(err)
	}
	f.settled("a")
	r.want(t, 16, 26)
}

func TestRouteSilenceAndGroup(t *testing.T) {
	f := newFixture(t)
	r, all := newReceiver(t), newReceiver(t)
	r.answer(nil)
	o := hook("a", r.URL)
	o.Settings.(*webhook.Config).Array = true
	o.BatchMax = 100
	kv, err := f.bus.KV(t.Context(), bus.BucketSilences)
	if err != nil {
		t.Fatal(err)
	}
	quiet, err := json.Marshal(route.Silence{ID: "s1", Match: route.Match{Rules: []string{"quiet"}}, Starts: time.Now().Add(-time.Minute), Ends: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Put(t.Context(), "s1", quiet); err != nil {
		t.Fatal(err)
	}
	mild := hook("all", all.URL)
	mild.MinPriority = "notice"
	_, _ = f.run(Config{
		Outputs: []Output{o, mild},
		Route: route.Route{Outputs: []string{"all"}, Routes: []route.Route{
			{Match: route.Match{MinPriority: "error"}, Outputs: []string{"a", "all"}, GroupBy: []string{"rule"}, GroupWait: 300 * time.Millisecond},
		}},
		Inhibit: []route.InhibitConfig{{Source: route.Match{Rules: []string{"source"}}, Target: route.Match{Rules: []string{"target"}}, Equal: []string{"node"}, For: time.Minute}},
	})
	for range 3 {
		f.publish(f.alert("loud", alertv1.Error))
	}
	f.publish(f.alert("quiet", alertv1.Error), f.alert("source", alertv1.Warning), f.alert("target", alertv1.Error), f.alert("mild", alertv1.Warning), f.alert("debug", alertv1.Debug))
	f.settled("a")
	f.settled("all")
	r.want(t, 3, 3)
	all.want(t, 5, 5) // 3 loud, source, mild
}
