package kube

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gyre-sec/gyre/schemas/changev1"
)

// model is the cluster as it is known. It is safe for concurrent use.
type model struct {
	linger time.Duration
	window time.Duration
	most   int // changes kept of one thing that they touch

	mu          sync.RWMutex
	pods        map[string]*record // by uid
	byContainer map[string]*record
	podByIP     map[netip.Addr]*record
	services    map[string]map[string]*record // by namespace and name
	serviceByIP map[netip.Addr]*record
	namespaces  map[string]*record
	byUID       map[string]*record            // what owns pods, or owns what does
	workloads   map[string]map[string]*record // by namespace and key
	bindings    map[string]*record            // by key
	gone        []gone                        // deleted pods, the first one first
	touched     map[string][]*changev1.Change // by what a change touches, the newest last
}

type gone struct {
	pod  *record
	when time.Time
}

func newModel(c Config) *model {
	return &model{
		linger: c.Linger, window: c.Window, most: c.MaxChanges,
		pods: map[string]*record{}, byContainer: map[string]*record{}, podByIP: map[netip.Addr]*record{},
		services: map[string]map[string]*record{}, serviceByIP: map[netip.Addr]*record{}, namespaces: map[string]*record{},
		byUID: map[string]*record{}, workloads: map[string]map[string]*record{}, bindings: map[string]*record{}, touched: map[string][]*changev1.Change{},
	}
}

// set enters an object, replacing old if there is one.
func (m *model) set(old, r *record) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if old != nil {
		m.remove(old)
	}
	switch r.kind {
	case "Pod":
		m.pods[string(r.UID)] = r
		for id := range r.pod.containers {
			m.byContainer[id] = r
		}
		if a, ok := r.address(); ok {
			m.podByIP[a] = r
		}
	case "Service":
		inner(m.services, r.Namespace)[r.Name] = r
		for _, a := range r.service.ips {
			m.serviceByIP[a] = r
		}
	case "Namespace":
		m.namespaces[r.Name] = r
	case "RoleBinding", "ClusterRoleBinding":
		m.bindings[r.key()] = r
	case "ReplicaSet", "ReplicationController":
		m.byUID[string(r.UID)] = r
	default:
		if r.work != nil {
			m.byUID[string(r.UID)] = r
			inner(m.workloads, r.Namespace)[r.key()] = r
		}
	}
}

func inner(m map[string]map[string]*record, key string) map[string]*record {
	if m[key] == nil {
		m[key] = map[string]*record{}
	}
	return m[key]
}

// delete forgets an object; a pod is remembered for a while.
func (m *model) delete(r *record, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r.kind == "Pod" && m.linger > 0 {
		m.gone = append(m.gone, gone{r, now.Add(m.linger)})
		return
	}
	m.remove(r)
}

// remove takes an object out of the indexes, unless another has taken its place there.
func (m *model) remove(r *record) {
	drop := func(set map[netip.Addr]*record, a netip.Addr) {
		if x := set[a]; x != nil && x.UID == r.UID {
			delete(set, a)
		}
	}
	switch r.kind {
	case "Pod":
		if m.pods[string(r.UID)] != nil {
			delete(m.pods, string(r.UID))
		}
		for id := range r.pod.containers {
			if x := m.byContainer[id]; x != nil && x.UID == r.UID {
				delete(m.byContainer, id)
			}
		}
		if a, ok := r.address(); ok {
			drop(m.podByIP, a)
		}
	case "Service":
		delete(m.services[r.Namespace], r.Name)
		for _, a := range r.service.ips {
			drop(m.serviceByIP, a)
		}
	case "Namespace":
		delete(m.namespaces, r.Name)
	case "RoleBinding", "ClusterRoleBinding":
		delete(m.bindings, r.key())
	default:
		delete(m.byUID, string(r.UID))
		if w := m.workloads[r.Namespace]; w != nil {
			delete(w, r.key())
		}
	}
}

// address is the pod's own, which one in the network of its node does not have.
func (r *record) address() (netip.Addr, bool) {
	if r.pod == nil || r.pod.hostNetwork {
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(r.pod.ip)
	return a.Unmap(), err == nil
}

// tidy forgets pods that are gone for long and changes out of the window. It returns how many pods are known.
func (m *model) tidy(now time.Time) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(m.gone) > 0 && m.gone[0].when.Before(now) {
		m.remove(m.gone[0].pod)
		m.gone = m.gone[1:]
	}
	for k, list := range m.touched {
		list = slices.DeleteFunc(list, func(c *changev1.Change) bool { return now.Sub(c.Time) > m.window })
		if m.touched[k] = list; len(list) == 0 {
			delete(m.touched, k)
		}
	}
	return len(m.pods)
}

// note keeps a change for what it touches.
func (m *model) note(c *changev1.Change) {
	if m.window <= 0 || m.most == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, k := range append([]string{c.Object()}, c.Touches...) {
		list := m.touched[k]
		if slices.ContainsFunc(list, func(x *changev1.Change) bool { return x.ID == c.ID }) {
			continue
		}
		list = append(list, c)
		slices.SortStableFunc(list, func(a, b *changev1.Change) int { return a.Time.Compare(b.Time) })
		if n := len(list) - m.most; n > 0 {
			list = slices.Delete(list, 0, n)
		}
		m.touched[k] = list
	}
}

// users are the workloads whose template names a ConfigMap or Secret, sorted.
func (m *model) users(namespace, config string) []string {
	m.mu.RLock()
	defer m.mu.RUnlock()
	var out []string
	for key, w := range m.workloads[namespace] {
		if slices.Contains(w.work.configs, config) {
			out = append(out, key)
		}
	}
	slices.Sort(out)
	return out
}

// bound are the service accounts that a role is bound to.
func (m *model) bound(role string) []string {
	m.mu.RLock()
	defer m.mu.RUnlock()
	set := map[string]bool{}
	for _, b := range m.bindings {
		if b.bind.role == role {
			for _, a := range b.bind.accounts {
				set[a] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(set))
}

// The methods below are called with the lock held.

// chain is the owners of a pod, the nearest first.
func (m *model) chain(p *record) []owner {
	var out []owner
	for r := p; len(out) < maxOwners; {
		o := r.owner()
		if o == nil {
			break
		}
		out = append(out, owner{o.Kind, o.Name, string(o.UID)})
		if r = m.byUID[string(o.UID)]; r == nil {
			break
		}
	}
	return out
}

type owner struct{ kind, name, uid string }

const maxOwners = 5

// selecting are the names of the services of a pod, sorted.
func (m *model) selecting(p *record) []string {
	var out []string
	for name, s := range m.services[p.Namespace] {
		if matches(s.service.selector, p.Labels) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

func matches(selector, labels map[string]string) bool {
	for k, v := range selector {
		if labels[k] != v {
			return false
		}
	}
	return len(selector) > 0
}

// recent are the changes that touch a pod of these owners at a time, the newest first.
func (m *model) recent(p *record, owners []owner, at time.Time) []*changev1.Change {
	if len(m.touched) == 0 {
		return nil
	}
	var out []*changev1.Change
	keys := []string{p.key(), accountKey(p.Namespace, p.pod.account), accountKey(p.Namespace, "*"), allAccounts}
	for _, o := range owners {
		keys = append(keys, objectKey(o.kind, p.Namespace, o.name))
	}
	for _, k := range keys {
		for _, c := range m.touched[k] {
			if d := at.Sub(c.Time); d > m.window || d < -clockSkew || slices.Contains(out, c) {
				continue
			}
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(a, b *changev1.Change) int {
		if n := b.Time.Compare(a.Time); n != 0 {
			return n
		}
		return strings.Compare(a.Object(), b.Object())
	})
	return out[:min(len(out), m.most)]
}

// clockSkew is how much later than a batch a change may seem to be.
const clockSkew = time.Minute
