package field

import (
	"strconv"

	"github.com/gyre-sec/gyre/schemas/eventv1"
)

func procStr(name, doc string, get func(*View, *eventv1.Proc) string) Field {
	return str(name, FromProcess, doc, func(v *View) (string, bool) {
		if v.p == nil {
			return "", false
		}
		s := get(v, v.p)
		return s, s != ""
	})
}

func procNum(name, doc string, get func(*View, *eventv1.Proc) int64) Field {
	return num(name, FromProcess, doc, func(v *View) (int64, bool) {
		if v.p == nil {
			return 0, false
		}
		return get(v, v.p), true
	})
}

func procBool(name, doc string, get func(*eventv1.Proc) bool) Field {
	return boolean(name, FromProcess, doc, func(v *View) (bool, bool) {
		if v.p == nil {
			return false, false
		}
		return get(v.p), true
	})
}

func procFlag(name, doc string, flag eventv1.ProcFlag) Field {
	return procBool(name, doc, func(p *eventv1.Proc) bool { return p.Flags&flag != 0 })
}

// at reads a string of the process n generations up.
func at(name, doc string, n int, get func(b *eventv1.Batch, row int32) string) Field {
	return str(name, FromProcess, doc, func(v *View) (string, bool) {
		row := v.parent(n)
		if row < 0 {
			return "", false
		}
		s := get(v.b, row)
		return s, s != ""
	})
}

// leader reads a string of the process whose pid is the one that id names, if it is in the lineage; else of the
// eldest process above that has the same id, with none between that has another.
func leader(name, doc string, id func(*eventv1.Proc) uint32, get func(b *eventv1.Batch, row int32) string) Field {
	return str(name, FromProcess, doc, func(v *View) (string, bool) {
		if v.p == nil {
			return "", false
		}
		row := v.b.Leader(v.e.Proc, id(v.p))
		if row < 0 {
			row = eldest(v.b, v.e.Proc, id)
		}
		s := get(v.b, row)
		return s, s != ""
	})
}

func eldest(b *eventv1.Batch, row int32, id func(*eventv1.Proc) uint32) int32 {
	want := id(&b.Procs[row])
	for n := 0; n <= len(b.Procs); n++ {
		parent := b.Proc(b.Procs[row].Parent)
		if parent == nil || id(parent) != want {
			break
		}
		row = b.Procs[row].Parent
	}
	return row
}

// Columns of a process row as text.
func rowName(b *eventv1.Batch, row int32) string { return b.Text(b.Procs[row].Comm) }
func rowPath(b *eventv1.Batch, row int32) string { return b.Text(b.Procs[row].Exe) }
func rowArg0(b *eventv1.Batch, row int32) string {
	if a := b.Procs[row].Args; len(a) > 0 {
		return b.Text(a[0])
	}
	return ""
}
func rowCmdline(b *eventv1.Batch, row int32) string { return b.Cmdline(row) }

func procFields() []Field {
	fields := []Field{
		procNum("proc.pid", "process id", func(_ *View, p *eventv1.Proc) int64 { return int64(p.PID) }),
		procNum("proc.ppid", "process id of the parent", func(_ *View, p *eventv1.Proc) int64 { return int64(p.PPID) }),
		procNum("proc.vpid", "process id as the process sees it in its pid namespace", func(_ *View, p *eventv1.Proc) int64 { return int64(p.VPID) }),
		at("proc.name", "name of the process, at most 15 characters (comm)", 0, rowName),
		at("proc.exe", "first argument: the program as it was called", 0, rowArg0),
		at("proc.exepath", "path of the program file", 0, rowPath),
		at("proc.args", "arguments without the program's name, separated by blanks", 0, (*eventv1.Batch).ArgLine),
		at("proc.cmdline", "name and arguments, separated by blanks", 0, rowCmdline),
		at("proc.exeline", "program as it was called and arguments, separated by blanks", 0, (*eventv1.Batch).ExeLine),
		procNum("proc.cmdnargs", "number of arguments without the program's name", func(_ *View, p *eventv1.Proc) int64 { return int64(max(0, len(p.Args)-1)) }),
		procNum("proc.cmdlenargs", "length of the arguments in bytes, without blanks between them", func(v *View, p *eventv1.Proc) int64 {
			n := 0
			for _, a := range p.Args[min(1, len(p.Args)):] {
				n += len(v.b.Text(a))
			}
			return int64(n)
		}),
		procStr("proc.cwd", "working directory", func(v *View, p *eventv1.Proc) string { return v.b.Text(p.Cwd) }),
		list("proc.env", FromProcess, "environment, NAME=value, of the variables that the capture policy allows", func(v *View) ([]string, bool) {
			if v.p == nil || len(v.p.Env) == 0 {
				return nil, false
			}
			out := v.lists[listEnv][:0]
			for _, id := range v.p.Env {
				out = append(out, v.b.Text(id))
			}
			v.lists[listEnv] = out
			return out, true
		}),
		at("proc.pname", "name of the parent", 1, rowName),
		at("proc.pexe", "first argument of the parent", 1, rowArg0),
		at("proc.pexepath", "path of the parent's program file", 1, rowPath),
		at("proc.pcmdline", "name and arguments of the parent", 1, rowCmdline),
		procNum("proc.sid", "session id", func(_ *View, p *eventv1.Proc) int64 { return int64(p.SID) }),
		procNum("proc.pgid", "process group id", func(_ *View, p *eventv1.Proc) int64 { return int64(p.PGID) }),
		procNum("proc.vpgid", "process group id in the process's pid namespace", func(_ *View, p *eventv1.Proc) int64 { return int64(p.VPGID) }),
		procBool("proc.is_sid_leader", "the process leads its session", func(p *eventv1.Proc) bool { return p.SID == p.PID }),
		procBool("proc.is_pgid_leader", "the process leads its process group", func(p *eventv1.Proc) bool { return p.PGID == p.PID }),
		procBool("proc.is_vpgid_leader", "the process leads its process group, as seen in its pid namespace", func(p *eventv1.Proc) bool { return p.VPGID == p.VPID }),
		procNum("proc.tty", "number of the controlling terminal, 0 for none", func(_ *View, p *eventv1.Proc) int64 { return int64(p.TTYNr) }),
		procStr("proc.tty.name", "name of the controlling terminal, such as pts0", func(v *View, p *eventv1.Proc) string { return v.b.Text(p.TTY) }),
		procNum("proc.pid.ts", "start of the process, nanoseconds since the Unix epoch", func(v *View, p *eventv1.Proc) int64 { return v.b.BootTime + p.Start }),
		procNum("proc.duration", "age of the process at the time of the event, nanoseconds", func(v *View, p *eventv1.Proc) int64 { return v.e.Time - v.b.BootTime - p.Start }),
		procStr("proc.exec_id", "names this program run for ever: node, boot, start, pid and count of execs", func(v *View, p *eventv1.Proc) string { return v.b.ExecID(p) }),
		procNum("proc.exe_ino", "inode number of the program file", func(_ *View, p *eventv1.Proc) int64 { return int64(p.ExeIno) }),
		procNum("proc.exe_ino.ctime", "last change of the program file's inode, nanoseconds since the Unix epoch", func(_ *View, p *eventv1.Proc) int64 { return p.ExeCtime }),
		procNum("proc.exe_ino.mtime", "last change of the program file's content, nanoseconds since the Unix epoch", func(_ *View, p *eventv1.Proc) int64 { return p.ExeMtime }),
		num("proc.exe_ino.ctime_duration_proc_start", FromProcess, "from the last change of the program file's inode to the start of the process, nanoseconds; only where the change was before", func(v *View) (int64, bool) {
			if v.p == nil || v.p.ExeCtime == 0 {
				return 0, false
			}
			d := v.b.BootTime + v.p.Start - v.p.ExeCtime
			return d, d > 0
		}),
		procStr("proc.exe_sha256", "SHA-256 of the program file in hexadecimal, while it is known: see the event type exehash", func(v *View, _ *eventv1.Proc) string { return v.b.ExeSum(v.e.Proc) }),
		list("proc.label", FromProcess, "labels of the process from lookups, name=value", func(v *View) ([]string, bool) {
			if v.p == nil || len(v.p.Labels) == 0 {
				return nil, false
			}
			return v.labels(v.p.Labels), true
		}),
		procFlag("proc.is_exe_writable", "the process may write its own program file", eventv1.ProcExeWritable),
		procFlag("proc.is_exe_upper_layer", "the program lies in the upper layer of an overlay file system", eventv1.ProcExeUpperLayer),
		procFlag("proc.is_exe_from_memfd", "the program lives in memory only (memfd)", eventv1.ProcExeMemfd),
		procFlag("proc.is_exe_deleted", "the program's file has been deleted", eventv1.ProcExeDeleted),
		procFlag("proc.is_exe_setuid", "the program file has the set-user-id bit", eventv1.ProcExeSetuid),
		procFlag("proc.is_exe_setgid", "the program file has the set-group-id bit", eventv1.ProcExeSetgid),
		procFlag("proc.is_incomplete", "the start of the process was not seen", eventv1.ProcIncomplete),
		procStr("proc.cgroup", "path of the control group", func(v *View, p *eventv1.Proc) string { return v.b.Text(p.Cgroup) }),
		procNum("proc.ns.pid", "inode number of the pid namespace", func(_ *View, p *eventv1.Proc) int64 { return int64(p.PidNS) }),
		procNum("proc.ns.mnt", "inode number of the mount namespace", func(_ *View, p *eventv1.Proc) int64 { return int64(p.MntNS) }),
		procNum("proc.ns.net", "inode number of the network namespace", func(_ *View, p *eventv1.Proc) int64 { return int64(p.NetNS) }),
		procNum("proc.ns.user", "inode number of the user namespace", func(_ *View, p *eventv1.Proc) int64 { return int64(p.UserNS) }),
		procStr("thread.cap_effective", "effective capabilities, separated by blanks", func(v *View, p *eventv1.Proc) string { return v.textOf(eventv1.Caps, int64(p.CapEffective)) }),
		procStr("thread.cap_permitted", "permitted capabilities, separated by blanks", func(v *View, p *eventv1.Proc) string { return v.textOf(eventv1.Caps, int64(p.CapPermitted)) }),
		procStr("thread.cap_inheritable", "inheritable capabilities, separated by blanks", func(v *View, p *eventv1.Proc) string { return v.textOf(eventv1.Caps, int64(p.CapInherit)) }),
	}
	session := func(p *eventv1.Proc) uint32 { return p.SID }
	group := func(p *eventv1.Proc) uint32 { return p.PGID }
	return append(
		fields,
		leader("proc.sname", "name of the session leader", session, rowName),
		leader("proc.sid.exe", "first argument of the session leader", session, rowArg0),
		leader("proc.sid.exepath", "path of the session leader's program file", session, rowPath),
		leader("proc.pgid.name", "name of the process group leader", group, rowName),
		leader("proc.pgid.exe", "first argument of the process group leader", group, rowArg0),
		leader("proc.pgid.exepath", "path of the process group leader's program file", group, rowPath),
	)
}

// ancestorFields are lists: index 0 is the process itself, 1 its parent, and so on.
func ancestorFields() []Field {
	up := func(at int, name, doc string, get func(b *eventv1.Batch, row int32) string) Field {
		return list(name, FromProcess, doc+"; index 0 is the process itself, 1 its parent", func(v *View) ([]string, bool) {
			row := v.parent(0)
			if row < 0 {
				return nil, false
			}
			out := v.lists[at][:0]
			for n := 0; row >= 0 && n <= len(v.b.Procs); n++ {
				out = append(out, get(v.b, row))
				row = v.b.Procs[row].Parent
			}
			v.lists[at] = out
			return out, true
		})
	}
	return []Field{
		up(listName, "proc.aname", "names of the process and its ancestors", rowName),
		up(listExe, "proc.aexe", "first arguments of the process and its ancestors", rowArg0),
		up(listExePath, "proc.aexepath", "program files of the process and its ancestors", rowPath),
		up(listCmdline, "proc.acmdline", "command lines of the process and its ancestors", rowCmdline),
		up(listArgs, "proc.aargs", "arguments of the process and its ancestors", (*eventv1.Batch).ArgLine),
		up(listPID, "proc.apid", "process ids of the process and its ancestors, in digits", func(b *eventv1.Batch, row int32) string {
			return strconv.FormatUint(uint64(b.Procs[row].PID), 10)
		}),
	}
}

// capNames are the capabilities by number (include/uapi/linux/capability.h, Linux 6.18).
var capNames = [...]string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID", "CAP_SETUID",
	"CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER",
	"CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE",
	"CAP_SYS_RESOURCE", "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL", "CAP_SETFCAP",
	"CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
}

func capsText(c uint64) string {
	var out []byte
	for i, n := range capNames {
		if c&(1<<i) != 0 {
			if len(out) > 0 {
				out = append(out, ' ')
			}
			out = append(out, n...)
		}
	}
	return string(out)
}
