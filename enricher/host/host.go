// Package host labels batches with facts of their node: kernel, distribution, architecture.
package host

import (
	"context"
	"log/slog"
	"sync"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/schemas/eventv1"
	"github.com/gyre-sec/gyre/schemas/factv1"
	"github.com/gyre-sec/gyre/schemas/field"
	"github.com/gyre-sec/gyre/schemas/subject"
)

// Stage is safe for concurrent use.
type Stage struct {
	b        *bus.Bus
	log      *slog.Logger
	maxNodes int

	mu    sync.RWMutex
	nodes map[string][]label // by the node's token in keys
}

// New returns a Stage that keeps the facts of at most maxNodes nodes.
func New(b *bus.Bus, maxNodes int, log *slog.Logger) *Stage {
	return &Stage{b: b, log: log, maxNodes: maxNodes, nodes: map[string][]label{}}
}

// Name is "host".
func (*Stage) Name() string { return "host" }

// Run watches the facts of all nodes.
func (s *Stage) Run(ctx context.Context) error {
	kv, err := s.b.KV(ctx, bus.BucketFacts)
	if err != nil {
		return err
	}
	return kv.Watch(ctx, "*.host", s.learn, nil)
}

func (s *Stage) learn(e bus.Entry) {
	node := e.Key[:len(e.Key)-len(".host")]
	h, err := factv1.DecodeHost(e.Value)
	if !e.Deleted && err != nil {
		s.log.Warn("facts of a node not understood", "key", e.Key, "err", err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.Deleted {
		delete(s.nodes, node)
		return
	}
	if _, known := s.nodes[node]; !known && len(s.nodes) >= s.maxNodes {
		for n := range s.nodes { // any one: it is learned again when it changes
			delete(s.nodes, n)
			break
		}
	}
	s.nodes[node] = labels(&h)
}

// Enrich adds the labels that the batch does not have.
func (s *Stage) Enrich(_ context.Context, b *eventv1.Batch) error {
	s.mu.RLock()
	known, ok := s.nodes[subject.Token(b.Node)]
	s.mu.RUnlock()
	if !ok {
		return nil
	}
	for _, l := range known {
		if _, have := b.Label(l.key); !have && l.value != "" {
			b.Labels = append(b.Labels, eventv1.Label{Key: b.AddString(l.key), Value: b.AddString(l.value)})
		}
	}
	return nil
}

type label struct{ key, value string }

// labels lists what is told of a node.
func labels(h *factv1.Host) []label {
	out := []label{{field.LabelKernel, h.Kernel}, {field.LabelOS, h.OSName}, {field.LabelArch, h.Machine}}
	if c := h.Cloud; c != nil {
		out = append(out, label{field.LabelCloud + "provider", c.Provider}, label{field.LabelCloud + "region", c.Region}, label{field.LabelCloud + "zone", c.Zone},
			label{field.LabelCloud + "instance_id", c.InstanceID}, label{field.LabelCloud + "instance_type", c.InstanceType}, label{field.LabelCloud + "account", c.Account})
	}
	for k, v := range h.Labels {
		out = append(out, label{field.LabelNode + k, v})
	}
	return out
}
