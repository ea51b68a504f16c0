package ruletest

import (
	"strings"

	"github.com/gyre-sec/gyre/schemas/eventv1"
	"github.com/gyre-sec/gyre/schemas/factv1"
)

// Facts are those of a process's container. A case without them is about a container whose facts did not come.
type Facts struct {
	Name       string   `yaml:"name"`
	Image      string   `yaml:"image"`
	Runtime    string   `yaml:"runtime"`
	Privileged bool     `yaml:"privileged"`
	Labels     []string `yaml:"labels"` // NAME=value
	Mounts     []string `yaml:"mounts"` // source:place, writable; source:place:ro
	Pod        string   `yaml:"pod"`
	Namespace  string   `yaml:"namespace"`
}

func containerRow(b *eventv1.Builder, containerID string, f *Facts) int32 {
	id := b.InternString
	c := eventv1.Container{ID: id(containerID), Runtime: id("containerd")}
	if f == nil {
		return b.AddContainer(c)
	}
	if f.Runtime != "" {
		c.Runtime = id(f.Runtime)
	}
	repo, tag, digest := factv1.SplitImage(f.Image)
	c.Name, c.Image, c.ImageRepo, c.ImageTag, c.ImageDigest = id(f.Name), id(f.Image), id(repo), id(tag), id(digest)
	c.PodName, c.PodNamespace, c.Flags, c.Privileged = id(f.Pod), id(f.Namespace), eventv1.ContainerKnown, eventv1.No
	if f.Privileged {
		c.Privileged = eventv1.Yes
	}
	for _, l := range f.Labels {
		k, v, _ := strings.Cut(l, "=")
		c.Labels = append(c.Labels, eventv1.Label{Key: id(k), Value: id(v)})
	}
	for _, m := range f.Mounts {
		source, rest, _ := strings.Cut(m, ":")
		dest, mode, _ := strings.Cut(rest, ":")
		c.Mounts = append(c.Mounts, eventv1.ContainerMount{Source: id(source), Dest: id(dest), Mode: id(mode), Writable: mode != "ro"})
	}
	return b.AddContainer(c)
}
