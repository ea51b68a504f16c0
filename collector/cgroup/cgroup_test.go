package cgroup

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	id  = "3f1c9a7be0d24c55a1f0b7d3c526a1e4f0e9d531c2f3a4b5c6d7e8f901234567"
	id2 = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
	uid = "8dbc0f3a-7b4e-4e7d-8c3e-1d2f3a4b5c6d"
	und = "8dbc0f3a_7b4e_4e7d_8c3e_1d2f3a4b5c6d"
)

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		name, path string
		want       Container
	}{
		{"docker systemd", "/system.slice/docker-" + id + ".scope", Container{id, Docker, ""}},
		{"docker cgroupfs", "/docker/" + id, Container{id, Docker, ""}},
		{"docker, systemd inside", "/docker/" + id + "/system.slice/ssh.service", Container{id, Docker, ""}},
		{"docker, own parent", "/batch/" + id, Container{id, OCI, ""}},
		{"docker under kubernetes", "/kubepods.slice/kubepods-pod" + und + ".slice/docker-" + id + ".scope", Container{id, Docker, uid}},
		{"ecs", "/ecs/cluster/0123456789abcdef0123456789abcdef/" + id, Container{id, Docker, ""}},
		{"fargate", "/ecs/0123456789abcdef0123456789abcdef/0123456789abcdef0123456789abcdef-1234567890", Container{"0123456789abcdef0123456789abcdef-1234567890", Containerd, ""}},
		{"containerd systemd", "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" + und + ".slice/cri-containerd-" + id + ".scope", Container{id, Containerd, uid}},
		{"containerd cgroupfs", "/kubepods/burstable/pod" + uid + "/" + id, Container{id, Containerd, uid}},
		{"containerd guaranteed", "/kubepods/pod" + uid + "/" + id, Container{id, Containerd, uid}},
		{"static pod", "/kubepods/burstable/pod0123456789abcdef0123456789abcdef/" + id, Container{id, Containerd, "0123456789abcdef0123456789abcdef"}},
		{"containerd colons", "/system.slice/containerd.service/kubepods-burstable-pod" + und + ".slice:cri-containerd:" + id, Container{id, Containerd, ""}},
		{"nerdctl", "/system.slice/nerdctl-" + id + ".scope", Container{id, Containerd, ""}},
		{"nerdctl cgroupfs", "/default/" + id, Container{id, Containerd, ""}},
		{"kind: inner wins", "/system.slice/docker-" + id2 + ".scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod" + und + ".slice/cri-containerd-" + id + ".scope", Container{id, Containerd, uid}},
		{"crio", "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + und + ".slice/crio-" + id + ".scope", Container{id, CRIO, uid}},
		{"crio with container group", "/kubepods.slice/kubepods-pod" + und + ".slice/crio-" + id + ".scope/container", Container{id, CRIO, uid}},
		{"crio cgroupfs", "/kubepods/pod" + uid + "/crio-" + id, Container{id, CRIO, uid}},
		{"podman", "/machine.slice/libpod-" + id + ".scope", Container{id, Podman, ""}},
		{"podman with container group", "/machine.slice/libpod-" + id + ".scope/container", Container{id, Podman, ""}},
		{"podman in pod", "/machine.slice/machine-libpod_pod_" + id2 + ".slice/libpod-" + id + ".scope/container", Container{id, Podman, ""}},
		{"podman rootless", "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" + id + ".scope/container", Container{id, Podman, ""}},
		{"podman service", "/system.slice/web.service/libpod-payload-" + id, Container{id, Podman, ""}},
		{"podman cgroupfs", "/libpod_parent/libpod-" + id, Container{id, Podman, ""}},
		{"nspawn scope", `/machine.slice/machine-deb\x2d12.scope`, Container{"deb-12", Nspawn, ""}},
		{"nspawn service", "/machine.slice/systemd-nspawn@deb.service/payload/init.scope", Container{"deb", Nspawn, ""}},
		{"libvirt lxc", `/machine.slice/machine-lxc\x2d42\x2dweb.scope`, Container{"lxc-42-web", LXC, ""}},
		{"lxc v1", "/lxc/web/user.slice", Container{"web", LXC, ""}},
		{"lxc v2", "/lxc.payload.web/system.slice/cron.service", Container{"web", LXC, ""}},
		{"lxc payload dir", "/lxc.payload/web", Container{"web", LXC, ""}},
		{"runc systemd", "/system.slice/runc-job7.scope", Container{"job7", Runc, ""}},
		{"root", "/", Container{}},
		{"empty", "", Container{}},
		{"session", "/user.slice/user-1000.slice/session-3.scope", Container{}},
		{"docker daemon", "/system.slice/docker.service", Container{}},
		{"kubelet", "/system.slice/kubelet.service", Container{}},
		{"pod without container", "/kubepods/burstable/pod" + uid, Container{}},
		{"podman monitor", "/machine.slice/libpod-conmon-" + id + ".scope", Container{}},
		{"crio monitor", "/system.slice/crio-conmon-" + id + ".scope", Container{}},
		{"lxc monitor", "/lxc.monitor.web", Container{}},
		{"virtual machine", `/machine.slice/machine-qemu\x2d1\x2dvm.scope`, Container{}},
		{"63 digits", "/docker/" + id[1:], Container{}},
		{"upper case", "/docker/" + "A" + id[1:], Container{}},
		{"bad escape stays", `/machine.slice/machine-a\xzz.scope`, Container{`a\xzz`, Nspawn, ""}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := Parse(tt.path)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("Parse(%q) (-want +got):\n%s", tt.path, diff)
			}
			if ok != (tt.want.ID != "") {
				t.Errorf("Parse(%q) ok = %v", tt.path, ok)
			}
		})
	}
}

func TestFromProc(t *testing.T) {
	for _, tt := range []struct{ name, content, want string }{
		{"v2", "0::/user.slice/user-0.slice\n", "/user.slice/user-0.slice"},
		{"v1 some controllers", "12:pids:/docker/" + id + "\n11:rdma:/\n0::/\n", "/docker/" + id},
		{"v1 container not first", "12:rdma:/\n11:pids:/docker/" + id + "\n", "/docker/" + id},
		{"hybrid host", "5:cpu:/user.slice\n0::/init.scope\n", "/init.scope"},
		{"v1 only", "5:cpu:/user.slice\n4:rdma:/\n", "/user.slice"},
		{"root", "0::/\n", "/"},
		{"nothing", "", ""},
	} {
		if got := FromProc(tt.content); got != tt.want {
			t.Errorf("%s: FromProc = %q, want %q", tt.name, got, tt.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("/kubepods/pod" + uid + "/" + id)
	f.Add(`/machine.slice/machine-deb\x2d12.scope`)
	f.Fuzz(func(t *testing.T, path string) {
		c, ok := Parse(path)
		if ok != (c.ID != "" && c.Runtime != "") {
			t.Errorf("Parse(%q) = %+v, %v", path, c, ok)
		}
		FromProc(path)
	})
}
