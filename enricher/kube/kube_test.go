package kube

import (
	"context"
	"maps"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/bus/bustest"
	"github.com/gyre-sec/gyre/enricher/kube/kubetest"
	"github.com/gyre-sec/gyre/schemas/changev1"
	"github.com/gyre-sec/gyre/schemas/eventv1"
	"github.com/gyre-sec/gyre/schemas/field"
)

type obj = map[string]any

func meta(namespace, name, uid string, more obj) obj {
	m := obj{"name": name, "uid": uid}
	if namespace != "" {
		m["namespace"] = namespace
	}
	maps.Copy(m, more)
	return m
}

func ownedBy(kind, name, uid string) obj {
	return obj{"ownerReferences": []obj{{"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": uid, "controller": true}}}
}

func deployment(image string, replicas int) obj {
	return obj{"metadata": meta("shop", "web", "d1", obj{"generation": 1}), "spec": obj{"replicas": replicas, "selector": obj{}, "template": obj{
		"metadata": obj{"labels": obj{"app": "web"}},
		"spec": obj{
			"serviceAccountName": "robot", "containers": []obj{{"name": "web", "image": image, "envFrom": []obj{{"configMapRef": obj{"name": "settings"}}}}},
			"volumes": []obj{{"name": "s", "secret": obj{"secretName": "key"}}},
		},
	}}}
}

func pod(name, uid, ip string) obj {
	m := meta("shop", name, uid, ownedBy("ReplicaSet", "web-5d", "r1"))
	m["labels"] = obj{"app": "web", "tier": "front"}
	return obj{"metadata": m, "spec": obj{"nodeName": "n7", "serviceAccountName": "robot", "containers": []obj{{"name": "web", "image": "registry:5000/shop/web:2"}}}, "status": obj{
		"podIP": ip, "containerStatuses": []obj{{"name": "web", "image": "registry:5000/shop/web:2", "imageID": "", "containerID": "containerd://" + ctrID, "ready": true, "restartCount": 0}},
	}}
}

const ctrID = "3f1c9a7be0d24c55a1f0b7d3c526a1e4f0e9d531c2f3a4b5c6d7e8f901234567"

// shop is a cluster with one deployment.
func shop(t *testing.T, s *kubetest.Server) {
	t.Helper()
	s.Put(t, "v1/namespaces", obj{"metadata": meta("", "shop", "ns1", obj{"labels": obj{"team": "blue"}})})
	s.Put(t, "apps/v1/deployments", deployment("web:1", 2))
	s.Put(t, "apps/v1/replicasets", obj{"metadata": meta("shop", "web-5d", "r1", ownedBy("Deployment", "web", "d1"))})
	s.Put(t, "v1/pods", pod("web-5d-abc", "p1", "10.0.0.5"))
	s.Put(t, "v1/services", obj{"metadata": meta("shop", "front", "s1", nil), "spec": obj{"clusterIP": "8.8.8.8", "selector": obj{"app": "web"}}})
	s.Put(t, "v1/services", obj{"metadata": meta("shop", "other", "s2", nil), "spec": obj{"clusterIP": "None", "selector": obj{"app": "db"}}})
	s.Put(t, "v1/configmaps", obj{"metadata": meta("shop", "settings", "c1", nil)})
	s.Put(t, "rbac.authorization.k8s.io/v1/clusterroles", obj{"metadata": meta("", "admin", "cr1", nil)})
	s.Put(t, "rbac.authorization.k8s.io/v1/rolebindings", obj{
		"metadata": meta("shop", "robots", "rb1", nil), "roleRef": obj{"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin"},
		"subjects": []obj{{"kind": "ServiceAccount", "namespace": "shop", "name": "robot"}, {"kind": "User", "name": "ada"}},
	})
}

func start(t *testing.T, s *kubetest.Server, b *bus.Bus, edit func(*Config)) *Stage {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Enabled, cfg.Kubeconfig, cfg.Cluster = true, s.Kubeconfig(t), "test"
	if edit != nil {
		edit(&cfg)
	}
	x, err := New(cfg, b, bustest.Log(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- x.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	return x
}

// batch has a connection of a process in the container from 10.0.0.5 to 8.8.8.8.
func batch(t testing.TB, uid string) *eventv1.Batch {
	t.Helper()
	x := eventv1.NewBuilder()
	x.Reset(eventv1.Header{Node: "n7", BootID: "b", Source: "syscall"})
	c := x.AddContainer(eventv1.Container{ID: x.InternString(ctrID), Runtime: x.InternString("containerd"), PodUID: x.InternString(uid)})
	p := x.AddProc(eventv1.Proc{PID: 7, Parent: -1, Container: c, User: -1, LoginUser: -1})
	x.Add(&eventv1.Event{Kind: eventv1.Connect, Proc: p, Seq: 1, Time: time.Now().UnixNano(), Args: [16]int64{3, 2, 1, 6, int64(x.InternString("\x0a\x00\x00\x05")), 4000, int64(x.InternString("\x08\x08\x08\x08")), 443}})
	b := &eventv1.Batch{}
	if err := eventv1.NewDecoder().Decode(append([]byte(nil), x.Encode()...), b); err != nil {
		t.Fatal(err)
	}
	return b
}

// read enriches a batch, sends it over the wire and reads fields of its event.
func read(t testing.TB, s *Stage, uid string, names ...string) map[string]any {
	t.Helper()
	b := batch(t, uid)
	if err := s.Enrich(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	var out eventv1.Batch
	if err := eventv1.NewDecoder().Decode(append([]byte(nil), eventv1.NewEncoder().Encode(b)...), &out); err != nil {
		t.Fatal(err)
	}
	r, v, e := eventv1.NewReader(), field.NewView(), eventv1.Event{}
	r.Reset(&out)
	v.Batch(&out)
	r.Next(&e)
	v.Event(&e)
	got := map[string]any{}
	for _, n := range names {
		f, ok := field.Lookup(n)
		if !ok {
			t.Fatalf("no field %s", n)
		}
		if x := f.Value(v); x != nil {
			got[n] = x
		}
	}
	return got
}

// until waits for the fields to have these values.
func until(t *testing.T, s *Stage, uid string, want map[string]any) {
	t.Helper()
	names := make([]string, 0, len(want))
	for n, v := range want {
		if names = append(names, n); v == nil {
			delete(want, n)
		}
	}
	for end := time.Now().Add(90 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		got := read(t, s, uid, names...)
		if cmp.Equal(want, got) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("(-want +got)\n%s", cmp.Diff(want, got))
		}
	}
}

func TestPodsAndServices(t *testing.T) {
	srv := kubetest.New(t)
	shop(t, srv)
	s := start(t, srv, bustest.New(t), nil)
	until(t, s, "p1", map[string]any{
		"k8s.pod.name": "web-5d-abc", "k8s.ns.name": "shop", "k8s.pod.uid": "p1", "k8s.pod.ip": "10.0.0.5", "k8s.node.name": "n7", "k8s.pod.service_account": "robot", "k8s.ns.uid": "ns1",
		"k8s.workload.kind": "Deployment", "k8s.workload.name": "web", "k8s.deployment.name": "web", "k8s.deployment.uid": "d1", "k8s.rs.name": "web-5d",
		"k8s.pod.label": []string{"app=web", "tier=front"}, "k8s.pod.labels": "app:web, tier:front", "k8s.ns.label": []string{"team=blue"}, "k8s.svc.name": []string{"front"},
		"container.name": "web", "container.image": "registry:5000/shop/web:2", "container.image.repository": "registry:5000/shop/web", "container.image.tag": "2", "node.label": []string{"cluster=test"},
		"fd.sip.service": "shop/front", "fd.cip.pod": "shop/web-5d-abc", "fd.cip.workload": "Deployment/shop/web", "fd.sip.pod": nil,
	})
	until(t, s, "", map[string]any{"k8s.pod.name": "web-5d-abc"})                        // by the id of the container alone
	until(t, s, "nobody", map[string]any{"k8s.pod.ip": "10.0.0.5", "k8s.pod.uid": "p1"}) // as for a static pod
	if err := s.Synced(t.Context()); err != nil {
		t.Fatal(err)
	}
	// A deleted pod is known for a while, a new one with its address counts at once.
	srv.Delete(t, "v1/pods", "shop", "web-5d-abc")
	srv.Put(t, "v1/pods", pod("web-5d-new", "p2", "10.0.0.5"))
	until(t, s, "p2", map[string]any{"k8s.pod.name": "web-5d-new", "fd.cip.pod": "shop/web-5d-new"})
	until(t, s, "p1", map[string]any{"k8s.pod.name": "web-5d-abc"})
	s.model.tidy(time.Now().Add(time.Hour))
	if got := read(t, s, "p2", "k8s.pod.name", "fd.cip.pod"); len(got) != 2 {
		t.Errorf("the new pod went with the old one: %v", got)
	}
}

// TestChanges makes changes of every kind and finds them at the pod and in the stream.
func TestChanges(t *testing.T) {
	srv := kubetest.New(t)
	shop(t, srv)
	b := bustest.New(t)
	s := start(t, srv, b, func(c *Config) { c.Secrets, c.MaxChanges = true, 20 })
	if err := s.Synced(t.Context()); err != nil {
		t.Fatal(err)
	}
	srv.Put(t, "apps/v1/deployments", deployment("web:2", 2))
	srv.Put(t, "apps/v1/deployments", deployment("web:2", 5))
	again := deployment("web:2", 5)
	again["spec"].(obj)["template"].(obj)["metadata"] = obj{"labels": obj{"app": "web"}, "annotations": obj{"restarted": "now"}}
	srv.Put(t, "apps/v1/deployments", again)
	srv.Put(t, "v1/configmaps", obj{"metadata": meta("shop", "settings", "c1", nil), "data": obj{"a": "b"}})
	srv.Put(t, "v1/secrets", obj{"metadata": meta("shop", "key", "k1", nil)})
	srv.Put(t, "rbac.authorization.k8s.io/v1/clusterroles", obj{"metadata": meta("", "admin", "cr1", nil), "rules": []obj{{"verbs": []string{"*"}}}})
	srv.Put(t, "rbac.authorization.k8s.io/v1/clusterrolebindings", obj{
		"metadata": meta("", "all", "crb1", nil), "roleRef": obj{"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "root"},
		"subjects": []obj{{"kind": "Group", "name": "system:serviceaccounts:shop"}},
	})
	want := []string{
		"image Deployment/shop/web image web:1 became web:2", "scale Deployment/shop/web replicas went from 2 to 5", "rollout Deployment/shop/web the pod template was changed",
		"config ConfigMap/shop/settings ConfigMap was changed", "config Secret/shop/key Secret was created", "rbac ClusterRole/admin ClusterRole was changed",
		"rbac ClusterRoleBinding/all ClusterRoleBinding was created, it binds ClusterRole/root", "created Deployment/shop/web Deployment was created",
	}
	missing := func() (out []string) {
		got, _ := read(t, s, "p1", "k8s.changes")["k8s.changes"].([]string)
		for _, w := range want {
			found := false
			for _, g := range got {
				found = found || strings.HasSuffix(g, "Z "+w)
			}
			if !found {
				out = append(out, w)
			}
		}
		return out
	}
	for end := time.Now().Add(90 * time.Second); len(missing()) > 0; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("missing %q\nof %q", missing(), read(t, s, "p1", "k8s.changes"))
		}
	}
	srv.Delete(t, "apps/v1/deployments", "shop", "web")
	got := map[string]bool{}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_ = b.Tail(ctx, bus.TailConfig{Stream: bus.StreamChanges, Seq: 1}, func(m bus.Stored) error {
		c, err := changev1.Decode(m.Data)
		if err != nil || c.Cluster != "test" || m.ID != c.ID {
			t.Errorf("%v %+v", err, c)
		}
		if got[c.Kind] = true; len(got) == 7 {
			cancel()
		}
		return nil
	})
	for _, k := range []string{kindCreated, kindDeleted, kindImage, kindScale, kindRollout, kindConfig, kindRBAC} {
		if !got[k] {
			t.Errorf("no %s in the stream", k)
		}
	}
	// Another program knows them from the stream.
	other := start(t, srv, b, func(c *Config) { c.MaxChanges = 20 })
	for end := time.Now().Add(90 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		list, _ := read(t, other, "p1", "k8s.changes.kind")["k8s.changes.kind"].([]string)
		if strings.Contains(strings.Join(list, " "), kindImage) {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("after a restart only %q are known", list)
		}
	}
}

// TestTrouble cuts watches, forgets versions and refuses resources; what was known stays, and what is new comes.
func TestTrouble(t *testing.T) {
	srv := kubetest.New(t)
	shop(t, srv)
	srv.Forbid("v1/namespaces", true)
	s := start(t, srv, bustest.New(t), nil)
	until(t, s, "p1", map[string]any{"k8s.pod.name": "web-5d-abc", "k8s.ns.label": nil})
	srv.Cut(false)
	srv.Put(t, "v1/pods", pod("cut", "p3", "10.0.0.7"))
	until(t, s, "p3", map[string]any{"k8s.pod.name": "cut"})
	srv.Delete(t, "v1/pods", "shop", "cut")
	srv.Put(t, "v1/pods", pod("forgotten", "p4", "10.0.0.8"))
	srv.Cut(true)
	until(t, s, "p4", map[string]any{"k8s.pod.name": "forgotten"})
	srv.Forbid("v1/namespaces", false)
	until(t, s, "p1", map[string]any{"k8s.ns.label": []string{"team=blue"}})
	if testutil.ToFloat64(s.m.errors.WithLabelValues("namespaces")) == 0 {
		t.Error("what was refused is not counted")
	}
	if err := s.Synced(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestConfig(t *testing.T) {
	c := DefaultConfig()
	c.Enabled, c.Window, c.MaxChanges, c.Linger, c.Kubeconfig = true, -1, -1, -1, "/no/such/file"
	err := c.Validate()
	for _, want := range []string{"changes_window", "max_changes", "linger", "/no/such/file"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %s", err, want)
		}
	}
	c = DefaultConfig()
	c.Enabled = true
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	if _, err := New(c, nil, bustest.Log(), prometheus.NewRegistry()); err == nil || !strings.Contains(err.Error(), "not run in a cluster") {
		t.Errorf("got %v", err)
	}
}

func TestSplitImage(t *testing.T) {
	for in, want := range map[string][3]string{
		"nginx": {"nginx", "", ""}, "nginx:1": {"nginx", "1", ""}, "r:5000/a/b": {"r:5000/a/b", "", ""}, "r:5000/a/b:2@sha256:77": {"r:5000/a/b", "2", "sha256:77"}, "": {},
	} {
		repo, tag, digest := splitImage(in)
		if got := [3]string{repo, tag, digest}; got != want {
			t.Errorf("%s: %v, want %v", in, got, want)
		}
	}
}

func TestSelectorsAndSubjects(t *testing.T) {
	if matches(nil, map[string]string{"a": "b"}) || !matches(map[string]string{"a": "b"}, map[string]string{"a": "b", "c": "d"}) || matches(map[string]string{"a": "b"}, nil) {
		t.Error("selectors")
	}
	if _, ok := (&record{kind: "Pod", pod: &podFacts{ip: "10.0.0.1", hostNetwork: true}}).address(); ok {
		t.Error("a pod in the network of its node has no address of its own")
	}
	if a, ok := (&record{kind: "Pod", pod: &podFacts{ip: "10.0.0.1"}}).address(); !ok || a != netip.MustParseAddr("10.0.0.1") {
		t.Error("address of a pod")
	}
}
