// Package kube adds what a Kubernetes cluster knows of pods and addresses: namespace,
// labels, owners up to the deployment, service account, services, and what changed of
// late in what a pod runs by.
//
// It watches the cluster through shared informers, and keeps of each object what is
// needed alone. While the cluster cannot be reached, what was known stays, and what is
// unknown leaves fields absent: a batch never waits. Changes go to the stream CHANGES
// as well, from which they come back after a restart, and reach all enrichers.
package kube

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/klog/v2"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/schemas/changev1"
	"github.com/gyre-sec/gyre/schemas/subject"
)

// Stage is safe for concurrent use. Make it with [New].
type Stage struct {
	cfg     Config
	b       *bus.Bus
	log     *slog.Logger
	m       *metrics
	cluster *cluster
	model   *model
	pub     *bus.Publisher
	watches []watching
	syncs   sync.WaitGroup
	begun   time.Time

	mu     sync.Mutex
	logged map[string]time.Time
}

// New returns the stage; the cluster need not be there yet.
func New(cfg Config, b *bus.Bus, log *slog.Logger, reg prometheus.Registerer) (*Stage, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	c, err := dial(cfg)
	if err != nil {
		return nil, err
	}
	s := &Stage{
		cfg: cfg, b: b, log: log, m: newMetrics(reg), cluster: c, model: newModel(cfg), logged: map[string]time.Time{},
		pub: b.NewPublisher(bus.PublisherConfig{Stage: "enricher-kube", MaxMessages: 256}),
	}
	s.watches = watches(cfg)
	for _, w := range s.watches {
		s.m.synced.WithLabelValues(w.name).Set(0)
	}
	s.syncs.Add(len(s.watches))
	return s, nil
}

// watching is a resource in a namespace, or in all.
type watching struct {
	resource
	namespace string
}

// watches lists what is to be watched.
func watches(c Config) []watching {
	var out []watching
	for _, r := range resources(c) {
		switch {
		case r.changes && c.Window == 0:
		case r.perSpace && len(c.Namespaces) > 0:
			for _, ns := range c.Namespaces {
				out = append(out, watching{r, ns})
			}
		default:
			out = append(out, watching{r, ""})
		}
	}
	return out
}

// Name is "kube".
func (*Stage) Name() string { return "kube" }

// Run watches the cluster until ctx ends.
func (s *Stage) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(klog.NewContext(ctx, logr.FromSlogHandler(s.log.Handler()))) // for client-go, which else writes to stderr
	defer stop()
	s.begun = time.Now()
	var wg sync.WaitGroup
	errs := make(chan error, 1)
	for _, w := range s.watches {
		wg.Go(func() {
			if err := s.run(ctx, w.resource, w.namespace); err != nil {
				select {
				case errs <- err:
				default:
				}
			}
		})
	}
	wg.Go(func() { s.recall(ctx) })
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			wg.Wait()
			return nil
		case err := <-errs:
			stop()
			wg.Wait()
			return err
		case now := <-tick.C:
			s.m.pods.Set(float64(s.model.tidy(now)))
		}
	}
}

// apply enters what the cluster tells; old is nil for a new object, r for a deleted one.
func (s *Stage) apply(ctx context.Context, r resource, old, now *record) {
	if old == nil && now == nil {
		return
	}
	t := time.Now()
	s.m.events.WithLabelValues(r.name).Inc()
	s.m.last.WithLabelValues(r.name).Set(float64(t.UnixMilli()) / 1000)
	c, changed := s.model.diff(s.cfg.Cluster, old, now, t)
	if now != nil {
		s.model.set(old, now)
		if created := now.CreationTimestamp.Time; r.kind == "Pod" && old == nil && created.After(s.begun) {
			s.m.lag.Observe(max(0, t.Sub(created).Seconds()))
		}
	} else {
		s.model.delete(old, t)
	}
	if changed && t.Sub(c.Time) <= s.cfg.Window {
		s.tell(ctx, c)
	}
}

// tell keeps a change and puts it into the stream.
func (s *Stage) tell(ctx context.Context, c changev1.Change) {
	s.m.changes.WithLabelValues(c.Kind).Inc()
	s.model.note(&c)
	data, err := c.Encode()
	if err == nil {
		err = s.pub.PublishAsync(ctx, bus.Message{Subject: subject.Change(c.Kind), ID: c.ID, Data: data}, func(err error) {
			if err != nil {
				s.m.lost.Inc()
			}
		})
	}
	if err != nil {
		s.m.lost.Inc()
		s.log.Warn("change was not stored", "err", err)
	}
}

// recall reads the changes that enrichers have found, those before this program's start included, until ctx ends.
func (s *Stage) recall(ctx context.Context) {
	if s.cfg.Window == 0 {
		return
	}
	for ctx.Err() == nil {
		err := s.b.Tail(ctx, bus.TailConfig{Stream: bus.StreamChanges, Since: time.Now().Add(-s.cfg.Window)}, func(m bus.Stored) error {
			c, err := changev1.Decode(m.Data)
			if err != nil || c.Cluster != s.cfg.Cluster {
				return nil // of another release or cluster
			}
			s.model.note(&c)
			return nil
		})
		if err != nil && ctx.Err() == nil {
			s.log.Warn("changes of the cluster are not read from the stream, it is tried again", "err", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(5 * time.Second):
		}
	}
}

// Synced waits until every resource has been read once, or ctx ends.
func (s *Stage) Synced(ctx context.Context) error {
	done := make(chan struct{})
	go func() { s.syncs.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("read the cluster: %w", ctx.Err())
	}
}
