package docs

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/bus/bustest"
	"github.com/gyre-sec/gyre/collector/action"
	"github.com/gyre-sec/gyre/schemas/actionv1"
	"github.com/gyre-sec/gyre/schemas/subject"
)

// natsOf starts a server with the permissions of deploy/nats/nats.conf, for a node web-1 with password "node" and
// workers with password "work". TLS and nkeys are left out: they say who somebody is, not what he may do.
func natsOf(t *testing.T) string {
	t.Helper()
	conf := read(t, "deploy/nats/nats.conf")
	start, end := strings.Index(conf, "tls {"), strings.Index(conf, "authorization {")
	conf = conf[:start] + conf[end:]
	for _, r := range [][2]string{
		{`nkey: "UNODE_REPLACE_WITH_THE_PUBLIC_NKEY_OF_THE_NODE"`, "user: node, password: node"},
		{`nkey: "UWORK_REPLACE_WITH_THE_PUBLIC_NKEY_OF_THE_WORKERS"`, "user: work, password: work"},
		{`listen: "0.0.0.0:4222"`, `listen: "127.0.0.1:-1"`},
		{`"/var/lib/nats"`, `"` + t.TempDir() + `"`},
	} {
		if !strings.Contains(conf, r[0]) {
			t.Fatalf("nats.conf has no %s", r[0])
		}
		conf = strings.ReplaceAll(conf, r[0], r[1])
	}
	path := filepath.Join(t.TempDir(), "nats.conf")
	if err := os.WriteFile(path, []byte(regexp.MustCompile(`\bNODE\b|(_INBOX_)NODE\b`).ReplaceAllString(conf, "${1}web-1")), 0o600); err != nil {
		t.Fatal(err)
	}
	o, err := server.ProcessConfigFile(path)
	if err != nil {
		t.Fatal(err)
	}
	o.NoSigs = true
	s, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(20 * time.Second) {
		t.Fatal("the server did not start")
	}
	return s.Addr().String()
}

func connect(t *testing.T, addr, who, inbox string) *bus.Bus {
	t.Helper()
	cfg := bus.DefaultConfig()
	cfg.URL, cfg.InboxPrefix, cfg.PublishTimeout = "nats://"+who+":"+who+"@"+addr, inbox, 500*time.Millisecond
	b, err := bus.Connect(t.Context(), cfg, bustest.Log(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// TestNodePermissions: with the shipped permissions a node's executor works, and the node's credentials can do no more.
func TestNodePermissions(t *testing.T) {
	addr := natsOf(t)
	work := connect(t, addr, "work", "")
	if err := work.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	node := connect(t, addr, "node", "_INBOX_web-1")
	if err := node.Ensure(t.Context()); err != nil {
		t.Fatalf("the node cannot see the streams that are there: %v", err)
	}
	key := ed25519.NewKeyFromSeed([]byte("the seed of a key for tests only"))
	policy := filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(policy, []byte(fmt.Sprintf("actions:\n  keys:\n    - {name: ada, public_key: %q}\n  allow:\n    - actions: [kill]\n", base64.StdEncoding.EncodeToString(key[32:]))), 0o600); err != nil {
		t.Fatal(err)
	}
	e, err := action.New(action.Config{Node: "web-1", PolicyFile: policy}, node, bustest.Log(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	pub := work.NewPublisher(bus.PublisherConfig{Stage: "test"})
	// The consumer begins with what comes after it: ask until it is there.
	answered := make(chan actionv1.Result, 16)
	go func() {
		_ = work.Tail(ctx, bus.TailConfig{Stream: bus.StreamResults, Seq: 1}, func(m bus.Stored) error {
			r, err := actionv1.UnmarshalResult(m.Data)
			if err == nil {
				answered <- r
			}
			return err
		})
	}()
	ask := func() {
		now := time.Now()
		req := actionv1.Request{ID: actionv1.NewID(), Node: "web-1", Action: actionv1.Kill, Target: "web-1:00000000:1:2:3", Reason: "test", IssuedAt: now.UnixNano(), ExpiresAt: now.Add(time.Minute).UnixNano()}
		m, err := actionv1.Sign(&req, key)
		if err != nil {
			t.Fatal(err)
		}
		if err := pub.Publish(t.Context(), bus.Message{Subject: subject.Action("web-1"), Data: m}); err != nil {
			t.Fatal(err)
		}
	}
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		ask()
		select {
		case r := <-answered:
			if r.Code != action.CodeOtherBoot || r.KeyName != "ada" {
				t.Errorf("%+v", r)
			}
		case <-tick.C:
			if n < 60 {
				continue
			}
			t.Error("the node does not answer")
		}
		break
	}
	// Acknowledging is a permission too.
	for n, open := 0, 1; open > 0; n++ {
		st, err := work.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range st {
			if s.Name == bus.StreamActions && len(s.Consumers) == 1 {
				open = s.Consumers[0].AckPending + int(s.Consumers[0].Lag)
			}
		}
		if n > 20 {
			t.Fatalf("%d requests are not acknowledged", open)
		}
		<-tick.C
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}

	mine := node.NewPublisher(bus.PublisherConfig{Stage: "stolen"})
	for _, to := range []string{subject.Action("web-2"), subject.Action("web-1"), subject.ActionResult("web-2"), subject.Event("syscall", "web-2"), subject.Alert("critical", "r", "web-1")} {
		ctx, cancel := context.WithTimeout(t.Context(), 700*time.Millisecond)
		if err := mine.Publish(ctx, bus.Message{Subject: to, Data: []byte("x")}); err == nil {
			t.Errorf("the node's credentials publish to %s", to)
		}
		cancel()
	}
	for stream, filter := range map[string]string{bus.StreamActions: subject.Action("web-2"), bus.StreamResults: "", bus.StreamEvents: ""} {
		ctx, cancel := context.WithTimeout(t.Context(), 700*time.Millisecond)
		read := errors.New("read")
		if err := node.Tail(ctx, bus.TailConfig{Stream: stream, Filter: filter, Seq: 1}, func(bus.Stored) error { return read }); errors.Is(err, read) {
			t.Errorf("the node's credentials read %s", stream)
		}
		cancel()
	}
	if others := connect(t, addr, "work", ""); others.Ready() != nil {
		t.Error("workers cannot connect any more")
	}
}

// TestActionsDropIn: the drop-in adds to what the unit has, and takes nothing away.
func TestActionsDropIn(t *testing.T) {
	caps := func(name, key string) map[string]bool {
		m := regexp.MustCompile(`(?m)^` + key + `=(.*)$`).FindStringSubmatch(read(t, "deploy/systemd/"+name))
		if m == nil {
			t.Fatalf("%s has no %s", name, key)
		}
		set := map[string]bool{}
		for c := range strings.FieldsSeq(m[1]) {
			set[c] = true
		}
		return set
	}
	for _, key := range []string{"AmbientCapabilities", "CapabilityBoundingSet"} {
		add := caps("gyre-collector-actions.conf", key)
		for _, c := range []string{"CAP_KILL", "CAP_DAC_OVERRIDE"} {
			if !add[c] || caps("gyre-collector.service", key)[c] {
				t.Errorf("%s %s: by the unit alone %t, with the drop-in %t", key, c, caps("gyre-collector.service", key)[c], add[c])
			}
		}
	}
}

// TestDocumentedPolicy: the policy in docs/actions.md loads, and names of codes there are real ones.
func TestDocumentedPolicy(t *testing.T) {
	doc := read(t, "docs/actions.md")
	m := regexp.MustCompile("(?s)```yaml\n(actions:.*?)```").FindStringSubmatch(doc)
	if m == nil {
		t.Fatal("no policy in docs/actions.md")
	}
	file := filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(file, []byte(m[1]), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := action.LoadPolicy(file)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Keys) == 0 || len(p.Allow) == 0 {
		t.Errorf("%+v", p)
	}
	for _, code := range action.Codes() {
		if !strings.Contains(doc, "`"+code+"`") {
			t.Errorf("docs/actions.md does not explain the code %s", code)
		}
	}
}
