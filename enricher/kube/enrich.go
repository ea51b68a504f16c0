package kube

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/gyre-sec/gyre/schemas/eventv1"
)

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
