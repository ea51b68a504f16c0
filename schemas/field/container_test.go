package field_test

import (
	"testing"

	"github.com/gyre-sec/gyre/schemas/eventv1"
	"github.com/gyre-sec/gyre/schemas/field"
)

// inContainer is an event of a process of a container; its shell is the first process of its pid namespace.
func inContainer(t *testing.T, c func(id func(string) eventv1.StrID) eventv1.Container) *field.View {
	t.Helper()
	return view(t, func(b *eventv1.Builder) eventv1.Event {
		row := b.AddContainer(c(b.InternString))
		shim := b.AddProc(eventv1.Proc{PID: 4, Parent: -1, Container: -1, User: -1, LoginUser: -1, SID: 4, VPID: 4, PidNS: 1, Comm: b.InternString("shim")})
		sh := b.AddProc(eventv1.Proc{PID: 5, Parent: shim, Container: row, User: -1, LoginUser: -1, SID: 5, VPID: 1, PidNS: 2, Start: 70, Comm: b.InternString("sh")})
		cat := b.AddProc(eventv1.Proc{PID: 9, Parent: sh, Container: row, User: -1, LoginUser: -1, SID: 5, VPID: 7, PidNS: 2, Start: 80, Comm: b.InternString("cat")})
		return eventv1.Event{Kind: eventv1.Openat, Proc: cat, Ret: 3}
	})
}

func TestContainerFields(t *testing.T) {
	v := inContainer(t, func(id func(string) eventv1.StrID) eventv1.Container {
		return eventv1.Container{
			ID: id("3f1c9a7be0d24c55a1f0"), Runtime: id("containerd"), Name: id("web"), Image: id("nginx:1"), ImageRepo: id("nginx"), ImageTag: id("1"), ImageID: id("6f7e"),
			Privileged: eventv1.No, Flags: eventv1.ContainerKnown | eventv1.ContainerHostNetwork, IP: id("10.0.0.7"), SandboxID: id("5b3c9a7be0d24c55a1f0"),
			Mounts: []eventv1.ContainerMount{
				{Source: id("/proc"), Dest: id("/host/proc"), Mode: id("ro"), Propagation: id("rprivate")},
				{Source: id("/var/run/docker.sock"), Dest: id("/run/docker.sock"), Writable: true},
			},
			Labels:    []eventv1.Label{{Key: id("io.kubernetes.pod.name"), Value: id("web-0")}, {Key: id("team"), Value: id("shop")}, {Key: id("x")}},
			PodLabels: []eventv1.Label{{Key: id("app.kubernetes.io/name"), Value: id("web")}},
			Env:       []eventv1.StrID{id("PATH")},
		}
	})
	b, _ := v.Current()
	expect(t, v, map[string]any{
		"container.id": "3f1c9a7be0d2", "container.name": "web", "container.image": "nginx:1", "container.image.id": "6f7e", "container.image.digest": "",
		"container.privileged": false, "container.host_network": true, "container.host_pid": false, "container.incomplete": false,
		"container.mounts":       "/proc:/host/proc:ro:false:rprivate,/var/run/docker.sock:/run/docker.sock::true:",
		"container.mount.source": []string{"/proc", "/var/run/docker.sock"}, "container.mount.dest": []string{"/host/proc", "/run/docker.sock"},
		"container.mount.rdwr": []string{"false", "true"}, "container.label": []string{"io.kubernetes.pod.name=web-0", "team=shop", "x="},
		"container.labels": "team:shop, x", "k8s.pod.label": []string{"app.kubernetes.io/name=web"}, "k8s.pod.labels": "app.kubernetes.io/name:web",
		"container.start_ts": b.BootTime + 70, "container.env": []string{"PATH"}, "k8s.pod.sandbox_id": "5b3c9a7be0d2", "k8s.pod.ip": "10.0.0.7", "container.ip": "10.0.0.7",
		"proc.apid": []string{"9", "5", "4"}, "proc.sname": "sh",
	})
}

func TestContainerWithoutFacts(t *testing.T) {
	v := inContainer(t, func(id func(string) eventv1.StrID) eventv1.Container {
		return eventv1.Container{ID: id("3f1c9a7be0d24c55a1f0"), Runtime: id("docker"), Flags: eventv1.ContainerIncomplete}
	})
	expect(t, v, map[string]any{
		"container.id": "3f1c9a7be0d2", "container.type": "docker", "container.incomplete": true, "container.name": nil, "container.image.repository": nil,
		"container.privileged": nil, "container.mounts": nil, "container.labels": nil, "container.host_pid": nil,
	})
}

func TestHostIsAContainerOfItsOwn(t *testing.T) {
	v := view(t, func(b *eventv1.Builder) eventv1.Event {
		return eventv1.Event{Kind: eventv1.Openat, Proc: b.AddProc(eventv1.Proc{PID: 4, Parent: -1, Container: -1, User: -1, LoginUser: -1})}
	})
	expect(t, v, map[string]any{
		"container.id": "host", "container.name": "host", "container.type": "host", "container.image.repository": "", "container.privileged": false, "container.mounts": "",
		"container.mount": nil, "container.start_ts": nil, "container.incomplete": nil, "k8s.pod.name": nil,
	})
}

// TestLeaderThatIsGone: the leaders have ended and left the lineage; the eldest of their session stands for them.
func TestLeaderThatIsGone(t *testing.T) {
	v := view(t, func(b *eventv1.Builder) eventv1.Event {
		add := func(pid uint32, parent int32, sid, pgid uint32, name string) int32 {
			return b.AddProc(eventv1.Proc{PID: pid, Parent: parent, Container: -1, User: -1, LoginUser: -1, SID: sid, PGID: pgid, Comm: b.InternString(name)})
		}
		other := add(10, -1, 3, 3, "other")
		first := add(20, add(11, other, 7, 8, "eldest"), 7, 8, "first")
		return eventv1.Event{Kind: eventv1.Openat, Proc: add(30, first, 7, 9, "self")}
	})
	expect(t, v, map[string]any{"proc.sname": "eldest", "proc.pgid.name": "self"})
}
