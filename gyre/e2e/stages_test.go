package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/bus/bustest"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/schemas/alertv1"
	"github.com/gyre-sec/gyre/schemas/eventv1"
	"github.com/gyre-sec/gyre/schemas/subject"
	"github.com/gyre-sec/gyre/sink/clickhouse"
	"github.com/gyre-sec/gyre/sink/clickhouse/embedded"
)

const stageRule = `rules:
  - id: marker
    name: Marker
    description: Matches what the test sends.
    condition: evt.type == "openat" && fd.name == "/marker"
    output: "%fd.name by %proc.name"
    priority: notice
  - id: probe
    name: Probe
    description: Tells the test that capture has begun.
    condition: evt.type == "openat" && fd.name == "/probe"
    output: "%fd.name by %proc.name"
    priority: notice
`

// stages are the stage programs over one NATS and one ClickHouse, which live in the test process.
type stages struct {
	t     *testing.T
	env   []string
	args  map[string][]string
	procs map[string]*process
	nats  *bustest.Server
	bus   *bus.Bus
	store *clickhouse.Store
}

func newStages(t *testing.T) *stages {
	t.Helper()
	nats := bustest.Start(t)
	s := &stages{t: t, procs: map[string]*process{}, nats: nats, bus: nats.Connect()}
	ch, err := embedded.Start(t.Context(), embedded.Config{Dir: t.TempDir()}, bustest.Log())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ch.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	cfg := clickhouse.DefaultConfig()
	cfg.DSN = daemon.NewSecret(ch.DSN())
	if s.store, err = clickhouse.Open(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.store.Close() })
	rules := t.TempDir()
	if err := os.WriteFile(filepath.Join(rules, "marker.yaml"), []byte(stageRule), 0o644); err != nil {
		t.Fatal(err)
	}
	s.env = []string{"GYRE_NATS_URL=" + nats.URL(), "GYRE_NATS_TOKEN=" + nats.Token()}
	sinkEnv := filepath.Join(t.TempDir(), "dsn")
	if err := os.WriteFile(sinkEnv, []byte(ch.DSN()), 0o600); err != nil {
		t.Fatal(err)
	}
	s.args = map[string][]string{
		"gyre-collector": nil, "gyre-enricher": nil,
		"gyre-evaluator":   {"-set", "evaluator.dirs=" + rules, "-set", "evaluator.builtin=false"},
		"gyre-evaluator 2": {"-set", "evaluator.dirs=" + rules, "-set", "evaluator.builtin=false"},
		"gyre-sink":        {"-set", "sink.clickhouse.dsn_file=" + sinkEnv},
	}
	return s
}

// up starts a stage, or starts it again after it was killed.
func (s *stages) up(name string) {
	s.t.Helper()
	program := regexp.MustCompile(`[a-z-]+`).FindString(name)
	s.procs[name] = start(s.t, s.env, program, s.args[name]...)
}

// kill ends a stage with SIGKILL and starts it again.
func (s *stages) kill(name string) {
	s.t.Helper()
	if err := s.procs[name].cmd.Process.Signal(syscall.SIGKILL); err != nil {
		s.t.Fatalf("kill %s: %v\n%s", name, err, s.procs[name].err.String())
	}
	s.procs[name].kill()
	s.up(name)
}

// metric reads a counter of a stage from its admin address, which it logs.
func (s *stages) metric(name, metric string) (float64, error) {
	m := regexp.MustCompile(`127\.0\.0\.1:\d+`).FindString(regexp.MustCompile(`(?m)^.*admin.*$`).FindString(s.procs[name].err.String()))
	if m == "" {
		return 0, errors.New("no admin address in the log")
	}
	resp, err := http.Get("http://" + m + "/metrics")
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	var text buffer
	if _, err := text.b.ReadFrom(resp.Body); err != nil {
		return 0, err
	}
	v := regexp.MustCompile(`(?m)^` + metric + `(?:\{[^}]*\})? (\S+)$`).FindStringSubmatch(text.String())
	if v == nil {
		return 0, fmt.Errorf("no metric %s", metric)
	}
	return strconv.ParseFloat(v[1], 64)
}

// stored counts the alerts of the rule marker in the view, and their distinct ids.
func (s *stages) stored(node string) (rows, ids int, err error) { return s.storedOf("marker", node) }

func (s *stages) storedOf(rule, node string) (rows, ids int, err error) {
	r, err := s.store.Query(s.t.Context(), "SELECT toInt64(count()), toInt64(uniqExact(id)) FROM alerts WHERE rule_id = '"+rule+"' AND node = '"+node+"'")
	if err != nil {
		return 0, 0, err
	}
	return int(r.Rows[0][0].(int64)), int(r.Rows[0][1].(int64)), nil
}

// TestKilledStagesLoseNothing sends batches while every stage after the collector is killed with SIGKILL and started again.
func TestKilledStagesLoseNothing(t *testing.T) {
	s := newStages(t)
	for _, name := range []string{"gyre-enricher", "gyre-evaluator", "gyre-evaluator 2", "gyre-sink"} {
		s.up(name)
	}
	const batches, per = 600, 64
	pub := s.bus.NewPublisher(bus.PublisherConfig{Stage: "test"})
	build := eventv1.NewBuilder()
	want := map[string]bool{}
	for i := range batches {
		first := uint64(1 + i*per)
		build.Reset(eventv1.Header{Node: "synthetic", BootID: "boot", Source: "syscall"})
		row := build.AddProc(eventv1.Proc{PID: 7, Parent: -1, Container: -1, User: -1, LoginUser: -1, Comm: build.InternString("p")})
		for j := range per {
			path := "/other"
			if j%8 == 0 {
				path = "/marker"
				want[alertv1.EventID("marker", "synthetic", "boot", first+uint64(j)).String()] = true
			}
			build.Add(&eventv1.Event{Kind: eventv1.Openat, Seq: first + uint64(j), Time: time.Now().UnixNano(), Proc: row, Ret: 3, Args: [16]int64{3, -100, int64(build.InternString(path))}})
		}
		if err := pub.Publish(t.Context(), bus.Message{Subject: subject.Event("syscall", "synthetic"), ID: fmt.Sprint("synthetic/boot/", first), Data: build.Encode()}); err != nil {
			t.Fatal(err)
		}
		switch i {
		case 100, 400:
			s.kill("gyre-enricher")
		case 200, 450:
			s.kill("gyre-evaluator")
		case 300, 500:
			s.kill("gyre-sink")
		}
		time.Sleep(5 * time.Millisecond) // a pace, so that the kills fall into the stream
	}
	eventually(t, "every alert in ClickHouse", func() error {
		rows, ids, err := s.stored("synthetic")
		if err == nil && (rows != len(want) || ids != len(want)) {
			err = fmt.Errorf("%d rows, %d ids, want %d", rows, ids, len(want))
		}
		return err
	})
	r, err := s.store.Query(t.Context(), "SELECT toString(id) FROM alerts WHERE rule_id = 'marker'")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range r.Rows {
		if id := row[0].(string); !want[id] {
			t.Errorf("alert %s was not expected, or is there twice", id)
		} else {
			delete(want, id)
		}
	}
	if len(want) > 0 {
		t.Errorf("%d alerts are missing", len(want))
	}
	for _, name := range []string{"gyre-evaluator", "gyre-evaluator 2"} {
		if n, err := s.metric(name, "gyre_evaluator_batches_total"); err != nil || n == 0 {
			t.Errorf("%s evaluated %v batches: %v\n%s", name, n, err, s.procs[name].err.String())
		}
	}
}

// TestKilledCollector kills the collector while a process works. What was done while one was
// capturing must be there once; numbers must be unique over both runs.
func TestKilledCollector(t *testing.T) {
	needRoot(t)
	s := newStages(t)
	for _, name := range []string{"gyre-enricher", "gyre-evaluator", "gyre-sink"} {
		s.up(name)
	}
	s.args["gyre-collector"] = []string{"-set", "collector.node=kernel"}
	s.up("gyre-collector")
	for run := range 2 {
		s.captures()
		opens("/marker", 1000)
		eventually(t, "every open", func() error {
			got, ids, err := s.stored("kernel")
			if want := 1000 * (run + 1); err == nil && (got != want || ids != got) {
				err = fmt.Errorf("%d rows, %d ids, want %d", got, ids, want)
			}
			return err
		})
		s.kill("gyre-collector")
	}
}

func opens(path string, n int) {
	for range n {
		if fd, err := syscall.Open(path, syscall.O_RDONLY, 0); err == nil {
			_ = syscall.Close(fd)
		}
	}
}

// captures waits until the collector of the node kernel captures: until another open of /probe is stored.
func (s *stages) captures() {
	s.t.Helper()
	before, _, _ := s.storedOf("probe", "kernel") // none while there is no table
	made := 0
	eventually(s.t, "capture", func() error {
		opens("/probe", 1)
		made++
		if rows, _, err := s.storedOf("probe", "kernel"); err != nil || rows <= before {
			return fmt.Errorf("%d stored before, %d opens since: %w", before, made, err)
		}
		return nil
	})
}

// TestCollectorStartsWithoutNATS starts the collector while the server is away. What happens from then on is there once the server is.
func TestCollectorStartsWithoutNATS(t *testing.T) {
	needRoot(t)
	s := newStages(t)
	s.nats.Down()
	s.args["gyre-collector"] = []string{"-set", "collector.node=kernel", "-set", "collector.spool_dir=" + t.TempDir()}
	s.up("gyre-collector")
	eventually(t, "capture", func() error {
		if text := s.procs["gyre-collector"].err.String(); !strings.Contains(text, "capturing") {
			return errors.New(text)
		}
		return nil
	})
	opens("/marker", 500)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(s.procs["gyre-collector"].err.String())
		}
	})
	s.nats.Up()
	opens("/marker", 500)
	for _, name := range []string{"gyre-enricher", "gyre-evaluator", "gyre-sink"} {
		s.up(name)
	}
	eventually(t, "every open", func() error {
		rows, ids, err := s.stored("kernel")
		if err == nil && (rows != 1000 || ids != rows) {
			err = fmt.Errorf("%d rows, %d ids, want 1000", rows, ids)
		}
		return err
	})
}
