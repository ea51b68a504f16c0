package eventv1

import "github.com/gyre-sec/gyre/schemas/wire"

// Tri is a fact that may be unknown.
type Tri uint8

// The values of a [Tri].
const (
	Unknown Tri = iota
	No
	Yes
)

// ContainerFlag tells about a container row.
type ContainerFlag uint32

// The container flags.
const (
	// ContainerIncomplete: facts about the container did not arrive in time.
	ContainerIncomplete ContainerFlag = 1 << iota
	// ContainerKnown: its facts were added; a column that is empty is empty, not unknown.
	ContainerKnown
	// ContainerHostPID, ContainerHostNetwork and ContainerHostIPC: it shares the host's namespace.
	ContainerHostPID
	ContainerHostNetwork
	ContainerHostIPC
	// ContainerSandbox: it only holds the namespaces of a pod.
	ContainerSandbox
)

// ContainerMount is a file system or directory that a container sees at Dest.
type ContainerMount struct {
	Source, Dest, Mode, Propagation StrID
	Writable                        bool
}

// Container is a row of the container table. The collector knows the id and
// runtime from the cgroup; enrichment fills the rest.
type Container struct {
	// ID is the full id, Runtime such as "docker" or "containerd".
	ID, Runtime                                   StrID
	Name, Image, ImageRepo, ImageTag, ImageDigest StrID
	Privileged                                    Tri
	Flags                                         ContainerFlag
	// Start in nanoseconds since the Unix epoch, 0 if unknown.
	Start                           int64
	PodName, PodNamespace, PodUID   StrID
	Workload, WorkloadKind, Service StrID
	Labels, PodLabels               []Label

	// What follows came after the first release.

	ImageID, IP, CNI          StrID
	SandboxID, ServiceAccount StrID
	Mounts                    []ContainerMount
	// Env are names of environment variables.
	Env []StrID
}

// The numbers of elements that this release writes; the first one wrote containerMin.
const (
	containerMin = 18
	containerLen = 25
	mountLen     = 5
)

func (c *Container) encode(e *wire.Encoder) {
	e.Array(containerLen)
	ids(e, c.ID, c.Runtime, c.Name, c.Image, c.ImageRepo, c.ImageTag, c.ImageDigest)
	e.Uint(uint64(c.Privileged))
	e.Uint(uint64(c.Flags))
	e.Int(c.Start)
	ids(e, c.PodName, c.PodNamespace, c.PodUID, c.Workload, c.WorkloadKind, c.Service)
	encodeLabels(e, c.Labels)
	encodeLabels(e, c.PodLabels)
	ids(e, c.ImageID, c.IP, c.CNI, c.SandboxID, c.ServiceAccount)
	e.Array(len(c.Mounts))
	for i := range c.Mounts {
		m := &c.Mounts[i]
		e.Array(mountLen)
		ids(e, m.Source, m.Dest, m.Mode, m.Propagation)
		e.Bool(m.Writable)
	}
	encodeList(e, c.Env)
}

func (x *Decoder) container(c *Container) {
	d := x.d
	n := x.row("container", containerMin)
	c.ID, c.Runtime, c.Name, c.Image = x.str(), x.str(), x.str(), x.str()
	c.ImageRepo, c.ImageTag, c.ImageDigest = x.str(), x.str(), x.str()
	p := d.Uint()
	if c.Privileged = Tri(min(p, uint64(Yes))); p > uint64(Yes) {
		d.Fail("privileged is %d, want 0, 1 or 2", p)
	}
	c.Flags, c.Start = ContainerFlag(d.Uint32()), d.Int()
	c.PodName, c.PodNamespace, c.PodUID = x.str(), x.str(), x.str()
	c.Workload, c.WorkloadKind, c.Service = x.str(), x.str(), x.str()
	c.Labels = x.labels(c.Labels[:0])
	c.PodLabels = x.labels(c.PodLabels[:0])
	c.ImageID, c.IP, c.CNI, c.SandboxID, c.ServiceAccount = 0, 0, 0, 0, 0
	c.Mounts, c.Env = c.Mounts[:0], c.Env[:0]
	if n < containerLen { // of the first release, or of one between
		d.Skip(n - containerMin)
		return
	}
	c.ImageID, c.IP, c.CNI, c.SandboxID, c.ServiceAccount = x.str(), x.str(), x.str(), x.str(), x.str()
	for range d.Array("mounts", maxList) {
		m := x.row("mount", mountLen)
		c.Mounts = append(c.Mounts, ContainerMount{Source: x.str(), Dest: x.str(), Mode: x.str(), Propagation: x.str(), Writable: d.Bool()})
		d.Skip(m - mountLen)
	}
	c.Env = x.list(c.Env, "env")
	d.Skip(n - containerLen)
}
