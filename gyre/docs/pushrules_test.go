package docs

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/evaluator/rulestore"
	"github.com/gyre-sec/gyre/schemas/rulesv1"
)

// TestNodeCannotPushRules: with the shipped permissions operators push rule sets, and a node's credentials cannot.
func TestNodeCannotPushRules(t *testing.T) {
	addr := natsOf(t)
	work := connect(t, addr, "work", "")
	if err := work.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	s, err := rulestore.Open(t.Context(), work, bus.BucketRules, "default")
	if err != nil {
		t.Fatal(err)
	}
	v, _, err := s.Push(t.Context(), rulestore.Push{Files: []rulesv1.File{{Name: "a.yaml", Data: []byte("rules: []\n")}}})
	if err != nil {
		t.Fatal(err)
	}
	node := connect(t, addr, "node", "_INBOX_web-1")
	kv, err := node.KV(t.Context(), bus.BucketRules)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := kv.Put(ctx, "default", []byte("rules: []\n")); !errors.Is(err, context.DeadlineExceeded) { // the server says nothing to who may not
		t.Errorf("a node wrote to the bucket: %v", err)
	}
	if now, err := s.Current(t.Context()); err != nil || now.Revision != v.Revision {
		t.Errorf("revision %d, want %d, %v", now.Revision, v.Revision, err)
	}
}
