package docs

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gyre-sec/gyre/bpf"
	"github.com/gyre-sec/gyre/schemas/eventv1"
)

var update = flag.Bool("update", false, "write the documents that are made from tables anew")

const eventsDoc = "docs/events.md"

// head is the part of the document that is written by hand.
const head = `# Events

Made from the tables of the code by ` + "`make docs`" + `; do not edit. Fields that all events have (process, user, container, node) are listed by ` + "`gyre fields`" + `.

An event is a system call that ended, or a change of a process. ` + "`evt.type`" + ` is the kind, ` + "`evt.arg.NAME`" + ` an argument, ` + "`evt.rawres`" + ` the result: negative is an errno, by
name in ` + "`evt.res`" + `. Failed calls are events like the others. Names of files are made absolute as the process's root and working directory say; where the kernel has the file at hand
(an open that succeeded, a descriptor) the path is the kernel's own, across symbolic links, mounts and overlays.

**How events are seen.** Two attach modes, chosen at the start. In *trampoline* mode a program runs on the exit of each entry point of the calls that are captured, and of no other. In
*tracepoint* mode, where the kernel refuses trampolines, one program on ` + "`sys_exit`" + ` picks the calls by number. Processes come from the tracepoints ` + "`sched_process_fork`, `sched_process_exec` and `sched_process_exit`" + ` in
both. The same events come from 32-bit programs (` + "`evt.is_compat`" + `; entry points ` + "`__ia32_*`" + `, ` + "`socketcall(2)`" + ` included), from x32 calls where the kernel has them, and from io_uring (` + "`evt.is_io_uring`" + `), whose operations
are no system calls: they are seen at ` + "`io_uring_submit_req`" + ` (` + "`io_uring_submit_sqe`" + ` before Linux 6.4) and told with their result at ` + "`io_uring_complete`" + `. A request that asks for no completion is told as successful.
A call whose entry point the kernel gives nothing to attach to is named in the collector's log and missing in trampoline mode.

The floor is Linux 5.17 with BTF; a later version is named where a call is younger.

`

const left = `## Left out

| calls | why |
|---|---|
| read, pread64, readv, close, lseek, stat and its family, access, getdents | volume without a detection that needs them; opens tell what was read |
| write, pwrite64, writev, but for the first one to an executable file | volume; writing intent is in the flags of the open |
| mmap, mprotect, brk, madvise | loaders and compilers of every program use them; the file of an executable mapping was opened before |
| send, recv and read on connected sockets | the connection is told once, with both ends |
| messages of AF_UNIX and AF_NETLINK datagram sockets | logging and configuration daemons; no rule asks for them |
| io_uring's reads, writes, polls, timeouts, and its sends and receives | as the calls; a datagram sent through io_uring is not seen, its socket is |
| quotactl, swapon, swapoff, acct, reboot, sethostname, settimeofday, adjtimex, iopl, ioperm | no detection asks for them; they need privileges whose gain is told |
| splice, tee, sendfile, copy_file_range | both files were opened |
| setpgid, setitimer, sched_*, futex, epoll_*, signal handling | nothing of interest to detection |
| utimensat, removexattr, shm*, msg*, sem*, mq_* | not yet |
`

var typeNames = map[eventv1.ArgType]string{
	eventv1.Int: "number", eventv1.UID: "user id", eventv1.Uint: "number", eventv1.FD: "descriptor", eventv1.DirFD: "descriptor or AT_FDCWD", eventv1.Text: "text", eventv1.Path: "path", eventv1.Address: "IP address",
	eventv1.OpenFlags: "O_*", eventv1.CloneFlags: "CLONE_*", eventv1.AtFlags: "AT_*", eventv1.RenameFlags: "RENAME_*", eventv1.FileFlags: "flags", eventv1.Mode: "octal", eventv1.Bool: "0 or 1",
	eventv1.Family: "AF_*", eventv1.SockType: "SOCK_*", eventv1.L4Proto: "protocol", eventv1.ModeBits: "S_*", eventv1.Hex: "hexadecimal", eventv1.Caps: "CAP_*", eventv1.Signal: "SIG*",
	eventv1.MountFlags: "MS_*", eventv1.UmountFlags: "MNT_*", eventv1.FsconfigCmd: "FSCONFIG_*", eventv1.MemfdFlags: "MFD_*", eventv1.SockFlags: "SOCK_*", eventv1.FcntlCmd: "F_*", eventv1.PrctlOption: "PR_*",
	eventv1.PtraceRequest: "PTRACE_*", eventv1.BpfCmd: "BPF_*", eventv1.KeyctlOperation: "KEYCTL_*", eventv1.SeccompOperation: "SECCOMP_*", eventv1.ModuleFlags: "MODULE_INIT_*", eventv1.IoctlRequest: "request",
}

// younger are calls that came after the floor.
var younger = map[eventv1.Kind]string{eventv1.Fchmodat2: "6.6"}

func hooks(k eventv1.Kind, rows map[eventv1.Kind]bpf.Row) string {
	switch {
	case k == eventv1.ResponseAction:
		return "made by the collector"
	case k.IsClone():
		return "`sched_process_fork`"
	case k == eventv1.ProcExit:
		return "`sched_process_exit`"
	}
	r := rows[k]
	var entries, wide, narrow []string
	for _, c := range r.Calls {
		if len(c.Symbols) > 0 {
			entries = append(entries, "`"+c.Symbols[0]+"`")
		}
		switch {
		case c.Row < 512:
			wide = append(wide, fmt.Sprint(c.Row))
		case c.Row < 1024:
			narrow = append(narrow, fmt.Sprint(c.Row-512))
		case c.Row >= 1088:
			narrow = append(narrow, fmt.Sprintf("socketcall %d", c.Row-1088))
		}
	}
	out := "trampoline: exit of " + strings.Join(entries, ", ")
	if k.IsExec() {
		out = "success: `sched_process_exec`; failure: " + out
	}
	if len(wide) > 0 {
		out += "; tracepoint: `sys_exit` " + strings.Join(wide, ", ")
	}
	if len(narrow) > 0 {
		out += "; 32-bit: " + strings.Join(narrow, ", ")
	}
	for _, u := range bpf.URings() {
		if u.Kind == uint16(k) {
			out += fmt.Sprintf("; io_uring: `%s` (Linux %s)", u.Op, u.Since)
		}
	}
	return out
}

func eventsPage(t *testing.T) string {
	rows := map[eventv1.Kind]bpf.Row{}
	for _, r := range bpf.Rows() {
		rows[eventv1.Kind(r.Kind)] = r
	}
	groups := map[string][]eventv1.Kind{}
	for _, k := range eventv1.Kinds() {
		c := k.Info().Category
		groups[c] = append(groups[c], k)
	}
	var b strings.Builder
	b.WriteString(head)
	order := []string{"process", "file", "net", "user", "signal", "memory", "system", "response"}
	for c := range groups {
		if !slices.Contains(order, c) {
			t.Errorf("category %s has no place in the document", c)
		}
	}
	for _, c := range order {
		fmt.Fprintf(&b, "## Category %s\n\n", c)
		for _, k := range groups[c] {
			info := k.Info()
			fmt.Fprintf(&b, "### %s\n\n%s%s.", info.Name, strings.ToUpper(info.Doc[:1]), info.Doc[1:])
			if when := rows[k].If.Describe(); when != "" {
				fmt.Fprintf(&b, " Told %s.", when)
			}
			if v := younger[k]; v != "" {
				fmt.Fprintf(&b, " Since Linux %s.", v)
			}
			fmt.Fprintf(&b, "\n\nSeen at %s.\n\n| argument | type | meaning |\n|---|---|---|\n", hooks(k, rows))
			for _, a := range info.Args {
				name := typeNames[a.Type]
				if name == "" {
					t.Errorf("%s.%s: type %d has no name", info.Name, a.Name, a.Type)
				}
				doc := a.Doc
				if doc == "" {
					doc = "likewise"
				}
				fmt.Fprintf(&b, "| `%s` | %s | %s |\n", a.Name, name, doc)
			}
			b.WriteString("\n")
		}
	}
	b.WriteString(left)
	return b.String()
}

// TestEventsPage keeps docs/events.md what the tables say.
func TestEventsPage(t *testing.T) {
	want := eventsPage(t)
	if *update {
		if err := os.WriteFile(filepath.Join(root, eventsDoc), []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got := read(t, eventsDoc); got != want {
		t.Errorf("%s is not what the tables say: run make docs", eventsDoc)
	}
}
