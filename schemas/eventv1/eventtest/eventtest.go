// Package eventtest makes batches for tests and benchmarks: a small host with a
// login shell, a compiler run, a container and network clients.
package eventtest

import (
	"fmt"

	"github.com/gyre-sec/gyre/schemas/eventv1"
)

// Time and identity of the sample batches.
const (
	BaseTime = 1_780_000_000_123_456_789
	BootTime = 1_779_990_000_000_000_000
	BootID   = "0b7d3c52-6a1e-4f0e-9d53-1c2f3a4b5c6d"
)

// Sample fills b with n events on node, numbered from firstSeq, of a realistic mix:
// mostly opens, then execs with their clones and exits, connections, unlinks and renames.
func Sample(b *eventv1.Builder, node string, firstSeq uint64, n int) {
	b.Reset(eventv1.Header{Node: node, BootID: BootID, Source: "syscall", BootTime: BootTime})
	rows := processes(b)
	name := func(s string) int64 { return int64(b.InternString(s)) }
	for i := range n {
		e := eventv1.Event{
			Seq: firstSeq + uint64(i), Time: BaseTime + int64(i)*37_000, Proc: rows[i%len(rows)],
			TID: 1000 + uint32(i%len(rows)), CPU: uint16(i % 2),
		}
		switch i % 16 {
		case 0:
			e.Kind, e.Ret = eventv1.Clone, int64(5000+i)
			e.Args = [16]int64{0x1200000, int64(5000 + i), int64(5000 + i), -1}
		case 1:
			e.Kind = eventv1.Execve
			e.Args = [16]int64{name("/usr/bin/cc"), -100, 0}
		case 2:
			e.Kind, e.Ret = eventv1.Connect, -115
			e.Args = [16]int64{7, 2, 1, 6, name("\x0a\x00\x00\x05"), 40000 + int64(i), name("\x08\x08\x08\x08"), 443, 0, 4026531840}
		case 3:
			e.Kind = eventv1.Unlinkat
			e.Args = [16]int64{name(fmt.Sprintf("/tmp/cc%04x.o", i)), name(fmt.Sprintf("/tmp/cc%04x.o", i)), -100, 0}
		case 4:
			e.Kind = eventv1.Renameat2
			e.Args = [16]int64{name("/var/lib/x/new"), name("/var/lib/x/cur"), name("new"), name("cur"), 5, 5, 0}
		case 5:
			e.Kind, e.Args[0] = eventv1.ProcExit, 0
		default:
			e.Kind, e.Ret = eventv1.Openat, int64(3+i%7)
			path := fmt.Sprintf("/usr/include/x86_64-linux-gnu/bits/types/file%02d.h", i%24)
			e.Args = [16]int64{int64(3 + i%7), -100, name(path), name(path), 0o2000000, 0, 0, 0xfe00, int64(100000 + i%24), 0, 0o100644}
		}
		b.Add(&e)
	}
}

// processes adds init, sshd, a shell, a compiler and a process in a container; it returns the rows that act.
func processes(b *eventv1.Builder) []int32 {
	id := b.InternString
	ctr := b.AddContainer(eventv1.Container{ID: id("3f1c9a7be0d24c55a1f0b7d3c526a1e4f0e9d531c2f3a4b5c6d7e8f901234567"), Runtime: id("containerd")})
	add := func(pid uint32, parent int32, ppid uint32, exe, comm string, container int32, args ...string) int32 {
		p := eventv1.Proc{
			PID: pid, PPID: ppid, ExecCount: 1, Parent: parent, Start: int64(pid) * 1_000_000_007, ExecTime: int64(pid)*1_000_000_007 + 5_000,
			Exe: id(exe), Comm: id(comm), Cwd: id("/home/ada"), UID: 1000, EUID: 1000, GID: 1000, EGID: 1000, LoginUID: 1000, SessionID: 3,
			TTY: id("pts0"), TTYNr: 34816, SID: 900, PGID: pid, VPID: pid, VPGID: pid, VSID: 900,
			PidNS: 4026531836, MntNS: 4026531841, NetNS: 4026531840, UserNS: 4026531837, Cgroup: id("/user.slice/user-1000.slice/session-3.scope"),
			Container: container, ExeIno: 131072 + uint64(pid), ExeDev: 0xfe00, ExeCtime: BootTime, ExeMtime: BootTime - 1e9, User: -1, LoginUser: -1,
		}
		for _, a := range args {
			p.Args = append(p.Args, id(a))
		}
		return b.AddProc(p)
	}
	systemd := add(1, -1, 0, "/usr/lib/systemd/systemd", "systemd", -1, "/sbin/init")
	sshd := add(700, systemd, 1, "/usr/sbin/sshd", "sshd", -1, "sshd: ada [priv]")
	bash := add(900, sshd, 700, "/usr/bin/bash", "bash", -1, "-bash")
	mk := add(1200, bash, 900, "/usr/bin/make", "make", -1, "make", "-j2", "all")
	cc := add(1300, mk, 1200, "/usr/lib/gcc/x86_64-linux-gnu/12/cc1", "cc1", -1, "cc1", "-quiet", "-O2", "-o", "/tmp/ccX.s", "main.c")
	web := add(1400, systemd, 1, "/usr/sbin/nginx", "nginx", ctr, "nginx: worker process")
	return []int32{bash, mk, cc, cc, web}
}
