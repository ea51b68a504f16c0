// Package cluster_test runs enricher, evaluator and sink as `gyre up` does, with a server
// that speaks the protocol of Kubernetes, a real NATS and a real ClickHouse.
package cluster_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/bus/bustest"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/enricher"
	"github.com/gyre-sec/gyre/enricher/intel"
	"github.com/gyre-sec/gyre/enricher/kube/kubetest"
	"github.com/gyre-sec/gyre/evaluator"
	"github.com/gyre-sec/gyre/schemas/eventv1"
	"github.com/gyre-sec/gyre/schemas/subject"
	"github.com/gyre-sec/gyre/sink"
	"github.com/gyre-sec/gyre/sink/clickhouse"
	"github.com/gyre-sec/gyre/sink/clickhouse/chtest"
	"github.com/gyre-sec/gyre/sink/clickhouse/embedded"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == embedded.ChildArg {
		os.Exit(embedded.ChildMain(os.Args[2:]))
	}
	os.Exit(m.Run())
}

type obj = map[string]any

const rules = `rules:
  - id: tls-of-web
    name: A web pod calls out
    condition: evt.type == "connect" && k8s.deployment.name == "web" && fd.sip.label.valueOf("zone") == "outside"
    output: "%k8s.pod.name calls %fd.sip.name"
    priority: notice
    fields: [intel.domain, k8s.ns.label]
`

// falcoRules use Falco's names of the same.
const falcoRules = `- rule: Falco sees the pod
  desc: d
  condition: evt.type = connect and k8s.pod.label[app] = web and fd.sip.name in (shop.evil.example) and k8smeta.deployment.name = web
  output: "pod=%k8s.pod.name"
  priority: NOTICE
`

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func run(t *testing.T, loops ...func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, len(loops))
	for _, l := range loops {
		go func() { done <- l(ctx) }()
	}
	t.Cleanup(func() {
		cancel()
		for range loops {
			if err := <-done; err != nil {
				t.Errorf("run: %v", err)
			}
		}
	})
}

func deployment(image string) obj {
	return obj{"metadata": obj{"name": "web", "namespace": "shop", "uid": "d1"}, "spec": obj{"selector": obj{}, "template": obj{"spec": obj{"containers": []obj{{"name": "web", "image": image}}}}}}
}

func TestContextReachesAlertsAndTables(t *testing.T) {
	k := kubetest.New(t)
	k.Put(t, "v1/namespaces", obj{"metadata": obj{"name": "shop", "labels": obj{"team": "blue"}}})
	k.Put(t, "apps/v1/deployments", deployment("web:1"))
	k.Put(t, "apps/v1/replicasets", obj{"metadata": obj{"name": "web-1", "namespace": "shop", "uid": "r1", "ownerReferences": []obj{{"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "d1", "controller": true}}}})
	k.Put(t, "v1/pods", obj{"metadata": obj{"name": "web-1-a", "namespace": "shop", "uid": "p1", "labels": obj{"app": "web"}, "ownerReferences": []obj{{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-1", "uid": "r1", "controller": true}}}, "spec": obj{"containers": []obj{}}})

	b := bustest.New(t)
	log := bustest.Log()
	ecfg := enricher.DefaultConfig()
	ecfg.Kube.Enabled, ecfg.Kube.Kubeconfig, ecfg.Kube.Cluster = true, k.Kubeconfig(t), "test"
	ecfg.Labels.Networks = write(t, "nets.csv", "network,zone\n8.0.0.0/8,outside\n")
	ecfg.Intel.Lists = []intel.List{{Name: "feed", File: write(t, "feed.txt", "evil.example\n")}}
	e, err := enricher.New(ecfg, b, log, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	vcfg := evaluator.DefaultConfig()
	vcfg.Builtin, vcfg.Dirs = false, []string{filepath.Dir(write(t, "r.yaml", rules)), filepath.Dir(write(t, "falco.yaml", falcoRules))}
	v, err := evaluator.New(vcfg, b, log, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	srv := chtest.Server(t, "")
	ccfg := clickhouse.DefaultConfig()
	ccfg.DSN = daemon.NewSecret(srv.DSN())
	store, err := clickhouse.Open(t.Context(), ccfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	s, err := sink.New(sink.DefaultConfig(), b, store, io.Discard, log, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	run(t, e.Run, v.Run, s.Run)

	pub := b.NewPublisher(bus.PublisherConfig{Stage: "test"})
	k.Put(t, "apps/v1/deployments", deployment("web:1"))
	var last string
	for end, seq := time.Now().Add(3*time.Minute), uint64(1); ; seq++ {
		if time.Now().After(end) {
			r, err := store.Query(t.Context(), "SELECT rule, event_seq, toString(fields) FROM alerts ORDER BY event_seq DESC LIMIT 6")
			t.Fatalf("not all of it came: %s\n%v %v", last, r, err)
		}
		if seq == 20 { // by now the watch has begun
			k.Put(t, "apps/v1/deployments", deployment("web:2"))
		}
		x := eventv1.NewBuilder()
		x.Reset(eventv1.Header{Node: "n1", BootID: "b", Source: "syscall"})
		c := x.AddContainer(eventv1.Container{ID: x.InternString(strings.Repeat("ab", 32)), PodUID: x.InternString("p1")})
		p := x.AddProc(eventv1.Proc{PID: 7, Parent: -1, Container: c, User: -1, LoginUser: -1, Comm: x.InternString("curl")})
		x.Add(&eventv1.Event{Kind: eventv1.Connect, Proc: p, Seq: seq, Time: time.Now().UnixNano(), Args: [16]int64{3, 2, 1, 6, int64(x.InternString("\x0a\x00\x00\x05")), 4000, int64(x.InternString("\x08\x08\x08\x08")), 443}})
		x.Name(func(addr string) string {
			if addr == "\x08\x08\x08\x08" {
				return "shop.evil.example"
			}
			return ""
		})
		if err := pub.Publish(t.Context(), bus.Message{Subject: subject.Event("syscall", "n1"), ID: fmt.Sprint(seq), Data: append([]byte(nil), x.Encode()...)}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(200 * time.Millisecond)
		r, err := store.Query(t.Context(), `SELECT toString(countIf(rule_id = 'tls-of-web' AND output = 'web-1-a calls shop.evil.example' AND fields['intel.domain'] = 'feed' AND fields['k8s.ns.label'] LIKE '%team=blue%'
			AND fields['k8s.changes'] LIKE '%image Deployment/shop/web image web:1 became web:2%') > 0), toString(countIf(rule = 'Falco sees the pod' AND output = 'pod=web-1-a') > 0),
			toString(assumeNotNull((SELECT count() FROM changes WHERE kind = 'image' AND cluster = 'test' AND name = 'web' AND new = 'web:2'))) FROM alerts`)
		if err != nil {
			last = err.Error()
			continue
		}
		if last = fmt.Sprint(r.Rows); last == "[[1 1 1]]" {
			return
		}
	}
}
