package kube

import (
	"flag"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/gyre-sec/gyre/bus/bustest"
	"github.com/gyre-sec/gyre/enricher/kube/kubetest"
)

var (
	scalePods = flag.Int("scale.pods", 300, "pods of the cluster that TestScale watches")
	scaleRate = flag.Int("scale.rate", 50, "pods that are replaced each second")
	scaleTime = flag.Duration("scale.time", 2*time.Second, "how long pods are replaced")
)

func scalePod(n int) obj {
	var containers, statuses []obj
	for _, c := range []string{"app", "proxy"} {
		containers = append(containers, obj{"name": c, "image": "registry.example.org/team/" + c + ":1.2.3", "env": []obj{{"name": "A", "value": "some value that is not kept"}}, "resources": obj{"requests": obj{"cpu": "100m", "memory": "128Mi"}}})
		statuses = append(statuses, obj{"name": c, "image": "registry.example.org/team/" + c + ":1.2.3", "imageID": "x", "containerID": fmt.Sprintf("containerd://%064x%s", n, c), "ready": true, "restartCount": 0})
	}
	d := n % 250
	m := meta("team", fmt.Sprintf("app-%d-%08x", d, n), fmt.Sprintf("uid-pod-%d", n), ownedBy("ReplicaSet", fmt.Sprintf("app-%d-rs", d), fmt.Sprintf("rs-%d", d)))
	m["labels"] = obj{"app": fmt.Sprintf("app-%d", d), "pod-template-hash": "5d8f9c7b6", "team": "blue", "version": "1.2.3"}
	m["annotations"] = obj{"note": "annotations are not kept; this one is here so that there is something to leave out"}
	m["creationTimestamp"] = time.Now().UTC().Format(time.RFC3339)
	return obj{
		"metadata": m, "spec": obj{"nodeName": fmt.Sprintf("node-%d", n%100), "serviceAccountName": "default", "containers": containers},
		"status": obj{"podIP": fmt.Sprintf("10.%d.%d.%d", n>>16&255, n>>8&255, n&255), "containerStatuses": statuses},
	}
}

// TestScale measures a cluster whose pods are replaced all the time: memory, how long a new pod takes to be known, and what a batch costs meanwhile.
//
//	go test ./enricher/kube -run TestScale -scale.pods 5000 -scale.rate 50 -scale.time 40s -v
func TestScale(t *testing.T) {
	srv := kubetest.New(t)
	srv.Put(t, "v1/namespaces", obj{"metadata": meta("", "team", "ns", nil)})
	for d := range 250 {
		uid := fmt.Sprintf("d-%d", d)
		srv.Put(t, "apps/v1/deployments", obj{"metadata": meta("team", fmt.Sprintf("app-%d", d), uid, nil), "spec": obj{"selector": obj{}, "template": obj{"spec": obj{"containers": []obj{{"name": "app", "image": "a:1"}}}}}})
		srv.Put(t, "apps/v1/replicasets", obj{"metadata": meta("team", fmt.Sprintf("app-%d-rs", d), fmt.Sprintf("rs-%d", d), ownedBy("Deployment", fmt.Sprintf("app-%d", d), uid))})
		srv.Put(t, "v1/services", obj{"metadata": meta("team", fmt.Sprintf("svc-%d", d), "s"+uid, nil), "spec": obj{"clusterIP": fmt.Sprintf("172.16.%d.%d", d>>8, d&255), "selector": obj{"app": fmt.Sprintf("app-%d", d)}}})
	}
	for n := range *scalePods {
		srv.Put(t, "v1/pods", scalePod(n))
	}
	b := bustest.New(t)
	before := heap()
	begun := time.Now()
	s := start(t, srv, b, nil)
	if err := s.Synced(t.Context()); err != nil {
		t.Fatal(err)
	}
	synced := time.Since(begun)
	t.Logf("%d pods, 250 deployments and services read in %s; the heap grew by %.1f MiB, server's garbage not counted", *scalePods, synced.Round(time.Millisecond), float64(heap()-before)/(1<<20))
	pods := func() int { s.model.mu.RLock(); defer s.model.mu.RUnlock(); return len(s.model.pods) }
	if got := pods(); got != *scalePods {
		t.Fatalf("%d pods are known", got)
	}
	known := func(uid string) bool { s.model.mu.RLock(); defer s.model.mu.RUnlock(); return s.model.pods[uid] != nil }
	var lags []time.Duration
	var batches int
	var spent time.Duration
	every := time.Second / time.Duration(*scaleRate)
	next, end := *scalePods, time.Now().Add(*scaleTime)
	for tick := time.Now(); time.Now().Before(end); tick = tick.Add(every) {
		time.Sleep(time.Until(tick))
		old := next - *scalePods
		srv.Delete(t, "v1/pods", "team", fmt.Sprintf("app-%d-%08x", old%250, old))
		put := time.Now()
		srv.Put(t, "v1/pods", scalePod(next))
		for uid := fmt.Sprintf("uid-pod-%d", next); !known(uid); {
			if time.Since(put) > 30*time.Second {
				t.Fatalf("pod %s is not known after 30 s", uid)
			}
			time.Sleep(100 * time.Microsecond)
		}
		lags = append(lags, time.Since(put))
		x := batch(t, fmt.Sprintf("uid-pod-%d", next))
		at := time.Now()
		if err := s.Enrich(t.Context(), x); err != nil {
			t.Fatal(err)
		}
		spent += time.Since(at)
		batches++
		if len(x.Pods) != 1 {
			t.Fatal("the new pod is not in the batch")
		}
		next++
	}
	slices.Sort(lags)
	at := func(p float64) time.Duration { return lags[int(float64(len(lags)-1)*p)].Round(10 * time.Microsecond) }
	t.Logf("%d pods replaced, %.0f a second: a new one is known after p50 %s, p99 %s, at most %s; a batch with it took %s", len(lags), float64(len(lags))/scaleTime.Seconds(), at(.5), at(.99), at(1), (spent / time.Duration(batches)).Round(time.Microsecond))
	t.Logf("%d pods are known, the deleted of the last %s included; the heap has grown by %.1f MiB, with what the server of the test remembers", pods(), s.cfg.Linger, float64(heap()-before)/(1<<20))
	for end := time.Now().Add(s.cfg.Linger); ; { // as if the time had passed
		if s.model.tidy(end.Add(time.Second)) == *scalePods {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d pods stay", pods())
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
