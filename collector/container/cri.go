package container

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/gyre-sec/gyre/schemas/factv1"
)

// cri speaks the Kubernetes container runtime interface, version 1, on unix sockets.
type cri struct {
	sockets []string

	mu    sync.Mutex
	conns map[string]*criConn
	// later is when a runtime that did not answer is asked again.
	later map[string]time.Time
}

// criRetry is how long a runtime that did not answer is left alone.
const criRetry = 5 * time.Second

// criConn is a runtime that was reached.
type criConn struct {
	conn *grpc.ClientConn
	api  runtimev1.RuntimeServiceClient
	// runtime is what it calls itself: containerd, cri-o.
	runtime string
}

func newCRI(sockets []string) *cri {
	return &cri{sockets: sockets, conns: map[string]*criConn{}, later: map[string]time.Time{}}
}

func (*cri) name() string { return "cri" }

// connect returns the runtimes that answer. Those that are there and serve no such interface, such as Docker's own
// containerd, are no error.
func (r *cri) connect(ctx context.Context) (map[string]*criConn, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := map[string]*criConn{}
	var errs []error
	for _, s := range sockets(r.sockets) {
		c := r.conns[s]
		if c == nil && time.Now().Before(r.later[s]) {
			continue
		}
		if c == nil {
			conn, err := grpc.NewClient("unix://"+s, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswer)))
			if err != nil {
				errs = append(errs, fmt.Errorf("connect to %s: %w", s, err))
				continue
			}
			c = &criConn{conn: conn, api: runtimev1.NewRuntimeServiceClient(conn)}
			v, err := c.api.Version(ctx, &runtimev1.VersionRequest{})
			if err != nil {
				_ = conn.Close()
				r.later[s] = time.Now().Add(criRetry)
				if status.Code(err) != codes.Unimplemented {
					errs = append(errs, fmt.Errorf("ask %s for its version: %w", s, err))
				}
				continue
			}
			c.runtime = v.GetRuntimeName()
			r.conns[s] = c
		}
		out[s] = c
	}
	return out, errors.Join(errs...)
}

func (r *cri) list(ctx context.Context) ([]string, error) {
	conns, err := r.connect(ctx)
	errs := []error{err}
	var ids []string
	for s, c := range conns {
		all, err := c.api.ListContainers(ctx, &runtimev1.ListContainersRequest{})
		if err != nil {
			errs = append(errs, fmt.Errorf("list containers of %s: %w", s, err))
			continue
		}
		for _, x := range all.GetContainers() {
			ids = append(ids, x.GetId())
		}
		pods, err := c.api.ListPodSandbox(ctx, &runtimev1.ListPodSandboxRequest{})
		if err != nil {
			errs = append(errs, fmt.Errorf("list pods of %s: %w", s, err))
			continue
		}
		for _, x := range pods.GetItems() {
			ids = append(ids, x.GetId())
		}
	}
	return ids, errors.Join(errs...)
}

func (r *cri) lookup(ctx context.Context, id string) (factv1.Container, error) {
	if !isHexID(id) {
		return factv1.Container{}, errNotFound
	}
	conns, err := r.connect(ctx)
	for _, c := range conns {
		f, e := c.container(ctx, id)
		if errors.Is(e, errNotFound) {
			f, e = c.sandbox(ctx, id)
		}
		if e == nil {
			return f, nil
		}
		if !errors.Is(e, errNotFound) {
			err = errors.Join(err, e)
		}
	}
	if err == nil {
		err = errNotFound
	}
	return factv1.Container{}, err
}

// missing turns the ways in which runtimes say that there is no such container into errNotFound.
func missing(err error) error {
	if status.Code(err) == codes.NotFound || strings.Contains(err.Error(), "not found") || strings.Contains(err.Error(), "does not exist") {
		return errNotFound
	}
	return err
}

func (c *criConn) container(ctx context.Context, id string) (factv1.Container, error) {
	resp, err := c.api.ContainerStatus(ctx, &runtimev1.ContainerStatusRequest{ContainerId: id, Verbose: true})
	if err != nil {
		return factv1.Container{}, missing(err)
	}
	s := resp.GetStatus()
	if s.GetId() != id { // runtimes take the beginning of an id for it
		return factv1.Container{}, errNotFound
	}
	f := factv1.Container{Runtime: c.runtime, Name: s.GetMetadata().GetName(), Labels: s.GetLabels(), Started: s.GetStartedAt()}
	image(&f, s.GetImage(), s.GetImageRef(), s.GetImageId())
	for _, m := range s.GetMounts() {
		f.Mounts = append(f.Mounts, factv1.Mount{Source: m.GetHostPath(), Dest: m.GetContainerPath(), Writable: !m.GetReadonly(), Propagation: criPropagation(m.GetPropagation())})
	}
	setPod(&f, s.GetLabels())
	setPod(&f, s.GetAnnotations())
	info := readCRIInfo(resp.GetInfo())
	f.SandboxID, f.Env, f.Privileged = info.SandboxID, envNames(info.RuntimeSpec.Process.Env), info.privileged()
	if f.SandboxID == "" {
		f.SandboxID = first(info.RuntimeSpec.Annotations, sandboxKeys)
	}
	if len(info.RuntimeSpec.Linux.Namespaces) > 0 {
		of := info.RuntimeSpec.fact(id)
		// A container of a pod joins namespaces by path: only those that are not named at all are the host's.
		f.HostPID, f.HostNetwork, f.HostIPC = of.HostPID, of.HostNetwork, of.HostIPC
	}
	if f.SandboxID != "" {
		if pod, err := c.sandbox(ctx, f.SandboxID); err == nil {
			f.PodLabels, f.IP, f.CNI = pod.PodLabels, pod.IP, pod.CNI
			setFromPod(&f, &pod)
		}
	}
	return f, nil
}

func setFromPod(f, pod *factv1.Container) {
	if f.PodName == "" {
		f.PodName, f.PodNamespace = pod.PodName, pod.PodNamespace
	}
	if f.PodUID == "" {
		f.PodUID = pod.PodUID
	}
	if f.ServiceAccount == "" {
		f.ServiceAccount = pod.ServiceAccount
	}
	f.HostNetwork, f.HostPID, f.HostIPC = f.HostNetwork || pod.HostNetwork, f.HostPID || pod.HostPID, f.HostIPC || pod.HostIPC
}

// image fills the image's columns: what the pod asked for, and what the runtime made of it, an id or a name with a digest.
func image(f *factv1.Container, spec *runtimev1.ImageSpec, ref, id string) {
	name := spec.GetUserSpecifiedImage()
	if repo, _, _ := factv1.SplitImage(name); repo == "" {
		name = spec.GetImage()
	}
	for _, s := range []string{id, spec.GetImage(), ref} {
		if f.ImageID == "" {
			f.ImageID = imageID(s)
		}
	}
	if repo, _, digest := factv1.SplitImage(ref); repo != "" {
		f.ImageDigest = digest
		if r, _, _ := factv1.SplitImage(name); r == "" { // only ids were named
			name = ref
		}
	}
	f.SetImage(name)
}

func (c *criConn) sandbox(ctx context.Context, id string) (factv1.Container, error) {
	resp, err := c.api.PodSandboxStatus(ctx, &runtimev1.PodSandboxStatusRequest{PodSandboxId: id, Verbose: true})
	if err != nil {
		return factv1.Container{}, missing(err)
	}
	s := resp.GetStatus()
	if s.GetId() != id {
		return factv1.Container{}, errNotFound
	}
	m := s.GetMetadata()
	f := factv1.Container{
		Runtime: c.runtime, Name: m.GetName(), Sandbox: true, SandboxID: id, PodName: m.GetName(), PodNamespace: m.GetNamespace(), PodUID: m.GetUid(),
		Labels: s.GetLabels(), PodLabels: s.GetLabels(), Started: s.GetCreatedAt(), IP: s.GetNetwork().GetIp(),
	}
	setPod(&f, s.GetAnnotations())
	o := s.GetLinux().GetNamespaces().GetOptions()
	f.HostNetwork, f.HostPID, f.HostIPC = o.GetNetwork() == runtimev1.NamespaceMode_NODE, o.GetPid() == runtimev1.NamespaceMode_NODE, o.GetIpc() == runtimev1.NamespaceMode_NODE
	info := readCRIInfo(resp.GetInfo())
	f.Image = info.Image
	f.Privileged = info.privileged()
	if len(info.CNIResult) > 0 && string(info.CNIResult) != "null" {
		f.CNI = string(info.CNIResult)
	}
	return f, nil
}

// criInfo is what runtimes add to a status when asked to be verbose, as JSON.
type criInfo struct {
	SandboxID string          `json:"sandboxID"`
	Image     string          `json:"image"`
	CNIResult json.RawMessage `json:"cniResult"`
	// Privileged is CRI-O's.
	Privileged *bool `json:"privileged"`
	Config     struct {
		Linux struct {
			SecurityContext struct {
				Privileged *bool `json:"privileged"`
			} `json:"security_context"`
		} `json:"linux"`
	} `json:"config"`
	RuntimeSpec spec `json:"runtimeSpec"`
}

func readCRIInfo(info map[string]string) criInfo {
	var out criInfo
	_ = json.Unmarshal([]byte(info["info"]), &out) // what it does not say stays empty
	return out
}

// privileged is nil if the runtime did not say.
func (i *criInfo) privileged() *bool {
	if p := i.Config.Linux.SecurityContext.Privileged; p != nil {
		return p
	}
	if i.Privileged != nil {
		return i.Privileged
	}
	if len(i.RuntimeSpec.Process.Capabilities.Bounding) > 0 {
		p := i.RuntimeSpec.privileged()
		return &p
	}
	return nil
}

func criPropagation(p runtimev1.MountPropagation) string {
	switch p {
	case runtimev1.MountPropagation_PROPAGATION_PRIVATE:
		return "private"
	case runtimev1.MountPropagation_PROPAGATION_HOST_TO_CONTAINER:
		return "rslave"
	case runtimev1.MountPropagation_PROPAGATION_BIDIRECTIONAL:
		return "rshared"
	}
	return "unknown"
}
