package container

import (
	"slices"
	"strings"

	"github.com/gyre-sec/gyre/schemas/factv1"
)

// merge fills what c does not have yet from p.
func merge(c, p *factv1.Container) {
	for _, x := range [...]struct {
		to   *string
		from string
	}{
		{&c.Runtime, p.Runtime},
		{&c.Name, p.Name},
		{&c.ImageDigest, p.ImageDigest},
		{&c.ImageID, p.ImageID},
		{&c.IP, p.IP},
		{&c.CNI, p.CNI},
		{&c.SandboxID, p.SandboxID},
		{&c.PodName, p.PodName},
		{&c.PodNamespace, p.PodNamespace},
		{&c.PodUID, p.PodUID},
		{&c.ServiceAccount, p.ServiceAccount},
	} {
		if *x.to == "" {
			*x.to = x.from
		}
	}
	if c.Image == "" { // a repository and a tag belong to their image
		c.Image, c.ImageRepo, c.ImageTag = p.Image, p.ImageRepo, p.ImageTag
	}
	if c.Privileged == nil {
		c.Privileged = p.Privileged
	}
	if c.Started == 0 {
		c.Started = p.Started
	}
	if c.Labels == nil {
		c.Labels = p.Labels
	}
	if c.PodLabels == nil {
		c.PodLabels = p.PodLabels
	}
	if c.Mounts == nil {
		c.Mounts = p.Mounts
	}
	if c.Env == nil {
		c.Env = p.Env
	}
	c.HostPID, c.HostNetwork, c.HostIPC = c.HostPID || p.HostPID, c.HostNetwork || p.HostNetwork, c.HostIPC || p.HostIPC
	c.Sandbox = c.Sandbox || p.Sandbox
}

// Labels with which Kubernetes runtimes mark containers.
const (
	labelContainer = "io.kubernetes.container.name"
	labelPod       = "io.kubernetes.pod.name"
	labelNamespace = "io.kubernetes.pod.namespace"
	labelPodUID    = "io.kubernetes.pod.uid"
	labelAccount   = "kubernetes.io/service-account.name"
)

// setPod fills the columns of the pod from labels.
func setPod(c *factv1.Container, labels map[string]string) {
	for _, x := range [...]struct {
		to  *string
		key string
	}{{&c.PodName, labelPod}, {&c.PodNamespace, labelNamespace}, {&c.PodUID, labelPodUID}, {&c.ServiceAccount, labelAccount}} {
		if *x.to == "" {
			*x.to = labels[x.key]
		}
	}
}

// envNames keeps the names of NAME=value, sorted and each once.
func envNames(env []string) []string {
	out := make([]string, 0, len(env))
	for _, e := range env {
		if name, _, ok := strings.Cut(e, "="); ok && name != "" {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// isHexID tells whether id is one of those that runtimes make: 64 hexadecimal digits.
func isHexID(id string) bool {
	return len(id) == 64 && strings.Trim(id, "0123456789abcdef") == ""
}

// imageID drops the algorithm.
func imageID(s string) string {
	if _, rest, ok := strings.Cut(s, ":"); ok {
		s = rest
	}
	if !isHexID(s) {
		return ""
	}
	return s
}
