// Package cgroup reads the container of a process from the path of its control
// group, on both hierarchies (v1 and v2), for docker, containerd, CRI-O, podman,
// systemd-nspawn, LXC and what they make under Kubernetes.
//
// It is pure string work and safe for concurrent use. A container inside a
// container is the inner one. Monitors such as conmon, which run beside a
// container and carry its id in their group's name, are not in it.
package cgroup

import "strings"

// The runtimes.
const (
	Docker     = "docker"
	Containerd = "containerd"
	CRIO       = "cri-o"
	Podman     = "podman"
	Nspawn     = "systemd-nspawn"
	LXC        = "lxc"
	Runc       = "runc"
	// OCI is some runtime that names groups by 64 hexadecimal digits and says no more.
	OCI = "oci"
)

// Container is what a path says.
type Container struct {
	// ID is the full id: 64 hexadecimal digits, or the name of a machine (systemd-nspawn, LXC).
	ID      string
	Runtime string
	// PodUID is the Kubernetes pod's uid, "" outside of pods.
	PodUID string
}

// prefix is a form such as docker-<id>.scope.
type prefix struct {
	text    string
	runtime string // "": not a container, a process beside one
	named   bool   // the id is a name, not 64 digits
}

// prefixes is searched in order: longer ones stand before their beginnings.
var prefixes = [...]prefix{
	{"docker-", Docker, false},
	{"cri-containerd-", Containerd, false},
	{"containerd-", Containerd, false},
	{"nerdctl-", Containerd, false},
	{"crio-conmon-", "", false},
	{"crio-", CRIO, false},
	{"libpod-conmon-", "", false},
	{"libpod-payload-", Podman, false},
	{"libpod-", Podman, false},
	{"podman-", Podman, false},
	{"runc-", Runc, true},
	{"lxc.monitor.", "", true},
	{"lxc.payload.", LXC, true},
}

// Parse finds the container in a path such as
// /system.slice/docker-<id>.scope; ok is false for a process of the host.
func Parse(path string) (c Container, ok bool) {
	for end := len(path); end > 0; {
		slash := strings.LastIndexByte(path[:end], '/')
		name, parents := path[slash+1:end], path[:max(slash, 0)]
		end = max(slash, 0)
		if name == "" {
			continue
		}
		id, runtime, found := element(name, parents)
		if !found {
			continue
		}
		if runtime == "" {
			return Container{}, false
		}
		return Container{ID: id, Runtime: runtime, PodUID: podUID(parents)}, true
	}
	return Container{}, false
}

// element reads one path element; found with an empty runtime means that the process is beside a container.
func element(name, parents string) (id, runtime string, found bool) {
	if isID(name) {
		return name, bareRuntime(parents), true
	}
	// containerd without the systemd driver below systemd slices: <slice>:cri-containerd:<id>.
	if i := strings.LastIndexByte(name, ':'); i >= 0 && isID(name[i+1:]) {
		rest := name[:i]
		return name[i+1:], colonRuntime(rest[strings.LastIndexByte(rest, ':')+1:]), true
	}
	unit := strings.TrimSuffix(name, ".scope")
	for i := range prefixes {
		p := &prefixes[i]
		rest, match := strings.CutPrefix(unit, p.text)
		if !match || rest == "" {
			continue
		}
		if isID(rest) || p.named && (p.runtime != Runc || unit != name) {
			return rest, p.runtime, true
		}
	}
	if rest, match := strings.CutPrefix(name, "machine-"); match && unit != name {
		return machine(rest[:len(rest)-len(".scope")])
	}
	if rest, match := strings.CutPrefix(name, "systemd-nspawn@"); match {
		if rest, match = strings.CutSuffix(rest, ".service"); match && rest != "" {
			return unescape(rest), Nspawn, true
		}
	}
	switch parent := last(parents); {
	case parent == "lxc" || parent == "lxc.payload":
		return name, LXC, true
	case isFargate(name) && strings.Contains(parents, "/ecs"):
		return name, Containerd, true
	}
	return "", "", false
}

// machine reads a scope of systemd-machined: virtual machines are no containers; libvirt's LXC driver names its own lxc-<n>-<name>.
func machine(escaped string) (id, runtime string, found bool) {
	name := unescape(escaped)
	switch {
	case name == "" || strings.HasPrefix(name, "qemu-"):
		return "", "", false
	case strings.HasPrefix(name, "lxc-"):
		return name, LXC, true
	default:
		return name, Nspawn, true
	}
}

// bareRuntime names the runtime of a group that is only an id, from the groups above it.
func bareRuntime(parents string) string {
	switch parent := last(parents); {
	case parent == "docker" || parent == "actions_job":
		return Docker
	case strings.HasPrefix(parent, "libpod"):
		return Podman
	case podUID(parents) != "" || parent == "default" || parent == "k8s.io" || parent == "moby":
		return Containerd
	case strings.Contains(parents, "/ecs/"):
		return Docker
	default:
		return OCI
	}
}

func colonRuntime(s string) string {
	switch s {
	case "cri-containerd", "containerd", "nerdctl":
		return Containerd
	case "crio":
		return CRIO
	case "docker":
		return Docker
	case "libpod":
		return Podman
	default:
		return OCI
	}
}

func last(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }

// podUID finds the innermost pod<uid> element: /kubepods/burstable/pod<uid> or kubepods-burstable-pod<uid with _>.slice.
func podUID(path string) string {
	for path != "" {
		name := last(path)
		path = path[:len(path)-len(name)]
		path = strings.TrimSuffix(path, "/")
		if !strings.HasPrefix(name, "pod") && !strings.Contains(name, "kubepods") {
			continue
		}
		name = strings.TrimSuffix(name, ".slice")
		i := strings.LastIndex(name, "pod")
		uid := name[i+len("pod"):]
		if isUID(uid) {
			return strings.ReplaceAll(uid, "_", "-")
		}
	}
	return ""
}

// isUID accepts a UUID with - or _, and the 32 digits of static pods.
func isUID(s string) bool {
	if len(s) != 36 && len(s) != 32 {
		return false
	}
	for i := range len(s) {
		dash := len(s) == 36 && (i == 8 || i == 13 || i == 18 || i == 23)
		if dash && s[i] != '-' && s[i] != '_' || !dash && !isHex(s[i]) {
			return false
		}
	}
	return true
}

func isID(s string) bool {
	if len(s) != 64 {
		return false
	}
	for i := range len(s) {
		if !isHex(s[i]) {
			return false
		}
	}
	return true
}

// isFargate accepts ids of AWS Fargate: 32 digits, a dash, decimal digits.
func isFargate(s string) bool {
	if len(s) < 34 || len(s) > 44 || s[32] != '-' {
		return false
	}
	for i := range len(s) {
		if i < 32 && !isHex(s[i]) || i > 32 && (s[i] < '0' || s[i] > '9') {
			return false
		}
	}
	return true
}

func isHex(c byte) bool { return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' }

// unescape reverses systemd's \xNN in unit names.
func unescape(s string) string {
	if !strings.Contains(s, `\x`) {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) && s[i+1] == 'x' && isHex(s[i+2]) && isHex(s[i+3]) {
			out = append(out, digit(s[i+2])<<4|digit(s[i+3]))
			i += 3
			continue
		}
		out = append(out, s[i])
	}
	return string(out)
}

func digit(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c - 'a' + 10
}

// FromProc chooses the path among the lines of /proc/<pid>/cgroup: the first one
// that names a container (on v1 not every controller does), else the unified
// hierarchy's, else the first line's.
func FromProc(content string) string {
	first, unified := "", ""
	for line := range strings.SplitSeq(content, "\n") {
		num, rest, ok := strings.Cut(line, ":")
		if !ok {
			continue
		}
		_, path, ok := strings.Cut(rest, ":")
		if !ok {
			continue
		}
		if _, is := Parse(path); is {
			return path
		}
		if first == "" {
			first = path
		}
		if num == "0" {
			unified = path
		}
	}
	if unified != "" && unified != "/" {
		return unified
	}
	if first != "" {
		return first
	}
	return unified
}
