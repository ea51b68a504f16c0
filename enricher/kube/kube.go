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
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/klog/v2"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/schemas/changev1"
	"github.com/gyre-sec/gyre/schemas/eventv1"
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

type metrics struct {
	synced  *prometheus.GaugeVec
	last    *prometheus.GaugeVec
	errors  *prometheus.CounterVec
	events  *prometheus.CounterVec
	changes *prometheus.CounterVec
	lost    prometheus.Counter
	pods    prometheus.Gauge
	unknown prometheus.Counter
	lag     prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		synced:  prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "gyre_enricher_kube_synced", Help: "1 once all objects of a resource have been read."}, []string{"resource"}),
		last:    prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "gyre_enricher_kube_last_event_timestamp_seconds", Help: "When the cluster told of an object of a resource last."}, []string{"resource"}),
		errors:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "gyre_enricher_kube_watch_errors_total", Help: "Lists and watches of a resource that failed and are tried again."}, []string{"resource"}),
		events:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "gyre_enricher_kube_events_total", Help: "Objects that the cluster told of, by resource."}, []string{"resource"}),
		changes: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "gyre_enricher_kube_changes_total", Help: "Changes found in the cluster, by kind."}, []string{"kind"}),
		lost:    prometheus.NewCounter(prometheus.CounterOpts{Name: "gyre_enricher_kube_changes_lost_total", Help: "Changes that could not be stored in the stream."}),
		pods:    prometheus.NewGauge(prometheus.GaugeOpts{Name: "gyre_enricher_kube_pods", Help: "Pods that are known, those deleted of late included."}),
		unknown: prometheus.NewCounter(prometheus.CounterOpts{Name: "gyre_enricher_kube_unknown_pods_total", Help: "Containers in batches whose pod was not known."}),
		lag: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "gyre_enricher_kube_lag_seconds", Help: "Time from the creation of a pod to its being known here, to the second as the cluster tells it.", Buckets: []float64{.5, 1, 2, 5, 10, 30, 60, 300},
		}),
	}
	reg.MustRegister(m.synced, m.last, m.errors, m.events, m.changes, m.lost, m.pods, m.unknown, m.lag)
	return m
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

// Enrich adds what is known of the pods of containers, and of addresses.
func (s *Stage) Enrich(_ context.Context, b *eventv1.Batch) error {
	w := words{b: b, ids: map[string]eventv1.StrID{}}
	at := time.Unix(0, b.BaseTime)
	m := s.model
	m.mu.RLock()
	defer m.mu.RUnlock()
	if s.cfg.Cluster != "" {
		if _, ok := b.Label("cluster"); !ok {
			b.Labels = append(b.Labels, eventv1.Label{Key: w.id("cluster"), Value: w.id(s.cfg.Cluster)})
		}
	}
	done := map[string]bool{}
	for i := range b.Pods {
		done[b.Text(b.Pods[i].UID)] = true
	}
	for i := range b.Containers {
		c := &b.Containers[i]
		p := m.pods[b.Text(c.PodUID)]
		if p == nil {
			p = m.byContainer[b.Text(c.ID)]
		}
		if p == nil {
			if c.PodUID != 0 {
				s.m.unknown.Inc()
			}
			continue
		}
		owners := m.chain(p)
		services := m.selecting(p)
		w.container(c, p, owners, services)
		if !done[string(p.UID)] {
			done[string(p.UID)] = true
			b.Pods = append(b.Pods, w.pod(m, p, owners, services, at))
		}
	}
	for i := range b.Addresses {
		r := &b.Addresses[i]
		a, ok := netip.AddrFromSlice([]byte(b.Text(r.Addr)))
		if !ok {
			continue
		}
		a = a.Unmap()
		if svc := m.serviceByIP[a]; svc != nil && r.Service == 0 {
			r.Service = w.id(svc.Namespace + "/" + svc.Name)
		}
		if p := m.podByIP[a]; p != nil && r.Pod == 0 {
			r.Pod = w.id(p.Namespace + "/" + p.Name)
			if owners := m.chain(p); len(owners) > 0 {
				o := owners[len(owners)-1]
				r.Workload = w.id(objectKey(o.kind, p.Namespace, o.name))
			}
		}
	}
	return nil
}

// words adds strings to a batch, each once.
type words struct {
	b   *eventv1.Batch
	ids map[string]eventv1.StrID
}

func (w *words) id(s string) eventv1.StrID {
	if s == "" {
		return 0
	}
	id, ok := w.ids[s]
	if !ok {
		id = w.b.AddString(s)
		w.ids[s] = id
	}
	return id
}

func (w *words) labels(m map[string]string) []eventv1.Label {
	var out []eventv1.Label
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, eventv1.Label{Key: w.id(k), Value: w.id(m[k])})
	}
	return out
}

// container fills the columns of a container that nobody has filled.
func (w *words) container(c *eventv1.Container, p *record, owners []owner, services []string) {
	set := func(to *eventv1.StrID, s string) {
		if *to == 0 {
			*to = w.id(s)
		}
	}
	if w.b.Text(c.PodUID) != string(p.UID) { // the control group of a static pod has another uid than the pod has in the cluster
		c.PodUID = w.id(string(p.UID))
	}
	set(&c.PodName, p.Name)
	set(&c.PodNamespace, p.Namespace)
	if len(owners) > 0 {
		set(&c.Workload, owners[len(owners)-1].name)
		set(&c.WorkloadKind, owners[len(owners)-1].kind)
	}
	if len(services) > 0 {
		set(&c.Service, services[0])
	}
	if f, ok := p.pod.containers[w.b.Text(c.ID)]; ok {
		set(&c.Name, f.name)
		if c.Image == 0 {
			repo, tag, digest := splitImage(f.image)
			set(&c.Image, f.image)
			set(&c.ImageRepo, repo)
			set(&c.ImageTag, tag)
			set(&c.ImageDigest, digest)
		}
	}
}

func (w *words) pod(m *model, p *record, owners []owner, services []string, at time.Time) eventv1.Pod {
	out := eventv1.Pod{
		UID: w.id(string(p.UID)), Namespace: w.id(p.Namespace), Name: w.id(p.Name), Node: w.id(p.pod.node), IP: w.id(p.pod.ip), ServiceAccount: w.id(p.pod.account),
		Labels: w.labels(p.Labels),
	}
	if ns := m.namespaces[p.Namespace]; ns != nil {
		out.NamespaceUID, out.NamespaceLabels = w.id(string(ns.UID)), w.labels(ns.Labels)
	}
	for _, o := range owners {
		out.Owners = append(out.Owners, eventv1.Owner{Kind: w.id(o.kind), Name: w.id(o.name), UID: w.id(o.uid)})
	}
	for _, s := range services {
		out.Services = append(out.Services, w.id(s))
	}
	for _, c := range m.recent(p, owners, at) {
		out.Changes = append(out.Changes, eventv1.Change{Time: c.Time.UnixNano(), Kind: w.id(c.Kind), Object: w.id(c.Object()), What: w.id(c.What)})
	}
	return out
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
