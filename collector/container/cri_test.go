package container

import (
	"context"
	"net"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/gyre-sec/gyre/schemas/factv1"
)

// criServer speaks the interface on the wire, for one pod with one container.
type criServer struct {
	runtimev1.UnimplementedRuntimeServiceServer
	events chan string // nil: it has no stream of events
}

func (*criServer) Version(context.Context, *runtimev1.VersionRequest) (*runtimev1.VersionResponse, error) {
	return &runtimev1.VersionResponse{RuntimeName: "containerd", RuntimeApiVersion: "v1"}, nil
}

func (s *criServer) ListContainers(context.Context, *runtimev1.ListContainersRequest) (*runtimev1.ListContainersResponse, error) {
	if s.events != nil { // only the event names it
		return &runtimev1.ListContainersResponse{}, nil
	}
	return &runtimev1.ListContainersResponse{Containers: []*runtimev1.Container{{Id: idA}}}, nil
}

func (*criServer) ListPodSandbox(context.Context, *runtimev1.ListPodSandboxRequest) (*runtimev1.ListPodSandboxResponse, error) {
	return &runtimev1.ListPodSandboxResponse{Items: []*runtimev1.PodSandbox{{Id: idPod}}}, nil
}

func (s *criServer) GetContainerEvents(_ *runtimev1.GetEventsRequest, out grpc.ServerStreamingServer[runtimev1.ContainerEventResponse]) error {
	if s.events == nil {
		return status.Error(codes.Unimplemented, "not here")
	}
	for {
		select {
		case id := <-s.events:
			if err := out.Send(&runtimev1.ContainerEventResponse{ContainerId: id}); err != nil {
				return err
			}
		case <-out.Context().Done():
			return nil
		}
	}
}

func podLabels() map[string]string {
	return map[string]string{"app": "web", labelPod: "web-0", labelNamespace: "shop", labelPodUID: "u-1"}
}

func (*criServer) ContainerStatus(_ context.Context, r *runtimev1.ContainerStatusRequest) (*runtimev1.ContainerStatusResponse, error) {
	if r.GetContainerId() != idA {
		return nil, status.Error(codes.NotFound, "an error occurred when try to find container: not found")
	}
	info := `{"sandboxID":"` + idPod + `","config":{"linux":{"security_context":{"privileged":true}}},
	 "runtimeSpec":{"process":{"env":["PATH=/bin","TOKEN=x"]},"linux":{"namespaces":[{"type":"pid"},{"type":"ipc","path":"/proc/1/ns/ipc"},{"type":"network","path":"/proc/1/ns/net"}]}}}`
	return &runtimev1.ContainerStatusResponse{
		Status: &runtimev1.ContainerStatus{
			Id: idA, Metadata: &runtimev1.ContainerMetadata{Name: "web"}, StartedAt: 42,
			Image: &runtimev1.ImageSpec{Image: "sha256:" + idB, UserSpecifiedImage: "docker.io/library/nginx:1.27"}, ImageRef: "docker.io/library/nginx@sha256:" + idB, ImageId: "sha256:" + idB,
			Labels:      map[string]string{labelContainer: "web", labelPod: "web-0", labelNamespace: "shop", labelPodUID: "u-1"},
			Annotations: map[string]string{labelAccount: "robot"},
			Mounts:      []*runtimev1.Mount{{HostPath: "/var/lib/kubelet/x", ContainerPath: "/data", Propagation: runtimev1.MountPropagation_PROPAGATION_HOST_TO_CONTAINER}},
		},
		Info: map[string]string{"info": info},
	}, nil
}

func (*criServer) PodSandboxStatus(_ context.Context, r *runtimev1.PodSandboxStatusRequest) (*runtimev1.PodSandboxStatusResponse, error) {
	if r.GetPodSandboxId() != idPod {
		return nil, status.Error(codes.NotFound, "not found")
	}
	return &runtimev1.PodSandboxStatusResponse{
		Status: &runtimev1.PodSandboxStatus{
			Id: idPod, Metadata: &runtimev1.PodSandboxMetadata{Name: "web-0", Namespace: "shop", Uid: "u-1"}, CreatedAt: 41, Labels: podLabels(),
			Network: &runtimev1.PodSandboxNetworkStatus{Ip: "10.0.0.7"},
			Linux:   &runtimev1.LinuxPodSandboxStatus{Namespaces: &runtimev1.Namespace{Options: &runtimev1.NamespaceOption{Network: runtimev1.NamespaceMode_NODE}}},
		},
		Info: map[string]string{"info": `{"image":"registry.k8s.io/pause:3.9","cniResult":{"Interfaces":{"eth0":{}}}}`},
	}, nil
}

func serveCRI(t *testing.T, s *criServer) (socket string) {
	t.Helper()
	socket = filepath.Join(socketDir(t), "cri.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	srv := grpc.NewServer()
	runtimev1.RegisterRuntimeServiceServer(srv, s)
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(srv.Stop)
	return socket
}

func TestCRI(t *testing.T) {
	yes := true
	want := factv1.Container{
		ID: idA, Runtime: "containerd", Sources: []string{"cri"}, Name: "web", Image: "docker.io/library/nginx:1.27", ImageRepo: "docker.io/library/nginx", ImageTag: "1.27",
		ImageDigest: "sha256:" + idB, ImageID: idB, Privileged: &yes, HostNetwork: true, Started: 42,
		Labels: map[string]string{labelContainer: "web", labelPod: "web-0", labelNamespace: "shop", labelPodUID: "u-1"},
		Mounts: []factv1.Mount{{Source: "/var/lib/kubelet/x", Dest: "/data", Writable: true, Propagation: "rslave"}}, Env: []string{"PATH", "TOKEN"},
		IP: "10.0.0.7", CNI: `{"Interfaces":{"eth0":{}}}`, SandboxID: idPod, PodName: "web-0", PodNamespace: "shop", PodUID: "u-1", ServiceAccount: "robot", PodLabels: podLabels(),
	}
	pod := factv1.Container{
		ID: idPod, Runtime: "containerd", Sources: []string{"cri"}, Name: "web-0", Image: "registry.k8s.io/pause:3.9", HostNetwork: true, Started: 41, Labels: podLabels(), IP: "10.0.0.7",
		CNI: `{"Interfaces":{"eth0":{}}}`, Sandbox: true, SandboxID: idPod, PodName: "web-0", PodNamespace: "shop", PodUID: "u-1", PodLabels: podLabels(),
	}
	for name, events := range map[string]chan string{"events": make(chan string, 1), "polled": nil} {
		t.Run(name, func(t *testing.T) {
			cfg := nowhere()
			cfg.CRI = []string{serveCRI(t, &criServer{events: events})}
			x := watchWith(t, cfg)
			if d := cmp.Diff(pod, x.wait(idPod, anything)); d != "" {
				t.Errorf("pod -want +got\n%s", d)
			}
			if events != nil {
				events <- idA
			} else {
				x = watchWith(t, cfg)
			}
			if d := cmp.Diff(want, x.wait(idA, anything)); d != "" {
				t.Errorf("container -want +got\n%s", d)
			}
		})
	}
}
