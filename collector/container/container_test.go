package container

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gyre-sec/gyre/schemas/factv1"
)

const (
	idA   = "3f1c9a7be0d24c55a1f0b7d3c526a1e4f0e9d531c2f3a4b5c6d7e8f901234567"
	idB   = "4a2c9a7be0d24c55a1f0b7d3c526a1e4f0e9d531c2f3a4b5c6d7e8f901234567"
	idPod = "5b3c9a7be0d24c55a1f0b7d3c526a1e4f0e9d531c2f3a4b5c6d7e8f901234567"
)

// TestMain lets the test program be its own helper.
func TestMain(m *testing.M) {
	if code, is := HelperMain(func(bool) error { return nil }); is {
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// nowhere is a configuration that finds nothing.
func nowhere() Config {
	return Config{Enabled: true, Settle: 50 * time.Millisecond, Keep: time.Hour, Max: 1000}
}

type watching struct {
	*Watcher
	t     *testing.T
	facts chan Fact
}

func watchWith(t *testing.T, cfg Config) *watching {
	t.Helper()
	x := &watching{t: t, facts: make(chan Fact, 1000)}
	x.Watcher = New(cfg, slog.New(slog.DiscardHandler), func(f Fact) { x.facts <- f })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		x.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return x
}

// wait returns the first fact about id for which ok holds.
func (x *watching) wait(id string, ok func(factv1.Container) bool) factv1.Container {
	x.t.Helper()
	var last factv1.Container
	limit := time.After(time.Minute)
	for {
		select {
		case f := <-x.facts:
			if f.Container.ID == id && !f.Gone {
				if last = f.Container; ok(last) {
					return last
				}
			}
		case <-limit:
			x.t.Fatalf("no such fact about %s; the last one: %+v", id, last)
		}
	}
}

func anything(factv1.Container) bool { return true }

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// socketDir is a directory whose name is short enough for a socket.
func socketDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "gc")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

const dockerInspect = `{"Id":"` + idA + `","Name":"/web","Image":"sha256:` + idB + `","State":{"StartedAt":"2026-11-23T18:00:00.5Z"},
 "Config":{"Image":"registry:5000/shop/web:7","Env":["PATH=/bin","SECRET=x"],"Labels":{"team":"shop"}},
 "HostConfig":{"Privileged":true,"PidMode":"host","NetworkMode":"bridge","IpcMode":"private"},
 "Mounts":[{"Type":"bind","Source":"/proc","Destination":"/host/proc","Mode":"ro","RW":false,"Propagation":"rslave"}],
 "NetworkSettings":{"IPAddress":"","Networks":{"bridge":{"IPAddress":"172.17.0.2"}}}}`

func wantDocker(source string) factv1.Container {
	yes := true
	c := factv1.Container{
		ID: idA, Runtime: "docker", Sources: []string{source}, Name: "web", Image: "registry:5000/shop/web:7", ImageRepo: "registry:5000/shop/web", ImageTag: "7",
		ImageID: idB, Privileged: &yes, HostPID: true, Started: time.Date(2026, 11, 23, 18, 0, 0, 5e8, time.UTC).UnixNano(),
		Labels: map[string]string{"team": "shop"}, Env: []string{"PATH", "SECRET"}, IP: "172.17.0.2",
		Mounts: []factv1.Mount{{Source: "/proc", Dest: "/host/proc", Mode: "ro", Propagation: "rslave"}},
	}
	return c
}

// serveDocker answers as Docker does; events are the ids whose creation it tells.
func serveDocker(t *testing.T, socket string, events <-chan string) {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /containers/json", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `[]`) })
	mux.HandleFunc("GET /containers/{id}/json", func(w http.ResponseWriter, r *http.Request) {
		if r.PathValue("id") != idA {
			http.Error(w, `{"message":"No such container"}`, http.StatusNotFound)
			return
		}
		fmt.Fprint(w, dockerInspect)
	})
	mux.HandleFunc("GET /images/{id}/json", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"RepoDigests":["other@sha256:00","registry:5000/shop/web@sha256:77"]}`)
	})
	mux.HandleFunc("GET /events", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		for {
			_ = http.NewResponseController(w).Flush()
			select {
			case id := <-events:
				fmt.Fprintf(w, `{"Type":"container","Action":"create","Actor":{"ID":%q}}`+"\n", id)
			case <-r.Context().Done():
				return
			}
		}
	})
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: time.Second}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
}

func TestDocker(t *testing.T) {
	cfg := nowhere()
	socket := filepath.Join(socketDir(t), "docker.sock")
	cfg.Docker = []string{socket}
	events := make(chan string, 1)
	serveDocker(t, socket, events)
	x := watchWith(t, cfg)
	events <- idA // nothing else names it
	got := x.wait(idA, anything)
	want := wantDocker("docker")
	want.ImageDigest = "sha256:77"
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
	x.Notice(t.Context(), Ask{ID: idB, Runtime: "docker"})
	if got := x.wait(idB, anything); !got.Unknown || got.Runtime != "docker" {
		t.Errorf("a container that nobody knows: %+v", got)
	}
}

func TestDockerFiles(t *testing.T) {
	cfg := nowhere()
	dir := t.TempDir()
	cfg.DockerFiles = []string{dir}
	x := watchWith(t, cfg)
	v2 := strings.Replace(dockerInspect, `"Mounts":[{`, `"MountPoints":{"/host/proc":{`, 1)
	v2 = strings.Replace(v2, `"rslave"}]`, `"rslave"}}`, 1)
	write(t, filepath.Join(dir, idA, "config.v2.json"), v2)
	write(t, filepath.Join(dir, idA, "hostconfig.json"), `{"Privileged":true,"PidMode":"host","NetworkMode":"bridge","IpcMode":"private"}`)
	x.Notice(t.Context(), Ask{ID: idA})
	got := x.wait(idA, func(c factv1.Container) bool { return !c.Unknown })
	if d := cmp.Diff(wantDocker("docker files"), got); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

const bundleSpec = `{"ociVersion":"1.0.2","root":{"path":"rootfs"},"process":{"env":["PATH=/bin"],"capabilities":{"bounding":["CAP_CHOWN"]}},
 "mounts":[{"destination":"/proc","type":"proc","source":"proc"},{"destination":"/etc/secret","type":"bind","source":"/var/secret","options":["rbind","rprivate","ro"]}],
 "annotations":{"io.kubernetes.cri.container-type":"container","io.kubernetes.cri.container-name":"web","io.kubernetes.cri.image-name":"docker.io/library/nginx:1.27",
  "io.kubernetes.cri.sandbox-id":"` + idPod + `","io.kubernetes.cri.sandbox-name":"web-0","io.kubernetes.cri.sandbox-namespace":"shop","io.kubernetes.cri.sandbox-uid":"u-1"},
 "linux":{"namespaces":[{"type":"pid"},{"type":"ipc","path":"/proc/1/ns/ipc"},{"type":"mount"}],"maskedPaths":["/proc/kcore"]}}`

// TestBundle finds a container in its directory alone, which the runtime made before the container began.
func TestBundle(t *testing.T) {
	cfg := nowhere()
	dir := t.TempDir()
	cfg.Bundles = []string{filepath.Join(dir, "*")}
	cfg.Settle = time.Minute
	if err := os.Mkdir(filepath.Join(dir, "k8s.io"), 0o755); err != nil {
		t.Fatal(err)
	}
	x := watchWith(t, cfg)
	write(t, filepath.Join(dir, "k8s.io", idA, "config.json"), bundleSpec)
	got := x.wait(idA, anything)
	no := false
	want := factv1.Container{
		ID: idA, Runtime: "containerd", Sources: []string{"bundle"}, Name: "web", Image: "docker.io/library/nginx:1.27", ImageRepo: "docker.io/library/nginx", ImageTag: "1.27",
		Privileged: &no, HostNetwork: true, Mounts: []factv1.Mount{{Source: "/var/secret", Dest: "/etc/secret", Propagation: "rprivate"}}, Env: []string{"PATH"},
		SandboxID: idPod, PodName: "web-0", PodNamespace: "shop", PodUID: "u-1",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

// TestKnowledgeStays: news after the directory has gone must not take away what was known.
func TestKnowledgeStays(t *testing.T) {
	cfg := nowhere()
	dir := t.TempDir()
	cfg.Bundles, cfg.PodmanStorage = []string{dir}, []string{dir}
	write(t, filepath.Join(dir, "containers.json"), `[{"id":"`+idA+`","names":["t2"],"metadata":"{}"}]`)
	write(t, filepath.Join(dir, idA, "config.json"), bundleSpec)
	x := watchWith(t, cfg)
	before := x.wait(idA, anything)
	if err := os.RemoveAll(filepath.Join(dir, idA)); err != nil {
		t.Fatal(err)
	}
	x.want(t.Context(), Ask{ID: idA}, true)
	after := x.wait(idA, anything) // its sources have changed
	if d := cmp.Diff(before.Mounts, after.Mounts); d != "" || after.PodName != "web-0" || len(after.Sources) != 1 {
		t.Errorf("%+v\n%s", after, d)
	}
}

func TestRuncState(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "bundle", "config.json"), `{"process":{"env":[]},"linux":{}}`)
	write(t, filepath.Join(dir, "runc", idA, "state.json"), `{"id":"x","config":{"labels":["a=b","bundle=`+filepath.Join(dir, "bundle")+`"]}}`)
	write(t, filepath.Join(dir, "crun", idB, "status"), `{"bundle":"`+filepath.Join(dir, "bundle")+`"}`)
	b := &bundles{[]string{filepath.Join(dir, "runc"), filepath.Join(dir, "crun")}}
	for _, id := range []string{idA, idB} {
		c, err := b.lookup(t.Context(), id)
		if err != nil || c.Name != id || c.Runtime != "runc" || !c.HostPID {
			t.Errorf("%+v, %v", c, err)
		}
	}
	if _, err := b.lookup(t.Context(), "../bundle"); err == nil {
		t.Error("an id led out of the directory")
	}
}

func TestPodmanStorage(t *testing.T) {
	cfg := nowhere()
	dir := t.TempDir()
	cfg.PodmanStorage, cfg.Bundles = []string{dir}, []string{dir}
	write(t, filepath.Join(dir, "containers.json"), `[{"id":"`+idA+`","names":["t2"],"image":"`+idB+`","metadata":"{\"image-name\":\"localhost/shop/web:7\",\"name\":\"t2\"}"}]`)
	write(t, filepath.Join(dir, idA, "userdata", "config.json"), `{"annotations":{"io.container.manager":"libpod","io.podman.annotations.privileged":"TRUE"},"linux":{"namespaces":[{"type":"pid"},{"type":"network"},{"type":"ipc"}]}}`)
	got := watchWith(t, cfg).wait(idA, anything)
	yes := true
	want := factv1.Container{
		ID: idA, Runtime: "podman", Sources: []string{"storage", "bundle"}, Name: "t2", Image: "localhost/shop/web:7", ImageRepo: "localhost/shop/web", ImageTag: "7", ImageID: idB,
		Privileged: &yes, Env: []string{},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

// TestEndedContainersAreForgotten sweeps by hand.
func TestEndedContainersAreForgotten(t *testing.T) {
	cfg := nowhere()
	dir := t.TempDir()
	cfg.Bundles = []string{dir}
	cfg.Keep = time.Minute
	write(t, filepath.Join(dir, idA, "config.json"), bundleSpec)
	x := watchWith(t, cfg)
	x.wait(idA, anything)
	now := time.Now()
	x.sweep(t.Context(), now)
	if err := os.RemoveAll(filepath.Join(dir, idA)); err != nil {
		t.Fatal(err)
	}
	x.sweep(t.Context(), now.Add(time.Second))
	x.sweep(t.Context(), now.Add(30*time.Second))
	if len(x.facts) != 0 {
		t.Fatal("forgotten too early")
	}
	x.sweep(t.Context(), now.Add(2*time.Minute))
	if f := <-x.facts; !f.Gone || f.Container.ID != idA {
		t.Errorf("%+v", f)
	}
}

// TestRuntimeThatComesLater: what only a runtime knows is found once it answers.
func TestRuntimeThatComesLater(t *testing.T) {
	cfg := nowhere()
	dir, socket := t.TempDir(), filepath.Join(socketDir(t), "docker.sock")
	cfg.Bundles, cfg.Docker = []string{dir}, []string{socket}
	write(t, filepath.Join(dir, idA, "config.json"), `{"linux":{}}`)
	l, err := net.Listen("unix", socket) // nobody answers there
	if err != nil {
		t.Fatal(err)
	}
	x := watchWith(t, cfg)
	if got := x.wait(idA, anything); got.Name != idA {
		t.Fatalf("%+v", got)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	serveDocker(t, socket, nil)
	for x.isSlow(x.sources[1]) { // for ten seconds
		x.mu.Lock()
		clear(x.slow)
		x.mu.Unlock()
	}
	x.sweep(t.Context(), time.Now())
	if got := x.wait(idA, func(c factv1.Container) bool { return c.Image != "" }); got.Name != "web" || got.Runtime != "docker" {
		t.Errorf("%+v", got)
	}
}

func TestKnownContainersAreBounded(t *testing.T) {
	cfg := nowhere()
	cfg.Max, cfg.Settle = 2, time.Millisecond
	x := watchWith(t, cfg)
	for _, id := range []string{idA, idB, idPod} {
		x.Notice(t.Context(), Ask{ID: id})
	}
	x.mu.Lock()
	n := len(x.known)
	x.mu.Unlock()
	if n > 2 {
		t.Errorf("%d are known", n)
	}
}

func TestNamedMachine(t *testing.T) {
	x := watchWith(t, nowhere())
	x.Notice(t.Context(), Ask{ID: "build-1", Runtime: "systemd-nspawn"})
	if got := x.wait("build-1", anything); got.Unknown || got.Name != "build-1" || got.Runtime != "systemd-nspawn" {
		t.Errorf("%+v", got)
	}
}

func TestHelperProcess(t *testing.T) {
	cfg := nowhere()
	dir := t.TempDir()
	cfg.Bundles = []string{dir}
	write(t, filepath.Join(dir, idA, "config.json"), bundleSpec)
	h, err := StartHelper(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	asks, facts, done := make(chan Ask, 1), make(chan Fact, 10), make(chan error, 1)
	hello := make(chan bool, 10)
	go func() { done <- h.Run(ctx, asks, func(f Fact) { facts <- f }, func() { hello <- true }) }()
	<-hello
	asks <- Ask{ID: idB}
	seen := map[string]factv1.Container{}
	for len(seen) < 2 {
		f := <-facts
		seen[f.Container.ID] = f.Container
	}
	if seen[idA].Name != "web" || !seen[idB].Unknown {
		t.Errorf("%+v", seen)
	}
	// A worker that dies is started again.
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", h.PID(), h.PID()))
	if err != nil {
		t.Fatal(err)
	}
	var worker int
	if _, err := fmt.Sscan(string(children), &worker); err != nil {
		t.Fatalf("children of the supervisor: %q", children)
	}
	p, err := os.FindProcess(worker)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	<-hello
	if f := <-facts; f.Container.ID != idA || f.Container.Name != "web" {
		t.Errorf("after the restart: %+v", f)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestValidate(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	for _, change := range []func(*Config){
		func(c *Config) { c.Settle = 0 },
		func(c *Config) { c.Keep = -1 },
		func(c *Config) { c.Max = 0 },
		func(c *Config) { c.CRI = []string{"containerd.sock"} },
		func(c *Config) { c.Bundles = []string{""} },
	} {
		c := DefaultConfig()
		if change(&c); c.Validate() == nil {
			t.Errorf("accepted: %+v", c)
		}
	}
}

func FuzzSpec(f *testing.F) {
	f.Add([]byte(bundleSpec))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "config.json"), data, 0o600); err != nil {
			t.Fatal(err)
		}
		var s spec
		if readJSON(filepath.Join(dir, "config.json"), &s) == nil {
			s.fact(idA)
		}
	})
}
