package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/bus/bustest"
	"github.com/gyre-sec/gyre/evaluator"
	"github.com/gyre-sec/gyre/evaluator/backtest"
	"github.com/gyre-sec/gyre/evaluator/recording"
	"github.com/gyre-sec/gyre/schemas/alertv1"
	"github.com/gyre-sec/gyre/schemas/eventv1"
	"github.com/gyre-sec/gyre/schemas/eventv1/eventtest"
	"github.com/gyre-sec/gyre/schemas/subject"
	"github.com/gyre-sec/gyre/sink/clickhouse/chtest"
	"github.com/gyre-sec/gyre/sink/clickhouse/embedded"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == embedded.ChildArg {
		os.Exit(embedded.ChildMain(os.Args[2:]))
	}
	os.Exit(m.Run())
}

const replayRules = `rules:
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
    throttle: {key: [node.name, proc.name], window: 1h}
`

// past is a NATS server with enriched batches, and a live evaluator that has seen them.
type past struct {
	b      *bus.Bus
	url    string
	dir    string // the evaluator's rules
	alerts map[string][]byte
}

const (
	pastNodes   = 3
	pastBatches = 8
)

func newPast(t *testing.T) *past {
	t.Helper()
	return newPastStoring(t, "")
}

// newPastStoring is a past whose evaluator picks events to store.
func newPastStoring(t *testing.T, storeEvents string) *past {
	t.Helper()
	srv := bustest.Start(t)
	p := &past{b: srv.Connect(), dir: t.TempDir(), alerts: map[string][]byte{}}
	p.url = "nats://" + srv.Token() + "@" + strings.TrimPrefix(srv.URL(), "nats://")
	if err := os.WriteFile(filepath.Join(p.dir, "r.yaml"), []byte(replayRules), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := evaluator.DefaultConfig()
	cfg.Dirs, cfg.Concurrency, cfg.StoreEvents = []string{p.dir}, 1, storeEvents
	ev, err := evaluator.New(cfg, p.b, bustest.Log(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- ev.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	pub := p.b.NewPublisher(bus.PublisherConfig{Stage: "test"})
	builder := eventv1.NewBuilder()
	for i := range pastBatches {
		for n := range pastNodes {
			node := fmt.Sprintf("web-%d", n)
			eventtest.Sample(builder, node, uint64(1+64*i), 64)
			m := bus.Message{Subject: subject.Enriched("syscall", node), ID: fmt.Sprintf("%s/%d", node, i), Data: bytes.Clone(builder.Encode())}
			if err := pub.Publish(t.Context(), m); err != nil {
				t.Fatal(err)
			}
		}
	}
	p.wait(t)
	return p
}

// wait returns when the evaluator is done with all batches, and reads its alerts.
func (p *past) wait(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); ; {
		d, err := p.b.Durables(t.Context(), bus.StreamEnriched, evaluator.Durable)
		if err == nil && len(d) == 1 && d[0].AckFloor == d[0].Last && d[0].Last > 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the evaluator is not done: %+v, %v", d, err)
		}
		time.Sleep(20 * time.Millisecond) // its position can only be asked for
	}
	if err := p.b.Tail(t.Context(), bus.TailConfig{Stream: bus.StreamAlerts, ToEnd: true}, func(m bus.Stored) error {
		a, err := alertv1.Unmarshal(m.Data)
		if err == nil {
			p.alerts[a.ID.String()], err = json.Marshal(a)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

// replay runs `gyre replay` and returns what it writes.
func (p *past) replay(t *testing.T, code int, args ...string) string {
	t.Helper()
	got, out, errs := gyre(append([]string{"replay", "--nats", p.url, "-q"}, args...)...)
	if got != code {
		t.Fatalf("gyre replay %q: exit code %d, want %d\n%s%s", args, got, code, out, errs)
	}
	return out
}

func (p *past) report(t *testing.T, args ...string) backtest.Report {
	t.Helper()
	var r struct {
		backtest.Report
		Rules []struct {
			ID string `json:"id"`
			backtest.Counts
		} `json:"rules"`
	}
	if err := json.Unmarshal([]byte(p.replay(t, 0, append(args, "--json")...)), &r); err != nil {
		t.Fatal(err)
	}
	for _, x := range r.Rules {
		r.Report.Rules = append(r.Report.Rules, backtest.RuleReport{ID: x.ID, Counts: x.Counts})
	}
	return r.Report
}

// same compares lines of alerts with those of the live evaluator, to the last byte.
func (p *past) same(t *testing.T, what, lines string) {
	t.Helper()
	n := 0
	for line := range strings.Lines(lines) {
		n++
		var a struct {
			ID string `json:"id"`
		}
		if err := json.Unmarshal([]byte(line), &a); err != nil {
			t.Fatal(err)
		}
		if want, ok := p.alerts[a.ID]; !ok || string(want) != strings.TrimSuffix(line, "\n") {
			t.Errorf("%s: the live alert is %s, replayed it is %s", what, want, line)
			return
		}
	}
	if n != len(p.alerts) || n < 100 {
		t.Errorf("%s: %d alerts, live there were %d", what, n, len(p.alerts))
	}
}

// TestReplay replays what a live evaluator has seen: the same alerts, to the last byte, and the evaluator is not disturbed.
func TestReplay(t *testing.T) {
	p := newPast(t)
	before, err := p.b.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, workers := range []string{"1", "8"} {
		p.same(t, workers+" workers", p.replay(t, 0, "--since", "1h", "--alerts", "--workers", workers))
	}
	file := filepath.Join(t.TempDir(), "r.gyre")
	code, out, errs := gyre("record", "--nats", p.url, "--since", "1h", "-o", file, "-q")
	if code != 0 || !strings.Contains(out, fmt.Sprintf("%d events of 3 nodes in %d batches", 64*pastNodes*pastBatches, pastNodes*pastBatches)) {
		t.Fatalf("%d %s%s", code, out, errs)
	}
	p.same(t, "recording", p.replay(t, 0, "--from-file", file, "--alerts"))
	if code, _, errs := gyre("record", "--nats", p.url, "--since", "1h", "-o", file); code != 1 || !strings.Contains(errs, "--force") {
		t.Errorf("a recording was replaced: %s", errs)
	}
	after, err := p.b.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range after {
		if after[i].Name == bus.StreamEnriched && len(after[i].Consumers) != 1 || after[i].Messages != before[i].Messages {
			t.Errorf("stream %s: %+v, was %+v", after[i].Name, after[i], before[i])
		}
	}
}

func TestReplayDiff(t *testing.T) {
	p := newPast(t)
	extra := filepath.Join(t.TempDir(), "more.yaml")
	if err := os.WriteFile(extra, []byte("rules:\n  - {id: started, name: Started, condition: 'evt.type == \"execve\"', output: o, priority: error}\noverrides:\n  - {rule: deleted, enabled: false}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := p.report(t, "--rules", "current", "--rules", extra, "--diff", "current", "--since", "1h")
	const each = pastNodes * pastBatches * 4 // of 64 events
	if r.Alerts.New != each || r.Alerts.Vanished != each || r.ID == "" {
		t.Errorf("%+v", r.Alerts)
	}
	page := filepath.Join(t.TempDir(), "r.html")
	text := p.replay(t, int(exitTooMany), "--rules", "current,"+extra, "--diff", "current", "--since", "1h", "--fail-if-more-than", "95", "--html", page)
	if !strings.Contains(text, "96 new, 96 vanished") {
		t.Errorf("%s", text)
	}
	if data, err := os.ReadFile(page); err != nil || !bytes.Contains(data, []byte("96 new, 96 vanished")) {
		t.Errorf("%v", err)
	}
	p.replay(t, 0, "--rules", "current,"+extra, "--diff", "current", "--since", "1h", "--fail-if-more-than", "96")
	_, shown, _ := gyre("replay", "list", "--nats", p.url)
	if strings.Count(shown, "done") != 3 {
		t.Errorf("%s", shown)
	}
	_, out, errs := gyre("replay", "show", "--nats", p.url, r.ID, "--json")
	if !strings.Contains(out, `"new": 96`) {
		t.Errorf("%s%s", out, errs)
	}
	if code, _, errs := gyre("replay", "delete", "--nats", p.url, r.ID); code != 0 {
		t.Error(errs)
	}
	if code, _, errs := gyre("replay", "show", "--nats", p.url, r.ID); code != 1 || !strings.Contains(errs, "no replay") {
		t.Errorf("%d %s", code, errs)
	}
}

func TestReplayRange(t *testing.T) {
	p := newPast(t)
	const all = pastNodes * pastBatches
	if code, out, errs := gyre("replay", "mark", "--nats", p.url, "release 1"); code != 1 {
		t.Errorf("a bad name: %s%s", out, errs)
	}
	if code, _, errs := gyre("replay", "mark", "--nats", p.url, "release-1.2"); code != 0 {
		t.Fatal(errs)
	}
	builder := eventv1.NewBuilder()
	eventtest.Sample(builder, "db", 1, 64)
	pub := p.b.NewPublisher(bus.PublisherConfig{Stage: "test"})
	if err := pub.Publish(t.Context(), bus.Message{Subject: subject.Enriched("syscall", "db"), ID: "db", Data: builder.Encode()}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args    string
		batches uint64
	}{
		{"--since 1h", all + 1},
		{"--mark release-1.2", 1},
		{"--from mark:release-1.2", 1},
		{"--from 1 --to mark:release-1.2", all},
		{"--from 5 --to 9", 5},
		{"--from 2020-01-01T00:00:00Z", all + 1},
		{"--from 2020-01-01T00:00:00Z --node db", 1},
		{"--from 2020-01-01T00:00:00Z --node web-*", all + 1}, // all are read, those of other nodes left out
		{"--since 1h --node web-0,web-1 --source syscall", 2 * pastBatches},
	} {
		if r := p.report(t, append(strings.Fields(c.args), "--rules", "builtin")...); r.Batches != c.batches || r.Partial || r.Missing != 0 {
			t.Errorf("%s: %d batches, want %d; %d missing", c.args, r.Batches, c.batches, r.Missing)
		}
	}
	for args, want := range map[string]string{
		"": "not said where to start", "--since 1h --from 1": "only one of", "--from x": "neither a time", "--mark none": "no mark", "--from 2030-01-01T00:00:00Z": "before the start",
		"--from 9 --to 5": "ends before it starts", "--since 1h --where proc.nam": "where:1", "--since 1h --rules /nonexistent": "no such file", "--since 1h --rules sha256:00": "not sha256:00",
		"--resume nosuch": "no replay", "--from-file /nonexistent": "no such file", "--from-file " + p.dir: "directory", "--since 1h --rate -1": "--rate", "--since 1h --node [": "pattern",
		"--as-load": "--from-file", "--since 1h --rules builtin,current": "must be the first",
	} {
		if code, out, errs := gyre(append([]string{"replay", "--nats", p.url, "-q"}, strings.Fields(args)...)...); code != 1 || !strings.Contains(errs, want) {
			t.Errorf("gyre replay %s: %d %s%s, want %q", args, code, out, errs, want)
		}
	}
	one := p.report(t, "--since", "1h", "--rules", "builtin", "--where", `proc.name == "bash"`)
	if one.Selected == 0 || one.Selected >= one.Events {
		t.Errorf("%d of %d events selected", one.Selected, one.Events)
	}
}

// TestReplayResume interrupts a replay, and goes on: together it is what one without a break finds.
func TestReplayResume(t *testing.T) {
	p := newPast(t)
	whole := p.report(t, "--since", "1h", "--rules", p.dir)
	a := &app{out: &bytes.Buffer{}, err: &bytes.Buffer{}, nats: p.url}
	f := &replayFlags{since: time.Hour, quiet: true, spec: replaySpec{Rules: []string{p.dir}}}
	f.rate, f.workers = 100, 1 // slow enough to be interrupted
	ctx, cancel := context.WithCancel(t.Context())
	r, err := a.openReplay(ctx, f)
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	go func() {
		for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			if _, s, err := r.runs.load(t.Context(), r.rec.ID); err == nil && s == nil {
				break // it has begun
			}
		}
		time.AfterFunc(2*time.Second, cancel)
	}()
	part, err := r.run(ctx)
	if err != nil || !part.Partial || part.Batches == 0 || part.Batches >= whole.Batches {
		t.Fatalf("%v, %+v", err, part)
	}
	if _, out, errs := gyre("replay", "list", "--nats", p.url); !strings.Contains(out, "partial") {
		t.Errorf("%s%s", out, errs)
	}
	got := p.report(t, "--resume", part.ID)
	if got.Batches != whole.Batches || got.Alerts.After != whole.Alerts.After || got.Partial || got.ID != part.ID {
		t.Errorf("resumed: %+v, want %+v", got.Alerts, whole.Alerts)
	}
	if code, _, errs := gyre("replay", "--nats", p.url, "--resume", part.ID); code != 1 || !strings.Contains(errs, "is done") {
		t.Errorf("%d %s", code, errs)
	}
}

// TestAsLoad plays a recording as many nodes; all of their batches arrive, as batches of those nodes.
func TestAsLoad(t *testing.T) {
	p := newPast(t)
	file := filepath.Join(t.TempDir(), "r.gyre")
	if code, _, errs := gyre("record", "--nats", p.url, "--since", "1h", "-o", file, "-q"); code != 0 {
		t.Fatal(errs)
	}
	const n = 20
	out := p.replay(t, 0, "--from-file", file, "--as-load", "--nodes", fmt.Sprint(n), "--speed", "0")
	if !strings.Contains(out, fmt.Sprintf("in %d batches of %d virtual nodes", n*pastNodes*pastBatches, n*pastNodes)) {
		t.Errorf("%s", out)
	}
	nodes := map[string]int{}
	var u bus.Unpacker
	dec := eventv1.NewDecoder()
	if err := p.b.Read(t.Context(), bus.ReadConfig{Stream: bus.StreamEvents}, func(m bus.Packed) error {
		data, err := u.Unpack(m)
		if err != nil {
			return err
		}
		var b eventv1.Batch
		if err := dec.Decode(data, &b); err != nil {
			return err
		}
		if age := time.Since(time.Unix(0, b.BaseTime)); m.Subject != subject.Event("syscall", b.Node) || b.BootID == eventtest.BootID {
			t.Errorf("%s of boot %s on %s, %s old", b.Node, b.BootID, m.Subject, age)
		}
		nodes[b.Node]++
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(nodes) != n*pastNodes || nodes["web-2-0020"] != pastBatches {
		t.Errorf("%d nodes: %v", len(nodes), nodes)
	}
}

// TestRecordLive records what comes while it runs; interrupted by its time, it is complete.
func TestRecordLive(t *testing.T) {
	p := newPast(t)
	file := filepath.Join(t.TempDir(), "r.gyre")
	done := make(chan string, 1)
	go func() {
		code, out, errs := gyre("record", "--nats", p.url, "--for", "6s", "-o", file, "-q")
		done <- fmt.Sprint(code, out, errs)
	}()
	pub := p.b.NewPublisher(bus.PublisherConfig{Stage: "test"})
	builder := eventv1.NewBuilder()
	var said string
	for i := 0; said == ""; i++ {
		eventtest.Sample(builder, "db", uint64(1+64*i), 64)
		if err := pub.Publish(t.Context(), bus.Message{Subject: subject.Enriched("syscall", "db"), ID: fmt.Sprint("db", i), Data: builder.Encode()}); err != nil {
			t.Fatal(err)
		}
		select {
		case said = <-done:
		case <-time.After(50 * time.Millisecond):
		}
	}
	if !strings.HasPrefix(said, "0") || strings.Contains(said, "INCOMPLETE") {
		t.Fatal(said)
	}
	f, err := recording.Open(file, true)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	x := f.Index()
	if x.Batches == 0 || x.Nodes["db"] == nil || len(x.Nodes) != 1 || x.Gaps() != 0 || !x.Complete {
		t.Errorf("%s: %+v", said, x)
	}
}

// TestReplayStore stores alerts of a replay apart from live ones, and deletes them.
func TestReplayStore(t *testing.T) {
	p := newPast(t)
	srv := chtest.Server(t, "")
	ch := []string{"--clickhouse", srv.DSN()}
	r := p.report(t, append(ch, "--rules", p.dir, "--diff", "builtin", "--since", "1h", "--store")...)
	ask := func(sql string) string {
		code, out, errs := gyre(append([]string{"query", "--nats", p.url, "--format", "csv", sql}, ch...)...)
		if code != 0 {
			t.Fatal(errs)
		}
		return strings.Join(strings.Fields(out)[1:], " ")
	}
	got := ask("SELECT verdict, count(), uniqExact(node) FROM replay_alerts FINAL WHERE replay_id = '" + r.ID + "' GROUP BY verdict ORDER BY verdict")
	want := fmt.Sprintf("new,%d,%d", r.Alerts.New, pastNodes)
	if r.Alerts.Before > 0 {
		want = fmt.Sprintf("same,%d,%d %s", r.Alerts.Before, pastNodes, want)
	}
	if r.Alerts.New < 96 || got != want {
		t.Errorf("stored %s, want %s", got, want)
	}
	if n := ask("SELECT count() FROM alerts"); n != "0" {
		t.Errorf("%s live alerts", n)
	}
	if code, _, errs := gyre(append([]string{"replay", "delete", "--nats", p.url, r.ID}, ch...)...); code != 0 {
		t.Error(errs)
	}
	if n := ask("SELECT count() FROM replay_alerts"); n != "0" {
		t.Errorf("%s alerts after the deletion", n)
	}
}
