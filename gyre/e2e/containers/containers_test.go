// Package containers holds no code: its tests start real containers with podman and runc, under the collector with its
// helper process and the enricher, and look at what batches then say of them.
package containers

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/bus/bustest"
	"github.com/gyre-sec/gyre/collector"
	"github.com/gyre-sec/gyre/collector/container"
	"github.com/gyre-sec/gyre/enricher"
	"github.com/gyre-sec/gyre/schemas/eventv1"
	"github.com/gyre-sec/gyre/schemas/field"
)

// TestMain lets the test program be the collector's helper.
func TestMain(m *testing.M) {
	if code, is := container.HelperMain(func(bool) error { return nil }); is {
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// need finds a program that make deps installs.
func need(t *testing.T, name string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		skip(t, "it runs containers and needs root")
	}
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/sbin") {
		if info, err := os.Stat(filepath.Join(dir, name)); err == nil && !info.IsDir() {
			return filepath.Join(dir, name)
		}
	}
	skip(t, name+" is missing: run sudo make deps")
	return ""
}

func skip(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal("not tested: " + why)
	}
	t.Skip("SKIPPED, NOT TESTED: " + why)
}

// pipeline is a collector of this kernel with its helper, and an enricher.
type pipeline struct {
	t       *testing.T
	batches chan *eventv1.Batch
	stop    func()
	reg     *prometheus.Registry
}

func run(t *testing.T, change func(*container.Config)) *pipeline {
	t.Helper()
	b := bustest.New(t)
	cfg := collector.DefaultConfig()
	cfg.Node = "n.1"
	change(&cfg.Containers)
	src, err := collector.Open(cfg)
	if err != nil {
		skip(t, fmt.Sprintf("live capture: %v", err))
	}
	p := &pipeline{t: t, batches: make(chan *eventv1.Batch, 1<<16), reg: prometheus.NewRegistry()}
	c, err := collector.New(cfg, src, b, bustest.Log(), p.reg)
	if err != nil {
		t.Fatal(err)
	}
	h, err := container.StartHelper(cfg.Containers, bustest.Log())
	if err != nil {
		t.Fatal(err)
	}
	c.UseHelper(h)
	e, err := enricher.New(enricher.DefaultConfig(), b, bustest.Log(), p.reg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	collected, enriched := make(chan error, 1), make(chan error, 1)
	go func() { collected <- c.Run(ctx) }()
	go func() { enriched <- e.Run(ctx) }()
	go func() {
		_ = b.Tail(ctx, bus.TailConfig{Stream: bus.StreamEnriched, Seq: 1}, func(m bus.Stored) error {
			batch := &eventv1.Batch{}
			if err := eventv1.NewDecoder().Decode(append([]byte(nil), m.Data...), batch); err != nil {
				return err
			}
			p.batches <- batch
			return nil
		})
	}()
	stopped := false
	p.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		for _, done := range []chan error{collected, enriched} {
			if err := <-done; err != nil {
				t.Errorf("stop: %v", err)
			}
		}
	}
	t.Cleanup(p.stop)
	for c.Ready() != nil || e.Ready() != nil {
		select {
		case err := <-collected:
			t.Fatalf("the collector ended: %v", err)
		case <-time.After(time.Millisecond):
		}
	}
	return p
}

// seen is what the events of containers said, by container id.
type seen struct {
	events, incomplete, noName, noUser int
	values                             map[string]any // of the last event
}

var wanted = []string{
	"container.name", "container.image", "container.image.repository", "container.image.tag", "container.type", "container.privileged", "container.mounts", "container.labels",
	"k8s.pod.name", "k8s.ns.name", "k8s.pod.uid", "user.name", "group.name", "container.id", "container.full_id", "proc.name", "container.host_network",
}

// collect reads batches until done holds for what was seen.
func (p *pipeline) collect(done func(map[string]*seen) bool) map[string]*seen {
	p.t.Helper()
	all := map[string]*seen{}
	limit := time.After(2 * time.Minute)
	v, r := field.NewView(), eventv1.NewReader()
	for !done(all) {
		select {
		case <-limit:
			for id, s := range all {
				p.t.Logf("%s: %d events, %d incomplete, %v", id, s.events, s.incomplete, s.values)
			}
			p.t.Fatal("not all containers were seen")
		case b := <-p.batches:
			v.Batch(b)
			r.Reset(b)
			for e := (eventv1.Event{}); r.Next(&e); {
				proc := b.Proc(e.Proc)
				if proc == nil || proc.Container < 0 {
					continue
				}
				c := b.Container(proc.Container)
				s := all[b.Text(c.ID)]
				if s == nil {
					s = &seen{values: map[string]any{}}
					all[b.Text(c.ID)] = s
				}
				v.Event(&e)
				s.events++
				if c.Flags&eventv1.ContainerIncomplete != 0 {
					s.incomplete++
				}
				program, _ := field.Lookup("proc.name")
				if name, _ := program.Value(v).(string); !strings.HasPrefix(name, "runc") || s.values["proc.name"] == nil { // a batch that waited for facts comes out late
					for _, name := range wanted {
						f, _ := field.Lookup(name)
						s.values[name] = f.Value(v)
					}
				}
				if s.values["container.name"] == nil || s.values["container.image.repository"] == nil {
					s.noName++
				}
				if s.values["user.name"] == nil {
					s.noUser++
				}
			}
		}
	}
	return all
}

// rootfs makes a root file system of busybox.
func rootfs(t *testing.T, dir string) {
	t.Helper()
	busybox, err := os.ReadFile(need(t, "busybox"))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"bin/busybox": string(busybox), "etc/passwd": "root:x:0:0::/root:/bin/sh\nshop:x:1000:1000::/srv:/bin/sh\n", "etc/group": "root:x:0:\nstaff:x:1000:\n",
		"proc/.k": "", "dev/.k": "", "sys/.k": "", "tmp/.k": "",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, applet := range []string{"sh", "cat", "true", "sleep"} {
		if err := os.Symlink("busybox", filepath.Join(dir, "bin", applet)); err != nil {
			t.Fatal(err)
		}
	}
}

// podman is an installation of its own, below dir.
type podman struct {
	t       *testing.T
	bin     string
	root    string
	runroot string
	conf    string
}

const podmanImage = "localhost/shop/web:7"

func newPodman(t *testing.T) *podman {
	t.Helper()
	bin := need(t, "podman")
	need(t, "runc")
	dir, err := os.MkdirTemp("", "gp") // short: podman makes sockets below
	if err != nil {
		t.Fatal(err)
	}
	p := &podman{t: t, bin: bin, root: filepath.Join(dir, "s"), runroot: filepath.Join(dir, "r"), conf: filepath.Join(dir, "containers.conf")}
	t.Cleanup(func() {
		_ = exec.Command(bin, "--root", p.root, "--runroot", p.runroot, "rm", "-af").Run() // what a failed test left
		_ = exec.Command("umount", filepath.Join(p.root, "overlay")).Run()
		_ = os.RemoveAll(dir)
	})
	// Limits that this machine may not raise, and runc because crun 1.8 refuses hybrid control groups.
	if err := os.WriteFile(p.conf, []byte("[containers]\ndefault_ulimits = []\n[engine]\ncgroup_manager = \"cgroupfs\"\nruntime = \"runc\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	fs := t.TempDir()
	rootfs(t, fs)
	var image bytes.Buffer
	w := tar.NewWriter(&image)
	if err := w.AddFS(os.DirFS(fs)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	cmd := p.command("import", "--change", `CMD ["/bin/sleep","1000"]`, "-", podmanImage) // the command is for pods
	cmd.Stdin = &image
	if out, err := cmd.CombinedOutput(); err != nil {
		skip(t, fmt.Sprintf("podman import: %v\n%s", err, out))
	}
	return p
}

func (p *podman) command(args ...string) *exec.Cmd {
	cmd := exec.Command(p.bin, append([]string{"--root", p.root, "--runroot", p.runroot}, args...)...)
	cmd.Env = append(os.Environ(), "CONTAINERS_CONF="+p.conf)
	return cmd
}

// run runs a container to its end and returns its id.
func (p *podman) run(args ...string) (string, error) {
	file := filepath.Join(p.t.TempDir(), "cid")
	out, err := p.command(append([]string{"run", "--rm", "--network", "none", "--cidfile", file}, args...)...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("podman run: %w\n%s", err, out)
	}
	id, err := os.ReadFile(file)
	return string(bytes.TrimSpace(id)), err
}

func (p *podman) watched(c *container.Config) {
	dirs := []string{filepath.Join(p.root, "overlay-containers"), filepath.Join(p.root, "vfs-containers")}
	c.PodmanStorage, c.Bundles = dirs, append(dirs, c.Bundles...)
}

func TestPodman(t *testing.T) {
	pod := newPodman(t)
	p := run(t, pod.watched)
	id, err := pod.run("--name", "till", "--label", "team=shop", "-v", "/tmp:/host/tmp:ro", "--user", "1000:1000", podmanImage, "/bin/cat", "/etc/passwd")
	if err != nil {
		t.Fatal(err)
	}
	all := p.collect(func(m map[string]*seen) bool { return m[id] != nil && m[id].values["proc.name"] == "cat" })
	got := all[id].values
	for name, want := range map[string]any{
		"container.id": id[:12], "container.full_id": id, "container.name": "till", "container.image": podmanImage, "container.image.repository": "localhost/shop/web", "container.image.tag": "7",
		"container.type": "podman", "container.privileged": false, "user.name": "shop", "group.name": "staff",
	} {
		if got[name] != want {
			t.Errorf("%s: %v, want %v", name, got[name], want)
		}
	}
	if m, _ := got["container.mounts"].(string); !strings.Contains(m, "/tmp:/host/tmp::false:rprivate") {
		t.Errorf("mounts: %v", got["container.mounts"])
	}
	if s := all[id]; s.incomplete > 0 || s.noName > 0 {
		t.Errorf("%d of %d events without facts", s.incomplete, s.events)
	}
}

// churn is how many containers TestChurn runs; GYRE_CHURN changes it.
func churn() int {
	if n, err := strconv.Atoi(os.Getenv("GYRE_CHURN")); err == nil {
		return n
	}
	return 12
}

// TestChurn runs containers that live for milliseconds, 200 a minute if the machine can. Of their events hardly one may lack facts.
func TestChurn(t *testing.T) {
	pod := newPodman(t)
	p := run(t, pod.watched)
	ids := map[string]string{}
	var mu sync.Mutex
	var runs sync.WaitGroup
	begin := time.Now()
	pace := time.NewTicker(time.Minute / 200)
	defer pace.Stop()
	room := make(chan struct{}, 4)
	for i := range churn() {
		<-pace.C
		room <- struct{}{}
		runs.Go(func() {
			defer func() { <-room }()
			name := fmt.Sprintf("short-%d", i)
			id, err := pod.run("--name", name, podmanImage, "/bin/true")
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
				return
			}
			ids[id] = name
		})
	}
	runs.Wait()
	took := time.Since(begin)
	all := p.collect(func(m map[string]*seen) bool {
		for id := range ids {
			if m[id] == nil || m[id].values["proc.name"] != "true" {
				return false
			}
		}
		return true
	})
	var events, incomplete, noName, noUser, wrong int
	for id, name := range ids {
		s := all[id]
		events, incomplete, noName, noUser = events+s.events, incomplete+s.incomplete, noName+s.noName, noUser+s.noUser
		if s.values["container.name"] != name {
			wrong++
			t.Logf("%s is %v, want %s", id, s.values["container.name"], name)
		}
	}
	t.Logf("%d containers in %s (%.0f a minute), %d events: %d incomplete, %d without name or image, %d without user; %d containers with a wrong name",
		len(ids), took.Round(time.Millisecond), float64(len(ids))/took.Minutes(), events, incomplete, noName, noUser, wrong)
	if wrong > 0 || incomplete*1000 > events || noName*1000 > events || noUser*1000 > events {
		t.Error("more than one event in a thousand lacks facts")
	}
}

// oci makes a bundle for runc in a directory of bundles, as containerd does, and returns the command that runs it.
func oci(t *testing.T, bundles, id, cgroup string, annotations map[string]string) *exec.Cmd {
	t.Helper()
	runc := need(t, "runc")
	dir := filepath.Join(bundles, id)
	rootfs(t, filepath.Join(dir, "rootfs"))
	spec := exec.Command(runc, "spec")
	spec.Dir = t.TempDir() // a bundle's configuration is written once, and looked at as soon as it is there
	if out, err := spec.CombinedOutput(); err != nil {
		t.Fatalf("runc spec: %v\n%s", err, out)
	}
	raw, err := os.ReadFile(filepath.Join(spec.Dir, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	var config map[string]any
	if err := json.Unmarshal(raw, &config); err != nil {
		t.Fatal(err)
	}
	process := config["process"].(map[string]any)
	process["terminal"], process["args"] = false, []string{"/bin/cat", "/etc/passwd"}
	delete(process, "rlimits")
	config["linux"].(map[string]any)["cgroupsPath"] = cgroup
	config["annotations"] = annotations
	if raw, err = json.Marshal(config); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), raw, 0o600); err != nil {
		t.Fatal(err)
	}
	return exec.Command(runc, "--root", filepath.Join(t.TempDir(), "state"), "run", "--bundle", dir, id)
}

// TestControlGroups starts containers in groups that are named as by Docker, containerd and Kubernetes.
func TestControlGroups(t *testing.T) {
	need(t, "runc")
	dir := t.TempDir()
	p := run(t, func(c *container.Config) { c.Bundles = []string{dir} })
	const tail = "1c9a7be0d24c55a1f0b7d3c526a1e4f0e9d531c2f3a4b5c6d7e8f901234567"
	const pod = "3e41dc6b-08a8-44db-bc2a-3724b18ab19a"
	cri := map[string]string{
		"io.kubernetes.cri.container-type": "container", "io.kubernetes.cri.container-name": "web", "io.kubernetes.cri.image-name": "docker.io/library/nginx:1.27",
		"io.kubernetes.cri.sandbox-id": "5b" + tail, "io.kubernetes.cri.sandbox-name": "web-0", "io.kubernetes.cri.sandbox-namespace": "shop", "io.kubernetes.cri.sandbox-uid": pod,
	}
	cases := map[string]struct {
		cgroup string
		notes  map[string]string
		want   map[string]any
	}{
		"a1" + tail: {"/docker/a1" + tail, nil, map[string]any{"container.type": "docker", "container.name": "a1" + tail, "k8s.pod.name": nil}},
		"a2" + tail: {"/default/a2" + tail, map[string]string{"nerdctl/name": "nerd"}, map[string]any{"container.type": "containerd", "container.name": "nerd"}},
		"a3" + tail: {"/kubepods/burstable/pod" + pod + "/a3" + tail, cri, map[string]any{
			"container.type": "containerd", "container.name": "web", "container.image": "docker.io/library/nginx:1.27", "container.image.repository": "docker.io/library/nginx",
			"container.image.tag": "1.27", "k8s.pod.name": "web-0", "k8s.ns.name": "shop", "k8s.pod.uid": pod,
		}},
		"a4" + tail: {"/kubepods.slice/kubepods-pod" + strings.ReplaceAll(pod, "-", "_") + ".slice/cri-containerd-a4" + tail + ".scope", cri, map[string]any{
			"container.name": "web", "k8s.pod.name": "web-0", "k8s.ns.name": "shop", "k8s.pod.uid": pod,
		}},
	}
	for id, c := range cases {
		if out, err := oci(t, dir, id, c.cgroup, c.notes).CombinedOutput(); err != nil || !bytes.Contains(out, []byte("shop:x")) {
			t.Fatalf("run %s: %v\n%s", c.cgroup, err, out)
		}
	}
	all := p.collect(func(m map[string]*seen) bool {
		for id := range cases {
			if m[id] == nil || m[id].values["proc.name"] != "cat" {
				return false
			}
		}
		return true
	})
	for id, c := range cases {
		s := all[id]
		if s.incomplete > 0 {
			t.Errorf("%s: %d of %d events without facts", c.cgroup, s.incomplete, s.events)
		}
		if s.values["container.id"] != id[:12] || s.values["user.name"] != "root" {
			t.Errorf("%s: %v", c.cgroup, s.values)
		}
		for name, want := range c.want {
			if got := s.values[name]; got != want {
				t.Errorf("%s: %s is %v, want %v", c.cgroup, name, got, want)
			}
		}
	}
}
