package probe

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gyre-sec/gyre/bpf"
)

// Errors that callers tell apart; each comes with a remedy, see [Problem].
var (
	// ErrPrivilege: the process may not load eBPF programs.
	ErrPrivilege = errors.New("not enough privilege to load eBPF programs")
	// ErrNoBTF: the kernel does not describe its types.
	ErrNoBTF = errors.New("the kernel has no BTF (/sys/kernel/btf/vmlinux)")
	// ErrKernel: the kernel is too old.
	ErrKernel = errors.New("the kernel is too old")
	// ErrLockdown: the kernel lets nobody read its memory.
	ErrLockdown = errors.New("the kernel is locked down for confidentiality, which forbids what eBPF programs must do")
	// ErrMode: the attach mode that was asked for does not work here.
	ErrMode = errors.New("attach mode does not work on this kernel")
)

// Problem is an error with what to do about it.
type Problem struct {
	Err  error
	Hint string
}

// Error describes the problem.
func (p *Problem) Error() string { return p.Err.Error() }

// Unwrap returns the error.
func (p *Problem) Unwrap() error { return p.Err }

// Remedy says what the operator can do.
func (p *Problem) Remedy() string { return p.Hint }

// Report says what this kernel can do.
type Report struct {
	Kernel   string
	Lockdown string
	// Mode is the attach mode that works, Trampoline the reason why that one does not, if so.
	Mode       bpf.Mode
	Trampoline error
	// Missing names syscalls that cannot be seen in this mode. A failed execveat may be among them; a successful one is always seen.
	Missing []string
}

const btfFile = "/sys/kernel/btf/vmlinux"

// Capabilities that loading and attaching need, by number (include/uapi/linux/capability.h).
const (
	capSysAdmin = 21
	capPerfmon  = 38
	capBPF      = 39
)

// Detect finds out what works by trying it. A [Problem] says what is missing.
func Detect() (Report, error) {
	r := Report{Kernel: release(), Lockdown: lockdown()}
	if err := privileged(); err != nil {
		return r, err
	}
	if _, err := os.Stat(btfFile); err != nil {
		return r, &Problem{ErrNoBTF, "use a kernel that is built with CONFIG_DEBUG_INFO_BTF=y: those of Debian 12, Ubuntu 22.04, RHEL 9 and later are"}
	}
	if r.Lockdown == "confidentiality" {
		return r, &Problem{ErrLockdown, "start the kernel with lockdown=integrity, or without lockdown"}
	}
	if err := bpf.TryHelpers(); err != nil {
		return r, &Problem{fmt.Errorf("%w (%s): %w", ErrKernel, r.Kernel, err), "use Linux 5.17 or later, or RHEL 9"}
	}
	r.Mode = bpf.Trampoline
	if r.Trampoline = bpf.TryTrampoline(); r.Trampoline != nil {
		r.Mode = bpf.Tracepoint
	}
	return r, nil
}

// privileged checks for CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN, which holds both.
func privileged() error {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return fmt.Errorf("read capabilities: %w", err)
	}
	eff := uint64(data[0].Effective) | uint64(data[1].Effective)<<32
	if eff&(1<<capSysAdmin) != 0 || eff&(1<<capBPF) != 0 && eff&(1<<capPerfmon) != 0 {
		return nil
	}
	return &Problem{ErrPrivilege, "run as root (sudo), or give the program CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH"}
}

func release() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(u.Release[:])
}

// lockdown is the state of the kernel's lockdown, "" where the kernel does not say.
func lockdown() string {
	b, err := os.ReadFile("/sys/kernel/security/lockdown")
	if err != nil {
		return ""
	}
	if _, rest, ok := strings.Cut(string(b), "["); ok {
		state, _, _ := strings.Cut(rest, "]")
		return state
	}
	return ""
}
