package docs

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/gyre/up"
	"github.com/gyre-sec/gyre/schemas/factv1"
	"github.com/gyre-sec/gyre/schemas/subject"
)

// TestContextConfiguration: the example in docs/context.md loads, and is what the defaults are where it says nothing else.
func TestContextConfiguration(t *testing.T) {
	m := regexp.MustCompile("(?s)```yaml\n(collector:.*?)```").FindStringSubmatch(read(t, "docs/context.md"))
	if m == nil {
		t.Fatal("no configuration in docs/context.md")
	}
	file := filepath.Join(t.TempDir(), "gyre.yaml")
	if err := os.WriteFile(file, []byte(m[1]), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, def := up.DefaultConfig(), up.DefaultConfig()
	if err := daemon.Load(daemon.LoadOptions{Path: file, Sections: cfg.Sections(), Environ: []string{}}); err != nil {
		t.Fatal(err)
	}
	if cfg.Enricher.Containers != def.Enricher.Containers || cfg.Collector.Containers.Settle != def.Collector.Containers.Settle ||
		cfg.Collector.Containers.Keep != def.Collector.Containers.Keep || len(cfg.Collector.Containers.CRI) != len(def.Collector.Containers.CRI) {
		t.Errorf("the example says other defaults than the programs have")
	}
}

// TestNodeReadsItsOwnFacts: a node's credentials write and read its facts, and those of no other.
func TestNodeReadsItsOwnFacts(t *testing.T) {
	addr := natsOf(t)
	work := connect(t, addr, "work", "")
	if err := work.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	all, err := work.KV(t.Context(), bus.BucketFacts)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := all.Put(t.Context(), factv1.ContainersKey("web-2"), []byte("x")); err != nil {
		t.Fatal(err)
	}
	kv, err := connect(t, addr, "node", "_INBOX_web-1").KV(t.Context(), bus.BucketFacts)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{factv1.ContainersKey("web-1"), subject.FactContainer("web-1", "3f1c")} {
		if _, err := kv.Put(t.Context(), key, []byte("mine")); err != nil {
			t.Fatal(err)
		}
		if e, err := kv.Get(t.Context(), key); err != nil || string(e.Value) != "mine" {
			t.Errorf("%s: %v", key, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 700*time.Millisecond)
	defer cancel()
	if e, err := kv.Get(ctx, factv1.ContainersKey("web-2")); err == nil {
		t.Errorf("the node read another's facts: %q", e.Value)
	}
}
