package containers

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/gyre-sec/gyre/collector/container"
)

// containerdConfig needs no network, no rights that a container may lack, and no image from elsewhere.
const containerdConfig = `version = 2
root = "%[1]s/r"
state = "%[1]s/s"
[grpc]
  address = "%[1]s/c.sock"
[ttrpc]
  address = "%[1]s/t.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/shop/web:7"
  restrict_oom_score_adj = true
  disable_apparmor = true
  disable_tcp_service = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    conf_dir = "%[1]s/cni"
    bin_dir = "%[1]s/cni"
`

// containerd starts one of its own below a short directory, with the image of podman.
func containerd(t *testing.T, pod *podman) (dir string, api runtimev1.RuntimeServiceClient) {
	t.Helper()
	bin, ctr := need(t, "containerd"), need(t, "ctr")
	dir, err := os.MkdirTemp("", "gd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	file := filepath.Join(dir, "config.toml")
	if err := os.WriteFile(file, fmt.Appendf(nil, containerdConfig, dir), 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin, "--config", file)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
		if t.Failed() {
			text, _ := os.ReadFile(filepath.Join(dir, "log"))
			t.Logf("containerd: %s", text[max(0, len(text)-4000):])
		}
	})
	conn, err := grpc.NewClient("unix://"+dir+"/c.sock", grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	api = runtimev1.NewRuntimeServiceClient(conn)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := api.Version(ctx, &runtimev1.VersionRequest{}, grpc.WaitForReady(true)); err != nil {
		t.Fatalf("containerd does not serve: %v", err)
	}
	archive := filepath.Join(dir, "image.tar")
	if out, err := pod.command("save", "--format", "docker-archive", "-o", archive, podmanImage).CombinedOutput(); err != nil {
		t.Fatalf("podman save: %v\n%s", err, out)
	}
	if out, err := exec.Command(ctr, "--address", dir+"/c.sock", "-n", "k8s.io", "images", "import", archive).CombinedOutput(); err != nil {
		t.Fatalf("ctr images import: %v\n%s", err, out)
	}
	return dir, api
}

// TestContainerd runs a pod with the real containerd, as a kubelet does, and looks at its events.
func TestContainerd(t *testing.T) {
	dir, api := containerd(t, newPodman(t))
	p := run(t, func(c *container.Config) {
		c.CRI = []string{filepath.Join(dir, "c.sock")}
		c.Bundles = []string{filepath.Join(dir, "s", "io.containerd.runtime.v2.task", "*")}
	})
	const uid = "3e41dc6b-08a8-44db-bc2a-3724b18ab19a"
	labels := map[string]string{"io.kubernetes.pod.name": "web-0", "io.kubernetes.pod.namespace": "shop", "io.kubernetes.pod.uid": uid, "app": "web"}
	host := &runtimev1.NamespaceOption{Network: runtimev1.NamespaceMode_NODE}
	config := &runtimev1.PodSandboxConfig{
		Metadata: &runtimev1.PodSandboxMetadata{Name: "web-0", Namespace: "shop", Uid: uid}, Labels: labels, LogDirectory: t.TempDir(),
		Linux: &runtimev1.LinuxPodSandboxConfig{CgroupParent: "/kubepods/burstable/pod" + uid, SecurityContext: &runtimev1.LinuxSandboxSecurityContext{NamespaceOptions: host}},
	}
	ctx := t.Context()
	sandbox, err := api.RunPodSandbox(ctx, &runtimev1.RunPodSandboxRequest{Config: config})
	if err != nil {
		t.Fatalf("run pod: %v", err)
	}
	t.Cleanup(func() {
		ctx := context.Background()
		_, _ = api.StopPodSandbox(ctx, &runtimev1.StopPodSandboxRequest{PodSandboxId: sandbox.GetPodSandboxId()})
		_, _ = api.RemovePodSandbox(ctx, &runtimev1.RemovePodSandboxRequest{PodSandboxId: sandbox.GetPodSandboxId()})
	})
	created, err := api.CreateContainer(ctx, &runtimev1.CreateContainerRequest{
		PodSandboxId: sandbox.GetPodSandboxId(), SandboxConfig: config,
		Config: &runtimev1.ContainerConfig{
			Metadata: &runtimev1.ContainerMetadata{Name: "till"}, Image: &runtimev1.ImageSpec{Image: podmanImage}, Command: []string{"/bin/cat", "/etc/passwd"}, LogPath: "till.log",
			Labels: map[string]string{"io.kubernetes.container.name": "till", "io.kubernetes.pod.name": "web-0", "io.kubernetes.pod.namespace": "shop", "io.kubernetes.pod.uid": uid},
			Mounts: []*runtimev1.Mount{{HostPath: "/tmp", ContainerPath: "/host/tmp", Readonly: true}},
			Linux:  &runtimev1.LinuxContainerConfig{SecurityContext: &runtimev1.LinuxContainerSecurityContext{NamespaceOptions: host, Privileged: false, RunAsUser: &runtimev1.Int64Value{Value: 1000}}},
		},
	})
	if err != nil {
		t.Fatalf("create container: %v", err)
	}
	id := created.GetContainerId()
	if _, err := api.StartContainer(ctx, &runtimev1.StartContainerRequest{ContainerId: id}); err != nil {
		t.Fatalf("start container: %v", err)
	}
	all := p.collect(func(m map[string]*seen) bool { return m[id] != nil && m[id].values["proc.name"] == "cat" })
	s := all[id]
	if s.incomplete > 0 {
		t.Errorf("%d of %d events without facts", s.incomplete, s.events)
	}
	for name, want := range map[string]any{
		"container.id": id[:12], "container.name": "till", "container.image": podmanImage, "container.image.repository": "localhost/shop/web", "container.image.tag": "7",
		"container.type": "containerd", "container.privileged": false, "container.host_network": true, "container.mounts": "/tmp:/host/tmp::false:private",
		"k8s.pod.name": "web-0", "k8s.ns.name": "shop", "k8s.pod.uid": uid, "user.name": "shop",
	} {
		if got := s.values[name]; got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
}
