package action

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/bus/bustest"
	"github.com/gyre-sec/gyre/schemas/actionv1"
	"github.com/gyre-sec/gyre/schemas/subject"
)

// results follows the RESULTS stream until n have come.
func results(t *testing.T, b *bus.Bus, n int) []actionv1.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var out []actionv1.Result
	enough := errors.New("enough")
	err := b.Tail(ctx, bus.TailConfig{Stream: bus.StreamResults, Filter: subject.ResultFilter(testNode), Seq: 1}, func(m bus.Stored) error {
		r, err := actionv1.UnmarshalResult(m.Data)
		if err != nil {
			return err
		}
		if out = append(out, r); len(out) == n {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) {
		t.Fatalf("%d results of %d: %v", len(out), n, err)
	}
	return out
}

// TestOverNATS: requests through a real server are decided once, in order, and each gets its result.
func TestOverNATS(t *testing.T) {
	srv := bustest.Start(t)
	b := srv.Connect()
	e, reports := newTestOn(t, b, policyText(everything, ""))
	run := func(e *Executor) (stop func()) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- e.Run(ctx) }()
		return func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}
	stop := run(e)
	pub := b.NewPublisher(bus.PublisherConfig{Stage: "test"})
	send := func(node string, m []byte) {
		t.Helper()
		if err := pub.Publish(t.Context(), bus.Message{Subject: subject.Action(node), Data: m}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the executor listens", func() bool {
		st, err := b.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range st {
			if s.Name == bus.StreamActions && len(s.Consumers) == 1 && s.Consumers[0].Name == Durable(testNode) {
				return true
			}
		}
		return false
	})
	c := start(t, "sleep", "1000")
	message := sign(t, request(actionv1.Kill, execID(t, c.pid()).String()), newKey(0))
	foreign := request(actionv1.Kill, execID(t, c.pid()).String())
	foreign.Node = "node-2"
	send(testNode, []byte("noise"))
	send("node-2", sign(t, foreign, newKey(0))) // another node's subject: not for us at all
	send(testNode, sign(t, foreign, newKey(0)))
	send(testNode, message)
	send(testNode, message)
	send(testNode, make([]byte, actionv1.MaxRequest+1))
	var got []string
	for _, r := range results(t, b, 5) {
		got = append(got, string(r.Status)+" "+r.Code)
		if r.Status == actionv1.Executed && r.Digest != actionv1.DigestOf(message) {
			t.Error("the digest is of something else")
		}
	}
	if s := strings.Join(got, ", "); s != "refused malformed, refused foreign_node, executed , refused replayed, refused oversized" {
		t.Errorf("results: %s", s)
	}
	<-c.done
	stop()
	if len(*reports) != 5 {
		t.Errorf("%d reports", len(*reports))
	}
	// After a restart, a request from before it is refused, whoever sends it again.
	c = start(t, "sleep", "1000")
	message = sign(t, request(actionv1.Kill, execID(t, c.pid()).String()), newKey(0))
	send(testNode, message)
	e, err := New(e.cfg, b, bustest.Log(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	stop = run(e)
	if r := results(t, b, 6)[5]; r.Code != CodeBeforeStart || !c.running() {
		t.Errorf("%s %s", r.Status, r.Code)
	}
	stop()
}

// TestFollowsPolicyFile: a changed policy takes effect by itself, a bad one does not, and without a file nothing is allowed.
func TestFollowsPolicyFile(t *testing.T) {
	e, _ := newTest(t, "")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { e.follow(ctx); close(done) }()
	allowed := func() bool { return e.policy.Load().allows(actionv1.Kill, "ada") }
	if allowed() {
		t.Error("without a file something is allowed")
	}
	writePolicy(t, e.cfg.PolicyFile, policyText(everything, ""))
	eventually(t, "the new policy allows", allowed)
	if err := os.Remove(e.cfg.PolicyFile); err != nil {
		t.Fatal(err)
	}
	eventually(t, "without the file nothing is allowed", func() bool { return !allowed() })
	cancel()
	<-done
}

func TestNewRefusesBadPolicy(t *testing.T) {
	e, _ := newTest(t, "")
	writePolicy(t, e.cfg.PolicyFile, "actions:\n  allow: 7\n")
	if _, err := New(e.cfg, nil, bustest.Log(), prometheus.NewRegistry()); err == nil || !strings.Contains(err.Error(), ":2:10: actions.allow") {
		t.Errorf("%v", err)
	}
}
