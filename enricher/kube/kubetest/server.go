// Package kubetest is a server that speaks enough of the Kubernetes API for clients that
// list and watch: JSON over HTTP, resource versions, streamed lists, bookmarks, metadata
// alone, versions that are gone, and refusals. It stores what tests put there.
package kubetest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Kinds of the resources that are served, by group and version and name.
var kinds = map[string]string{
	"v1/namespaces": "Namespace", "v1/services": "Service", "v1/pods": "Pod", "v1/configmaps": "ConfigMap", "v1/secrets": "Secret", "v1/replicationcontrollers": "ReplicationController",
	"apps/v1/replicasets": "ReplicaSet", "apps/v1/deployments": "Deployment", "apps/v1/statefulsets": "StatefulSet", "apps/v1/daemonsets": "DaemonSet",
	"batch/v1/jobs": "Job", "batch/v1/cronjobs": "CronJob",
	"rbac.authorization.k8s.io/v1/roles": "Role", "rbac.authorization.k8s.io/v1/rolebindings": "RoleBinding",
	"rbac.authorization.k8s.io/v1/clusterroles": "ClusterRole", "rbac.authorization.k8s.io/v1/clusterrolebindings": "ClusterRoleBinding",
}

// Server is the API server; make one with [New].
type Server struct {
	HTTP *httptest.Server

	mu        sync.Mutex
	changed   *sync.Cond
	version   int64
	resources map[string]*resource
	forbidden map[string]bool
	cut       int // watches that began before this generation end
	closed    bool
	requests  map[string]int
}

type resource struct {
	objects map[string]*object
	log     []event
	oldest  int64 // events up to this version are forgotten
}

type object struct {
	name, namespace string
	version         int64
	data, meta      json.RawMessage
}

type event struct {
	typ     string
	version int64
	obj     *object
}

// New starts a server that ends with the test.
func New(t testing.TB) *Server {
	t.Helper()
	s := &Server{version: 1000, resources: map[string]*resource{}, forbidden: map[string]bool{}, requests: map[string]int{}}
	s.changed = sync.NewCond(&s.mu)
	for k := range kinds {
		s.resources[k] = &resource{objects: map[string]*object{}}
	}
	s.HTTP = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(func() {
		s.mu.Lock()
		s.closed = true
		s.changed.Broadcast()
		s.mu.Unlock()
		s.HTTP.CloseClientConnections()
		s.HTTP.Close()
	})
	return s
}

// Kubeconfig writes a file that says where the server is.
func (s *Server) Kubeconfig(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	text := "apiVersion: v1\nkind: Config\ncurrent-context: test\nclusters:\n- name: test\n  cluster: {server: \"" + s.HTTP.URL + "\"}\n" +
		"users:\n- name: test\n  user: {token: test}\ncontexts:\n- name: test\n  context: {cluster: test, user: test}\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Put stores an object, which is anything that JSON makes one of, under a resource such as "apps/v1/deployments".
func (s *Server) Put(t testing.TB, res string, obj any) {
	t.Helper()
	raw, err := json.Marshal(obj)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatal(err)
	}
	meta, _ := m["metadata"].(map[string]any)
	name, _ := meta["name"].(string)
	namespace, _ := meta["namespace"].(string)
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.resources[res]
	if r == nil {
		t.Fatalf("no resource %s", res)
	}
	s.version++
	if at, _ := meta["creationTimestamp"].(string); at == "" {
		meta["creationTimestamp"] = time.Now().UTC().Format(time.RFC3339)
	}
	if _, ok := meta["uid"]; !ok {
		meta["uid"] = "uid-" + res + "-" + namespace + "-" + name
	}
	meta["resourceVersion"] = strconv.FormatInt(s.version, 10)
	i := strings.LastIndexByte(res, '/')
	m["apiVersion"], m["kind"] = res[:i], kinds[res]
	o := &object{name: name, namespace: namespace, version: s.version}
	if o.data, err = json.Marshal(m); err != nil {
		t.Fatal(err)
	}
	if o.meta, err = json.Marshal(map[string]any{"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": meta}); err != nil {
		t.Fatal(err)
	}
	typ := "ADDED"
	if r.objects[namespace+"/"+name] != nil {
		typ = "MODIFIED"
	}
	r.objects[namespace+"/"+name] = o
	s.append(r, event{typ, s.version, o})
}

// Delete deletes an object.
func (s *Server) Delete(t testing.TB, res, namespace, name string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.resources[res]
	o := r.objects[namespace+"/"+name]
	if o == nil {
		t.Fatalf("no %s %s/%s", res, namespace, name)
	}
	delete(r.objects, namespace+"/"+name)
	s.version++
	s.append(r, event{"DELETED", s.version, o})
}

// kept is how many events a resource remembers.
const kept = 20_000

func (s *Server) append(r *resource, e event) {
	if r.log = append(r.log, e); len(r.log) > 2*kept {
		r.oldest = r.log[kept-1].version
		r.log = append([]event(nil), r.log[kept:]...)
	}
	s.changed.Broadcast()
}

// Forbid refuses a resource from now on, or no longer.
func (s *Server) Forbid(res string, on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forbidden[res] = on
}

// Cut ends all watches; with forget their clients cannot go on from where they were.
func (s *Server) Cut(forget bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut++
	if forget {
		for _, r := range s.resources {
			r.log, r.oldest = nil, s.version
		}
		s.version++
	}
	s.changed.Broadcast()
}

// Requests is how often a resource was listed or watched.
func (s *Server) Requests(res string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests[res]
}

func (s *Server) serve(w http.ResponseWriter, req *http.Request) {
	path := strings.TrimPrefix(strings.TrimPrefix(req.URL.Path, "/apis/"), "/api/")
	namespace := ""
	if before, rest, ok := strings.Cut(path, "/namespaces/"); ok {
		if ns, name, ok := strings.Cut(rest, "/"); ok {
			namespace, path = ns, before+"/"+name
		}
	}
	s.mu.Lock()
	r, forbidden := s.resources[path], s.forbidden[path]
	s.requests[path]++
	s.mu.Unlock()
	switch {
	case r == nil:
		status(w, http.StatusNotFound, "NotFound", "no resource "+path)
	case forbidden:
		status(w, http.StatusForbidden, "Forbidden", path+" is forbidden")
	case req.URL.Query().Get("watch") == "true" || req.URL.Query().Get("watch") == "1":
		s.watch(w, req, r, namespace)
	default:
		s.list(w, req, path, r, namespace)
	}
}

func status(w http.ResponseWriter, code int, reason, msg string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(statusOf(code, reason, msg))
}

func statusOf(code int, reason, msg string) map[string]any {
	return map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": msg, "code": code}
}

func metaOnly(req *http.Request) bool {
	return strings.Contains(req.Header.Get("Accept"), "as=PartialObjectMetadata")
}

func (o *object) json(meta bool) json.RawMessage {
	if meta {
		return o.meta
	}
	return o.data
}

func (s *Server) list(w http.ResponseWriter, req *http.Request, path string, r *resource, namespace string) {
	meta := metaOnly(req)
	s.mu.Lock()
	items := make([]json.RawMessage, 0, len(r.objects))
	for _, o := range r.objects {
		if namespace == "" || o.namespace == namespace {
			items = append(items, o.json(meta))
		}
	}
	version := s.version
	s.mu.Unlock()
	i := strings.LastIndexByte(path, '/')
	kind, api := kinds[path]+"List", path[:i]
	if meta {
		kind, api = "PartialObjectMetadataList", "meta.k8s.io/v1"
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"kind": kind, "apiVersion": api, "metadata": map[string]any{"resourceVersion": strconv.FormatInt(version, 10)}, "items": items})
}

// bookmarkEvery is how often an idle watch is told of the version.
const bookmarkEvery = 500 * time.Millisecond

// watch streams events from a version on. With sendInitialEvents it first streams what is there, and ends that with a bookmark.
func (s *Server) watch(w http.ResponseWriter, req *http.Request, r *resource, namespace string) {
	q := req.URL.Query()
	flush, ok := w.(http.Flusher)
	if !ok {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	enc := json.NewEncoder(w)
	meta := metaOnly(req)
	send := func(typ string, obj any) bool { return enc.Encode(map[string]any{"type": typ, "object": obj}) == nil }
	mark := func(version int64, end bool) bool {
		m := map[string]any{"resourceVersion": strconv.FormatInt(version, 10)}
		if end {
			m["annotations"] = map[string]string{"k8s.io/initial-events-end": "true"}
		}
		kind, api := "PartialObjectMetadata", "meta.k8s.io/v1"
		if !meta {
			path := strings.TrimPrefix(strings.TrimPrefix(req.URL.Path, "/apis/"), "/api/")
			name := path[strings.LastIndexByte(path, '/')+1:]
			for k, v := range kinds {
				if strings.HasSuffix(k, "/"+name) {
					kind, api = v, k[:strings.LastIndexByte(k, '/')]
				}
			}
		}
		return send("BOOKMARK", map[string]any{"kind": kind, "apiVersion": api, "metadata": m})
	}
	at, _ := strconv.ParseInt(q.Get("resourceVersion"), 10, 64)
	s.mu.Lock()
	cut := s.cut
	var initial []*object
	switch {
	case q.Get("sendInitialEvents") == "true":
		for _, o := range r.objects {
			initial = append(initial, o)
		}
		at = s.version
	case at == 0:
		at = s.version
	case at < r.oldest:
		s.mu.Unlock()
		send("ERROR", statusOf(http.StatusGone, "Expired", fmt.Sprintf("too old resource version: %d", at)))
		return
	}
	s.mu.Unlock()
	for _, o := range initial {
		if (namespace == "" || o.namespace == namespace) && !send("ADDED", o.json(meta)) {
			return
		}
	}
	if q.Get("sendInitialEvents") == "true" && !mark(at, true) {
		return
	}
	flush.Flush()
	stop := make(chan struct{})
	defer close(stop)
	go func() { // wakes the loop below
		tick := time.NewTicker(bookmarkEvery)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-req.Context().Done():
				s.changed.Broadcast()
				return
			case <-tick.C:
				s.changed.Broadcast()
			}
		}
	}()
	for marked := time.Now(); ; {
		s.mu.Lock()
		for s.version == at && s.cut == cut && !s.closed && req.Context().Err() == nil && time.Since(marked) < bookmarkEvery {
			s.changed.Wait()
		}
		end := s.cut != cut || s.closed || req.Context().Err() != nil
		var events []event
		i := len(r.log)
		for i > 0 && r.log[i-1].version > at {
			i--
		}
		events = append(events, r.log[i:]...)
		at = s.version
		s.mu.Unlock()
		if end {
			return
		}
		for _, e := range events {
			if (namespace == "" || e.obj.namespace == namespace) && !send(e.typ, e.obj.json(meta)) {
				return
			}
		}
		if len(events) == 0 && q.Get("allowWatchBookmarks") == "true" && time.Since(marked) >= bookmarkEvery {
			if !mark(at, false) {
				return
			}
			marked = time.Now()
		}
		flush.Flush()
	}
}
