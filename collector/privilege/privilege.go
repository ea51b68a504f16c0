// Package privilege gives up what a running collector does not need: once capture is
// attached it keeps four capabilities, and a seccomp filter refuses system calls that
// no collector makes, such as execve.
//
// Landlock is not used: a process under it may not look at /proc/PID/exe of processes
// outside of its domain (Linux, security/landlock/task.c), which a collector must.
package privilege

import (
	"fmt"
	"slices"

	seccomp "github.com/elastic/go-seccomp-bpf"
	"kernel.org/pub/linux/libs/security/libcap/cap"
)

// kept are the capabilities of a running collector: to switch kinds of events, and to read /proc and control groups.
func kept() []cap.Value {
	return []cap.Value{cap.BPF, cap.PERFMON, cap.SYS_PTRACE, cap.DAC_READ_SEARCH}
}

// Options say what else the collector does.
type Options struct {
	// Signal keeps the capability to send signals to any process: response actions.
	Signal bool
}

// Drop gives up all capabilities of all threads but those that the collector needs, for ever, and installs the filter. It
// returns the names of the capabilities that are left.
func Drop(o Options) ([]string, error) {
	want := kept()
	if o.Signal {
		want = append(want, cap.KILL)
	}
	names, err := drop(want)
	if err != nil {
		return nil, err
	}
	return names, filter(refused())
}

// DropHelper is [Drop] for the process that looks at container runtimes: it keeps what opens their sockets and files and
// the root directories of processes, and cannot load programs into the kernel. Its supervisor may start programs, which
// have no more capabilities than these.
func DropHelper(supervisor bool) error {
	want := []cap.Value{cap.SYS_PTRACE, cap.DAC_READ_SEARCH, cap.DAC_OVERRIDE}
	if _, err := drop(want); err != nil {
		return err
	}
	if supervisor {
		return inherit(want)
	}
	return filter(append(refused(), "bpf", "perf_event_open", "bind", "listen"))
}

// inherit passes the capabilities that there are to programs that this one starts, whatever user it runs as.
func inherit(want []cap.Value) error {
	now := cap.GetProc()
	var have []cap.Value
	for _, c := range want {
		if ok, err := now.GetFlag(cap.Permitted, c); err == nil && ok {
			have = append(have, c)
		}
	}
	if err := now.SetFlag(cap.Inheritable, true, have...); err != nil {
		return fmt.Errorf("keep capabilities for the worker: %w", err)
	}
	if err := now.SetProc(); err != nil {
		return fmt.Errorf("keep capabilities for the worker: %w", err)
	}
	if err := cap.SetAmbient(true, have...); err != nil {
		return fmt.Errorf("keep capabilities for the worker: %w", err)
	}
	return nil
}

func drop(want []cap.Value) ([]string, error) {
	have := cap.GetProc()
	left := cap.NewSet()
	var names []string
	for _, c := range want {
		if ok, err := have.GetFlag(cap.Permitted, c); err != nil || !ok {
			continue // started without it: what needs it says so
		}
		if err := left.SetFlag(cap.Permitted, true, c); err != nil {
			return nil, fmt.Errorf("keep %s: %w", c, err)
		}
		if err := left.SetFlag(cap.Effective, true, c); err != nil {
			return nil, fmt.Errorf("keep %s: %w", c, err)
		}
		names = append(names, c.String())
	}
	// The bounding set can only be changed with CAP_SETPCAP, so it goes first.
	if ok, err := have.GetFlag(cap.Effective, cap.SETPCAP); err == nil && ok {
		for c := cap.Value(0); c < cap.MaxBits(); c++ {
			if slices.Contains(want, c) {
				continue
			}
			if err := cap.DropBound(c); err != nil {
				return nil, fmt.Errorf("drop %s for ever: %w", c, err)
			}
		}
	}
	if err := cap.ResetAmbient(); err != nil {
		return nil, fmt.Errorf("drop inherited capabilities: %w", err)
	}
	if err := left.SetProc(); err != nil {
		return nil, fmt.Errorf("drop capabilities: %w", err)
	}
	return names, nil
}

// refused are system calls that a collector never makes once it runs.
func refused() []string {
	return []string{
		"execve", "execveat", "ptrace", "process_vm_writev", "init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load",
		"mount", "umount2", "pivot_root", "chroot", "move_mount", "fsmount", "open_tree", "setns", "unshare", "reboot", "swapon", "swapoff",
		"userfaultfd", "keyctl", "add_key", "request_key", "mknod", "mknodat", "setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid",
		"open_by_handle_at", "personality", "acct", "settimeofday", "clock_settime", "io_uring_setup",
	}
}

func filter(refused []string) error {
	if !seccomp.Supported() {
		return nil // a kernel without it; the capabilities are gone all the same
	}
	err := seccomp.LoadFilter(seccomp.Filter{
		NoNewPrivs: true, Flag: seccomp.FilterFlagTSync,
		Policy: seccomp.Policy{DefaultAction: seccomp.ActionAllow, Syscalls: []seccomp.SyscallGroup{{Action: seccomp.ActionErrno, Names: refused}}},
	})
	if err != nil {
		return fmt.Errorf("install seccomp filter: %w", err)
	}
	return nil
}
