package container

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gyre-sec/gyre/schemas/factv1"
)

// bundles reads the OCI bundles that runtimes keep on disk while a container is there: they tell what no interface
// needs to be asked for, also of containers that were started with runc alone.
type bundles struct{ dirs []string }

func (*bundles) name() string { return "bundle" }

func (b *bundles) list(context.Context) ([]string, error) { return listDirs(b.dirs) }

// listDirs lists the directories that are named like containers.
func listDirs(patterns []string) ([]string, error) {
	var ids []string
	for _, dir := range present(patterns) {
		entries, err := os.ReadDir(dir)
		if err != nil && !os.IsNotExist(err) {
			return ids, err
		}
		for _, e := range entries {
			if e.IsDir() && isHexID(e.Name()) {
				ids = append(ids, e.Name())
			}
		}
	}
	return ids, nil
}

func (b *bundles) lookup(_ context.Context, id string) (factv1.Container, error) {
	s, dir, ok := b.find(id)
	if !ok {
		return factv1.Container{}, errNotFound
	}
	c := s.fact(id)
	if c.Runtime == "" && filepath.Base(dir) != id && filepath.Base(dir) != "userdata" { // found through runc's own state
		c.Runtime = "runc"
	}
	return c, nil
}

// find reads the specification of a container and tells where it lies.
func (b *bundles) find(id string) (s *spec, bundle string, ok bool) {
	if !isHexID(id) {
		return nil, "", false
	}
	for _, dir := range present(b.dirs) {
		dir = filepath.Join(dir, id)
		for _, bundle := range []string{dir, filepath.Join(dir, "userdata"), ociState(dir)} {
			if bundle == "" {
				continue
			}
			s := &spec{}
			if readJSON(filepath.Join(bundle, "config.json"), s) == nil {
				return s, bundle, true
			}
		}
	}
	return nil, "", false
}

// root is the container's root directory as the host sees it, "" if it is not known.
func (b *bundles) root(id string) string {
	s, bundle, ok := b.find(id)
	switch {
	case !ok || s.Root.Path == "":
		return ""
	case filepath.IsAbs(s.Root.Path):
		return s.Root.Path
	}
	return filepath.Join(bundle, s.Root.Path)
}

// ociState finds the bundle in the state that runc (state.json) and crun (status) keep of a container.
func ociState(dir string) string {
	var runc struct {
		Config struct {
			Labels []string `json:"labels"`
		} `json:"config"`
	}
	if readJSON(filepath.Join(dir, "state.json"), &runc) == nil {
		for _, l := range runc.Config.Labels {
			if path, ok := strings.CutPrefix(l, "bundle="); ok {
				return path
			}
		}
	}
	var crun struct {
		Bundle string `json:"bundle"`
	}
	if readJSON(filepath.Join(dir, "status"), &crun) == nil {
		return crun.Bundle
	}
	return ""
}

func (b *bundles) watch(ctx context.Context, news func(string)) error {
	return watchDirs(ctx, b.dirs, news)
}

// readJSON reads a bounded regular file.
func readJSON(path string, v any) error {
	data, err := readFile(path, maxAnswer)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}

// readFile does not wait for what is not a regular file, and refuses large ones.
func readFile(path string, limit int64) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readOpen(f, limit)
}

func readOpen(f *os.File, limit int64) ([]byte, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > limit {
		return nil, fmt.Errorf("%s is no regular file of at most %d bytes", f.Name(), limit)
	}
	return io.ReadAll(io.LimitReader(f, limit))
}

// spec is what is read of an OCI runtime specification, config.json.
type spec struct {
	Root     struct{ Path string }
	Hostname string
	Process  struct {
		Env          []string
		Capabilities struct{ Bounding []string }
	}
	Annotations map[string]string
	Mounts      []struct {
		Destination, Type, Source string
		Options                   []string
	}
	Linux struct {
		MaskedPaths       []string
		Seccomp           json.RawMessage
		Namespaces        []struct{ Type, Path string }
		RootfsPropagation string
	}
}

// annotations that runtimes write, in the order of trust.
var (
	nameKeys      = []string{"io.kubernetes.cri.container-name", "io.kubernetes.cri-o.ContainerName", "nerdctl/name", "io.kubernetes.container.name"}
	imageKeys     = []string{"io.kubernetes.cri.image-name", "io.kubernetes.cri-o.ImageName", "org.opencontainers.image.ref.name"}
	sandboxKeys   = []string{"io.kubernetes.cri.sandbox-id", "io.kubernetes.cri-o.SandboxID"}
	podKeys       = []string{"io.kubernetes.cri.sandbox-name", "io.kubernetes.cri-o.KubeName", labelPod}
	namespaceKeys = []string{"io.kubernetes.cri.sandbox-namespace", "io.kubernetes.cri-o.Namespace", labelNamespace}
	uidKeys       = []string{"io.kubernetes.cri.sandbox-uid", "io.kubernetes.cri-o.KubeUID", labelPodUID}
	kindKeys      = []string{"io.kubernetes.cri.container-type", "io.kubernetes.cri-o.ContainerType"}
)

func first(m map[string]string, keys []string) string {
	for _, k := range keys {
		if v := m[k]; v != "" {
			return v
		}
	}
	return ""
}

func (s *spec) fact(id string) factv1.Container {
	a := s.Annotations
	c := factv1.Container{
		Name: first(a, nameKeys), SandboxID: first(a, sandboxKeys), PodName: first(a, podKeys), PodNamespace: first(a, namespaceKeys), PodUID: first(a, uidKeys),
		Sandbox: first(a, kindKeys) == "sandbox", Env: envNames(s.Process.Env), ImageDigest: digestOf(a["io.kubernetes.cri-o.ImageRef"]),
	}
	c.SetImage(first(a, imageKeys))
	if _, ok := a["nerdctl/name"]; ok || a["io.kubernetes.cri.container-type"] != "" {
		c.Runtime = "containerd"
	}
	if a["io.kubernetes.cri-o.ContainerType"] != "" {
		c.Runtime = "cri-o"
	}
	if a["io.container.manager"] == "libpod" {
		c.Runtime = "podman"
	}
	if c.Name == "" && c.Runtime == "" { // runc alone knows no other name
		c.Name = id
	}
	privileged := s.privileged()
	c.Privileged = &privileged
	own := map[string]bool{}
	for _, n := range s.Linux.Namespaces {
		own[n.Type] = true
	}
	c.HostPID, c.HostNetwork, c.HostIPC = !own["pid"], !own["network"], !own["ipc"]
	for _, m := range s.Mounts {
		if m.Type != "bind" && !has(m.Options, "bind") && !has(m.Options, "rbind") {
			continue // what every container has: proc, sysfs, tmpfs
		}
		c.Mounts = append(c.Mounts, factv1.Mount{Source: m.Source, Dest: m.Destination, Writable: !has(m.Options, "ro"), Propagation: propagation(m.Options)})
	}
	return c
}

func digestOf(ref string) string {
	_, digest, _ := strings.Cut(ref, "@")
	return digest
}

// allCapabilities is how many a privileged container has at least: those of Linux 3.16.
const allCapabilities = 37

// privileged recognises what --privileged does in all runtimes: every capability, nothing masked, no filter. Annotations
// of runtimes that say so come first.
func (s *spec) privileged() bool {
	for _, k := range []string{"io.podman.annotations.privileged", "io.kubernetes.cri-o.PrivilegedRuntime"} {
		if v, ok := s.Annotations[k]; ok {
			return strings.EqualFold(v, "true")
		}
	}
	filtered := len(s.Linux.Seccomp) > 0 && string(s.Linux.Seccomp) != "null"
	return len(s.Process.Capabilities.Bounding) >= allCapabilities && len(s.Linux.MaskedPaths) == 0 && !filtered
}

func has(options []string, o string) bool {
	return slices.Contains(options, o)
}

func propagation(options []string) string {
	for _, o := range options {
		switch o {
		case "private", "rprivate", "shared", "rshared", "slave", "rslave", "unbindable", "runbindable":
			return o
		}
	}
	return ""
}
