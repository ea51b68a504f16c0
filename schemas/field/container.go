package field

import (
	"strings"

	"github.com/gyre-sec/gyre/schemas/eventv1"
)

// host is what Falco calls the container of processes that are in none.
const host = "host"

// known tells whether the facts of the container are there; those of the host always are.
func (v *View) known() (c *eventv1.Container, ok bool) {
	if v.p == nil {
		return nil, false
	}
	c = v.container()
	return c, c == nil && v.p.Container < 0 || c != nil && c.Flags&eventv1.ContainerKnown != 0
}

// ctrFlag is false for processes of the host, and absent as long as the container's facts are.
func ctrFlag(name, doc string, flag eventv1.ContainerFlag) Field {
	return boolean(name, FromContainer, doc, func(v *View) (bool, bool) {
		c, ok := v.known()
		return c != nil && c.Flags&flag != 0, ok
	})
}

// ctrList is absent where it would be empty.
func ctrList(name, doc string, get func(*eventv1.Batch, *eventv1.Container) []string) Field {
	return list(name, FromContainer, doc, func(v *View) ([]string, bool) {
		c := v.container()
		if c == nil {
			return nil, false
		}
		out := get(v.b, c)
		return out, len(out) > 0
	})
}

// ctrJoined is "" for a container whose facts are there and have nothing.
func ctrJoined(name, doc string, get func(*eventv1.Batch, *eventv1.Container) string) Field {
	return str(name, FromContainer, doc, func(v *View) (string, bool) {
		c, ok := v.known()
		if c == nil {
			return "", ok
		}
		s := get(v.b, c)
		return s, ok || s != ""
	})
}

func mountText(b *eventv1.Batch, m *eventv1.ContainerMount) string {
	return b.Text(m.Source) + ":" + b.Text(m.Dest) + ":" + b.Text(m.Mode) + ":" + trueFalse(m.Writable) + ":" + b.Text(m.Propagation)
}

func trueFalse(is bool) string {
	if is {
		return "true"
	}
	return "false"
}

func ctrMounts(name, doc string, get func(*eventv1.Batch, *eventv1.ContainerMount) string) Field {
	return ctrList(name, doc+", one for each mount", func(b *eventv1.Batch, c *eventv1.Container) []string {
		out := make([]string, len(c.Mounts))
		for i := range c.Mounts {
			out[i] = get(b, &c.Mounts[i])
		}
		return out
	})
}

func labelList(b *eventv1.Batch, labels []eventv1.Label) []string {
	out := make([]string, len(labels))
	for i, l := range labels {
		out[i] = b.Text(l.Key) + "=" + b.Text(l.Value)
	}
	return out
}

// labelText is key:value of the labels that people set, as Falco has it.
func labelText(b *eventv1.Batch, labels []eventv1.Label) string {
	var out strings.Builder
	for _, l := range labels {
		key, value := b.Text(l.Key), b.Text(l.Value)
		if strings.HasPrefix(key, "annotation.") || strings.HasPrefix(key, "io.kubernetes.") {
			continue
		}
		if out.Len() > 0 {
			out.WriteString(", ")
		}
		out.WriteString(key)
		if value != "" {
			out.WriteString(":" + value)
		}
	}
	return out.String()
}

// start is when the container began: what its runtime says, else the start of the first process of its pid namespace.
func (v *View) start() (int64, bool) {
	c := v.container()
	if c == nil {
		return 0, false
	}
	for row, n := v.e.Proc, 0; n <= len(v.b.Procs); n++ {
		p := v.b.Proc(row)
		if p == nil || p.Container != v.p.Container {
			break
		}
		if p.VPID == 1 && p.PidNS == v.p.PidNS && p.PID != 1 {
			return v.b.BootTime + p.Start, true
		}
		row = p.Parent
	}
	return c.Start, c.Start != 0
}

// moreContainerFields are those that need more than a column of the container's row.
func moreContainerFields() []Field {
	text := func(get func(*eventv1.Container) eventv1.StrID) func(*eventv1.Batch, *eventv1.Container) string {
		return func(b *eventv1.Batch, c *eventv1.Container) string { return b.Text(get(c)) }
	}
	return []Field{
		ctrJoined("container.image.id", "id of the image's configuration", text(func(c *eventv1.Container) eventv1.StrID { return c.ImageID })),
		ctrJoined("container.ip", "address of the container or of its pod", text(func(c *eventv1.Container) eventv1.StrID { return c.IP })),
		ctrJoined("container.cni.json", "result of the pod's network plugin, as JSON", text(func(c *eventv1.Container) eventv1.StrID { return c.CNI })),
		ctrFlag("container.host_pid", "the container shares the host's pid namespace", eventv1.ContainerHostPID),
		ctrFlag("container.host_network", "the container shares the host's network namespace", eventv1.ContainerHostNetwork),
		ctrFlag("container.host_ipc", "the container shares the host's IPC namespace", eventv1.ContainerHostIPC),
		num("container.start_ts", FromContainer, "start of the container, nanoseconds since the Unix epoch", func(v *View) (int64, bool) { return v.start() }),
		num("container.duration", FromContainer, "age of the container at the time of the event, nanoseconds", func(v *View) (int64, bool) {
			s, ok := v.start()
			return v.e.Time - s, ok
		}),
		ctrJoined("container.mounts", "mounts, source:dest:mode:writable:propagation each, separated by commas", func(b *eventv1.Batch, c *eventv1.Container) string {
			parts := make([]string, len(c.Mounts))
			for i := range c.Mounts {
				parts[i] = mountText(b, &c.Mounts[i])
			}
			return strings.Join(parts, ",")
		}),
		ctrMounts("container.mount", "source:dest:mode:writable:propagation", mountText),
		ctrMounts("container.mount.source", "what is mounted", func(b *eventv1.Batch, m *eventv1.ContainerMount) string { return b.Text(m.Source) }),
		ctrMounts("container.mount.dest", "where the container sees it", func(b *eventv1.Batch, m *eventv1.ContainerMount) string { return b.Text(m.Dest) }),
		ctrMounts("container.mount.mode", "mode of the mount, such as ro or z", func(b *eventv1.Batch, m *eventv1.ContainerMount) string { return b.Text(m.Mode) }),
		ctrMounts("container.mount.rdwr", "true if the container may write to it, else false", func(_ *eventv1.Batch, m *eventv1.ContainerMount) string { return trueFalse(m.Writable) }),
		ctrMounts("container.mount.propagation", "propagation of the mount, such as rprivate", func(b *eventv1.Batch, m *eventv1.ContainerMount) string { return b.Text(m.Propagation) }),
		ctrList("container.env", "names of the variables in the environment that the container was given", func(b *eventv1.Batch, c *eventv1.Container) []string {
			out := make([]string, len(c.Env))
			for i, id := range c.Env {
				out[i] = b.Text(id)
			}
			return out
		}),
		ctrList("container.label", "labels of the container, NAME=value", func(b *eventv1.Batch, c *eventv1.Container) []string { return labelList(b, c.Labels) }),
		ctrJoined("container.labels", "labels of the container, name:value, but those of Kubernetes", func(b *eventv1.Batch, c *eventv1.Container) string { return labelText(b, c.Labels) }),
		list("k8s.pod.label", FromContainer, "labels of the pod, NAME=value", func(v *View) ([]string, bool) {
			l := labelList(v.b, v.podLabels())
			return l, len(l) > 0
		}),
		str("k8s.pod.labels", FromContainer, "labels of the pod, name:value, but those of Kubernetes itself", func(v *View) (string, bool) {
			s := labelText(v.b, v.podLabels())
			return s, s != ""
		}),
		ctrStr("k8s.pod.full_sandbox_id", "id of the container that holds the pod's namespaces", func(c *eventv1.Container) eventv1.StrID { return c.SandboxID }),
		str("k8s.pod.sandbox_id", FromContainer, "first 12 characters of the id of the container that holds the pod's namespaces", func(v *View) (string, bool) {
			c := v.container()
			if c == nil {
				return "", false
			}
			id := v.b.Text(c.SandboxID)
			return id[:min(12, len(id))], id != ""
		}),
		str("k8s.pod.ip", FromContainer, "address of the pod", func(v *View) (string, bool) {
			if p := v.pod(); p != nil && p.IP != 0 {
				return v.text(p.IP)
			}
			c := v.container()
			if c == nil || c.SandboxID == 0 {
				return "", false
			}
			return v.text(c.IP)
		}),
		ctrStr("k8s.pod.cni.json", "result of the pod's network plugin, as JSON", func(c *eventv1.Container) eventv1.StrID {
			if c.SandboxID == 0 {
				return 0
			}
			return c.CNI
		}),
		str("k8s.pod.service_account", FromContainer, "service account of the pod, if the cluster or the pod's annotations say it", func(v *View) (string, bool) {
			if p := v.pod(); p != nil && p.ServiceAccount != 0 {
				return v.text(p.ServiceAccount)
			}
			c := v.container()
			if c == nil {
				return "", false
			}
			return v.text(c.ServiceAccount)
		}),
	}
}

// podLabels are the pod's labels as the cluster has them, else as the node's container runtime does.
func (v *View) podLabels() []eventv1.Label {
	if p := v.pod(); p != nil && len(p.Labels) > 0 {
		return p.Labels
	}
	if c := v.container(); c != nil {
		return c.PodLabels
	}
	return nil
}
