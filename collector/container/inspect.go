package container

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/gyre-sec/gyre/schemas/factv1"
)

// inspected is what Docker tells of a container over HTTP, and nearly what it keeps on disk.
type inspected struct {
	ID    string `json:"Id"`
	Name  string
	Image string // the id
	State struct{ StartedAt time.Time }

	Config struct {
		Image  string
		Env    []string
		Labels map[string]string
	}
	HostConfig struct {
		Privileged                    bool
		PidMode, NetworkMode, IpcMode string
	}
	Mounts          []inspectedMount
	NetworkSettings struct {
		IPAddress string
		Networks  map[string]struct{ IPAddress string }
	}
}

type inspectedMount struct {
	Source, Destination, Mode, Propagation string
	RW                                     bool
}

func (in *inspected) fact(runtime string) factv1.Container {
	c := factv1.Container{
		Runtime: runtime, Name: strings.TrimPrefix(in.Name, "/"), ImageID: imageID(in.Image), Labels: in.Config.Labels, Env: envNames(in.Config.Env),
		Privileged: &in.HostConfig.Privileged, HostPID: in.HostConfig.PidMode == "host", HostNetwork: in.HostConfig.NetworkMode == "host",
		HostIPC: in.HostConfig.IpcMode == "host", IP: in.NetworkSettings.IPAddress,
	}
	c.SetImage(in.Config.Image)
	if !in.State.StartedAt.IsZero() && in.State.StartedAt.Year() > 1970 {
		c.Started = in.State.StartedAt.UnixNano()
	}
	for _, m := range in.Mounts {
		c.Mounts = append(c.Mounts, factv1.Mount{Source: m.Source, Dest: m.Destination, Mode: m.Mode, Writable: m.RW, Propagation: m.Propagation})
	}
	slices.SortFunc(c.Mounts, func(a, b factv1.Mount) int { return cmp.Compare(a.Dest, b.Dest) })
	var networks []string
	for name := range in.NetworkSettings.Networks {
		networks = append(networks, name)
	}
	slices.Sort(networks)
	for _, n := range networks {
		if c.IP == "" {
			c.IP = in.NetworkSettings.Networks[n].IPAddress
		}
	}
	setPod(&c, in.Config.Labels)
	if c.PodName != "" && in.Config.Labels[labelContainer] != "" {
		c.Sandbox = in.Config.Labels[labelContainer] == "POD"
	}
	return c
}
