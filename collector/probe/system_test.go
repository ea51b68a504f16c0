package probe

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/gyre-sec/gyre/schemas/eventv1"
)

func sleeper(t *testing.T) int {
	t.Helper()
	cmd := exec.Command("/bin/sleep", "100")
	must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd.Process.Pid
}

// TestProcesses makes calls that act on other processes and on what surrounds the caller.
func TestProcesses(t *testing.T) {
	c := start(t, Options{}, every()...)
	pid := sleeper(t)
	pidfd, err := unix.PidfdOpen(pid, 0)
	must(t, err)
	defer unix.Close(pidfd)
	ns, err := unix.Open("/proc/self/ns/uts", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(ns)
	var st unix.Stat_t
	must(t, unix.Fstat(ns, &st))
	dir := t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, "old"), 0o700))
	dfd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(dfd)
	alone := func(f func() int64) func() int64 { // a thread with directories of its own
		return func() int64 { sys(unix.SYS_UNSHARE, unix.CLONE_FS); return f() }
	}
	iov := make([]byte, 16) // of no bytes
	c.run(t, 0, []call{
		{eventv1.Ptrace, func() int64 { return sys(unix.SYS_PTRACE, unix.PTRACE_SEIZE, pid, 0, 0) }, []string{"pid"}, map[string]any{"request": 0x4206, "pid": pid, "addr": 0, "data": 0}},
		{eventv1.ProcessVMReadv, func() int64 { return sys(unix.SYS_PROCESS_VM_READV, pid, iov, 1, iov, 1, 0) }, []string{"pid"}, map[string]any{"pid": pid, "size": fresh}},
		{eventv1.ProcessVMWritev, func() int64 { return sys(unix.SYS_PROCESS_VM_WRITEV, pid, iov, 1, iov, 1, 0) }, []string{"pid"}, map[string]any{"pid": pid, "size": fresh}},
		{eventv1.Kill, func() int64 { return sys(unix.SYS_KILL, pid, int(unix.SIGCONT)) }, []string{"pid"}, map[string]any{"pid": pid, "sig": int(unix.SIGCONT)}},
		{eventv1.Tkill, func() int64 { return sys(unix.SYS_TKILL, pid, int(unix.SIGCONT)) }, []string{"tid"}, map[string]any{"tid": pid, "sig": int(unix.SIGCONT)}},
		{eventv1.Tgkill, func() int64 { return sys(unix.SYS_TGKILL, pid, pid, int(unix.SIGCONT)) }, []string{"pid"}, map[string]any{"pid": pid, "tid": pid, "sig": int(unix.SIGCONT)}},
		{eventv1.PidfdSendSignal, func() int64 { return sys(unix.SYS_PIDFD_SEND_SIGNAL, pidfd, int(unix.SIGCONT), 0, 0) }, []string{"pidfd"}, map[string]any{"pidfd": pidfd, "sig": int(unix.SIGCONT)}},
		{eventv1.PidfdGetfd, func() int64 { return sys(unix.SYS_PIDFD_GETFD, pidfd, 1, 0) }, []string{"pidfd"}, map[string]any{"fd": fresh, "pidfd": pidfd, "targetfd": 1}},
		{eventv1.Setns, func() int64 { return sys(unix.SYS_SETNS, ns, unix.CLONE_NEWUTS) }, []string{"fd"}, map[string]any{"fd": ns, "nstype": unix.CLONE_NEWUTS, "ino": int(st.Ino)}},
		{eventv1.Unshare, func() int64 { return sys(unix.SYS_UNSHARE, unix.CLONE_NEWUTS) }, []string{"flags"}, map[string]any{"flags": unix.CLONE_NEWUTS}},
		{eventv1.Chroot, alone(func() int64 { return sys(unix.SYS_CHROOT, dir) }), []string{"path"}, map[string]any{"path": dir}},
		{eventv1.PivotRoot, func() int64 { return sys(unix.SYS_PIVOT_ROOT, dir, dir+"/old") }, []string{"new_root"}, map[string]any{"new_root": dir, "put_old": dir + "/old"}},
		{eventv1.Personality, func() int64 { return sys(unix.SYS_PERSONALITY, 0x40000) }, []string{"persona"}, map[string]any{"persona": 0x40000}},
		{eventv1.Prctl, func() int64 { return sys(unix.SYS_PRCTL, unix.PR_SET_NAME, "kworker/0:1", 0, 0, 0) }, []string{"arg2_str"}, map[string]any{"option": unix.PR_SET_NAME, "arg2_str": "kworker/0:1"}},
		{eventv1.Chdir, alone(func() int64 { return sys(unix.SYS_CHDIR, dir+"/./old/..") }), []string{"path"}, map[string]any{"path": dir}},
		{eventv1.Fchdir, alone(func() int64 { return sys(unix.SYS_FCHDIR, dfd) }), []string{"fd"}, map[string]any{"fd": dfd, "path": dir}},
		{eventv1.Setsid, func() int64 { return sys(unix.SYS_SETSID) }, nil, map[string]any{"sid": fresh}},
	})
}

func TestCredentials(t *testing.T) {
	c := start(t, Options{}, every()...)
	header := make([]byte, 8)
	binary.LittleEndian.PutUint32(header, unix.LINUX_CAPABILITY_VERSION_3)
	caps := make([]byte, 24)
	binary.LittleEndian.PutUint32(caps, 1<<21)           // effective: CAP_SYS_ADMIN
	binary.LittleEndian.PutUint32(caps[4:], 3<<21)       // permitted: and CAP_SYS_BOOT
	binary.LittleEndian.PutUint32(caps[16:], 1<<(39-32)) // permitted: and CAP_BPF
	c.run(t, 0, []call{
		{eventv1.Setuid, func() int64 { return sys(unix.SYS_SETUID, 1234) }, []string{"uid"}, map[string]any{"uid": 1234}},
		{eventv1.Setgid, func() int64 { return sys(unix.SYS_SETGID, 1234) }, []string{"gid"}, map[string]any{"gid": 1234}},
		{eventv1.Setreuid, func() int64 { return sys(unix.SYS_SETREUID, -1, 1235) }, []string{"euid"}, map[string]any{"ruid": -1, "euid": 1235}},
		{eventv1.Setregid, func() int64 { return sys(unix.SYS_SETREGID, 1236, -1) }, []string{"rgid"}, map[string]any{"rgid": 1236, "egid": -1}},
		{eventv1.Setresuid, func() int64 { return sys(unix.SYS_SETRESUID, 1, 2, 3) }, []string{"ruid"}, map[string]any{"ruid": 1, "euid": 2, "suid": 3}},
		{eventv1.Setresgid, func() int64 { return sys(unix.SYS_SETRESGID, 1, 2, 3) }, []string{"rgid"}, map[string]any{"rgid": 1, "egid": 2, "sgid": 3}},
		{eventv1.Setfsuid, func() int64 { return sys(unix.SYS_SETFSUID, 1237) }, []string{"uid"}, map[string]any{"uid": 1237}},
		{eventv1.Setfsgid, func() int64 { return sys(unix.SYS_SETFSGID, 1238) }, []string{"gid"}, map[string]any{"gid": 1238}},
		{eventv1.Setgroups, func() int64 { return sys(unix.SYS_SETGROUPS, 0, 0) }, []string{"count"}, map[string]any{"count": 0}},
		{eventv1.Capset, func() int64 { return sys(unix.SYS_CAPSET, header, caps) }, []string{"cap_effective"}, map[string]any{"cap_effective": 1 << 21, "cap_permitted": 3<<21 | 1<<39, "cap_inheritable": 0}},
		{eventv1.Keyctl, func() int64 { return sys(unix.SYS_KEYCTL, unix.KEYCTL_GET_KEYRING_ID, -3, 0) }, []string{"operation"}, map[string]any{"operation": unix.KEYCTL_GET_KEYRING_ID, "arg2": -3}},
		{eventv1.Seccomp, func() int64 { return sys(unix.SYS_SECCOMP, 1, 0x80, 0) }, []string{"flags"}, map[string]any{"op": 1, "flags": 0x80}},
	})
}

// TestKernel makes calls that a kernel must refuse, with rubbish for a module and a kernel, but tells of.
func TestKernel(t *testing.T) {
	c := start(t, Options{}, every()...)
	rubbish := touch(t, filepath.Join(t.TempDir(), "rubbish.ko"), 0o600)
	fd, err := unix.Open(rubbish, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(fd)
	attr := make([]byte, 128) // struct bpf_attr for BPF_MAP_CREATE: array of 4 bytes
	for i, v := range []uint32{2, 4, 4, 1} {
		binary.LittleEndian.PutUint32(attr[4*i:], v)
	}
	perf := make([]byte, 112)
	binary.LittleEndian.PutUint32(perf, 1)
	binary.LittleEndian.PutUint32(perf[4:], 112)
	binary.LittleEndian.PutUint64(perf[8:], 3)
	ring := make([]byte, 120)
	binary.LittleEndian.PutUint32(ring[8:], 1<<3) // IORING_SETUP_CQSIZE without a size: refused
	image := make([]byte, 64)
	c.run(t, 0, []call{
		{eventv1.InitModule, func() int64 { return sys(unix.SYS_INIT_MODULE, image, len(image), "debug=1") }, []string{"uargs"}, map[string]any{"length": 64, "uargs": "debug=1"}},
		{eventv1.FinitModule, func() int64 { return sys(unix.SYS_FINIT_MODULE, fd, "debug=2", 2) }, []string{"uargs"}, map[string]any{"fd": fd, "uargs": "debug=2", "flags": 2, "name": rubbish}},
		{eventv1.DeleteModule, func() int64 { return sys(unix.SYS_DELETE_MODULE, "gyre_no_such_module", unix.O_NONBLOCK) }, []string{"name"}, map[string]any{"name": "gyre_no_such_module", "flags": unix.O_NONBLOCK}},
		{eventv1.Bpf, func() int64 { return sys(unix.SYS_BPF, 0, attr, len(attr)) }, []string{"attr_type"}, map[string]any{"cmd": 0, "fd": fresh, "attr_type": 2}},
		{eventv1.PerfEventOpen, func() int64 { return sys(unix.SYS_PERF_EVENT_OPEN, perf, 0, -1, -1, 8) }, []string{"flags"}, map[string]any{"perf_type": 1, "config": 3, "pid": 0, "cpu": -1, "flags": 8}},
		{eventv1.KexecLoad, func() int64 { return sys(unix.SYS_KEXEC_LOAD, 0x1000, 99, 0, 0) }, []string{"entry"}, map[string]any{"entry": 0x1000, "segments": 99, "flags": 0}},
		{eventv1.KexecFileLoad, func() int64 { return sys(unix.SYS_KEXEC_FILE_LOAD, fd, -1, 6, "quiet", 4) }, []string{"cmdline"}, map[string]any{"fd": fd, "initrdfd": -1, "cmdline": "quiet", "flags": 4, "name": rubbish}},
		{eventv1.Userfaultfd, func() int64 { return sys(unix.SYS_USERFAULTFD, unix.O_CLOEXEC) }, []string{"flags"}, map[string]any{"fd": fdOrNone, "flags": unix.O_CLOEXEC}},
		{eventv1.IoUringSetup, func() int64 { return sys(unix.SYS_IO_URING_SETUP, 4, uintptr(unsafe.Pointer(&ring[0]))) }, []string{"entries"}, map[string]any{"fd": fdOrNone, "entries": 4, "flags": 1 << 3}},
	})
}
