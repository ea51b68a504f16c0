// Package procfs reads what /proc tells about processes and the host: to complete
// processes whose start was not seen, and for the node's own facts.
//
// What it reads races with the processes: a process is only returned if it was the
// same one before and after. It keeps nothing and is safe for concurrent use.
package procfs

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/gyre-sec/gyre/collector/cgroup"
	"github.com/gyre-sec/gyre/collector/proctable"
	"github.com/gyre-sec/gyre/schemas/eventv1"
)

// tick is the grain of times in /proc/<pid>/stat: USER_HZ is 100 on every architecture that Linux runs on but alpha.
const tick = 10_000_000

// maxArgs bounds what is read of a command line.
const maxArgs = 16 << 10

// ErrGone is returned for a process that has ended, or whose pid is another process's now.
var ErrGone = errors.New("process is gone")

// FS is a mounted proc file system.
type FS struct{ root string }

// New returns the file system at root, usually "/proc".
func New(root string) FS { return FS{root: root} }

func (f FS) path(pid uint32, name string) string {
	return filepath.Join(f.root, strconv.FormatUint(uint64(pid), 10), name)
}

// Process reads the process of a key. A Start of 0 means whichever has the pid now;
// otherwise the process must have started then, as exactly as /proc tells. The facts keep the key's Start.
func (f FS) Process(k proctable.Key) (proctable.Facts, error) {
	var out proctable.Facts
	st, err := f.stat(k.PID)
	if err != nil {
		return out, err
	}
	if k.Start != 0 && st.start/tick != k.Start/tick {
		return out, fmt.Errorf("read process %d: %w", k.PID, ErrGone)
	}
	r := &out.Row
	*r = eventv1.Proc{
		PID: k.PID, PPID: st.ppid, Start: k.Start, PGID: st.pgrp, SID: st.session, TTYNr: st.tty,
		LoginUID: eventv1.NoUID, SessionID: eventv1.NoUID,
	}
	if k.Start == 0 {
		r.Start = st.start
	}
	out.Comm, out.TTY = st.comm, TTYName(st.tty)
	f.status(k.PID, r)
	f.exe(k.PID, &out)
	f.ids(k.PID, r)
	if data, err := readMax(f.path(k.PID, "cmdline"), maxArgs+1); err == nil {
		if len(data) > maxArgs {
			data, r.Flags = data[:maxArgs], r.Flags|eventv1.ProcArgsTruncated
		}
		out.Args = SplitArgs(data)
	}
	if cwd, err := os.Readlink(f.path(k.PID, "cwd")); err == nil {
		out.Cwd = strings.TrimSuffix(cwd, " (deleted)")
	}
	if data, err := os.ReadFile(f.path(k.PID, "cgroup")); err == nil {
		out.Cgroup = cgroup.FromProc(string(data))
		if c, ok := cgroup.Parse(out.Cgroup); ok {
			out.ContainerID, out.Runtime, out.PodUID = c.ID, c.Runtime, c.PodUID
		}
	}
	if again, err := f.stat(k.PID); err != nil || again.start != st.start {
		return proctable.Facts{}, fmt.Errorf("read process %d: %w", k.PID, ErrGone)
	}
	return out, nil
}

// All reads every process; those that end meanwhile are left out.
func (f FS) All() ([]proctable.Facts, error) {
	dir, err := os.Open(f.root)
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var all []proctable.Facts
	for _, n := range names {
		pid, err := strconv.ParseUint(n, 10, 32)
		if err != nil {
			continue
		}
		if p, err := f.Process(proctable.Key{PID: uint32(pid)}); err == nil {
			all = append(all, p)
		}
	}
	return all, nil
}

// SplitArgs splits what is separated, and may be ended, by zero bytes.
func SplitArgs(data []byte) []string {
	data = bytes.TrimSuffix(data, []byte{0})
	if len(data) == 0 {
		return nil
	}
	return strings.Split(string(data), "\x00")
}

type stat struct {
	comm                     string
	ppid, pgrp, session, tty uint32
	start                    int64
}

// stat reads /proc/<pid>/stat, see proc_pid_stat(5). The name may hold blanks and parentheses: the last ) ends it.
func (f FS) stat(pid uint32) (stat, error) {
	data, err := os.ReadFile(f.path(pid, "stat"))
	if err != nil {
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			err = ErrGone
		}
		return stat{}, fmt.Errorf("read process %d: %w", pid, err)
	}
	return parseStat(pid, data)
}

func parseStat(pid uint32, data []byte) (stat, error) {
	open, end := bytes.IndexByte(data, '('), bytes.LastIndexByte(data, ')')
	if open < 0 || end < open {
		return stat{}, fmt.Errorf("read process %d: malformed stat", pid)
	}
	fields := strings.Fields(string(data[end+1:]))
	if len(fields) < 20 {
		return stat{}, fmt.Errorf("read process %d: stat of %d fields", pid, len(fields))
	}
	s := stat{comm: string(data[open+1 : end]), ppid: u32(fields[1]), pgrp: u32(fields[2]), session: u32(fields[3]), tty: u32(fields[4])}
	ticks, err := strconv.ParseInt(fields[19], 10, 64)
	if err != nil {
		return stat{}, fmt.Errorf("read process %d: %w", pid, err)
	}
	s.start = ticks * tick
	return s, nil
}

// status reads /proc/<pid>/status.
func (f FS) status(pid uint32, r *eventv1.Proc) {
	data, err := os.ReadFile(f.path(pid, "status"))
	if err != nil {
		return
	}
	for line := range strings.SplitSeq(string(data), "\n") {
		key, rest, _ := strings.Cut(line, ":")
		v := strings.Fields(rest)
		if len(v) == 0 {
			continue
		}
		inner := v[len(v)-1] // NS* list the ids from the outermost namespace to the process's own
		switch key {
		case "Uid":
			r.UID, r.EUID = u32(v[0]), u32(v[min(1, len(v)-1)])
		case "Gid":
			r.GID, r.EGID = u32(v[0]), u32(v[min(1, len(v)-1)])
		case "NStgid":
			r.VPID = u32(inner)
		case "NSpgid":
			r.VPGID = u32(inner)
		case "NSsid":
			r.VSID = u32(inner)
		case "CapInh":
			r.CapInherit = hex(v[0])
		case "CapPrm":
			r.CapPermitted = hex(v[0])
		case "CapEff":
			r.CapEffective = hex(v[0])
		case "Kthread":
			if v[0] == "1" {
				r.Flags |= eventv1.ProcKernelThread
			}
		}
	}
}

func (f FS) exe(pid uint32, out *proctable.Facts) {
	link := f.path(pid, "exe")
	exe, err := os.Readlink(link)
	if err != nil {
		return
	}
	if name, deleted := strings.CutSuffix(exe, " (deleted)"); deleted {
		exe, out.Row.Flags = name, out.Row.Flags|eventv1.ProcExeDeleted
	}
	if strings.HasPrefix(exe, "/memfd:") {
		out.Row.Flags |= eventv1.ProcExeMemfd
	}
	out.Exe = exe
	info, err := os.Stat(link)
	if err != nil {
		return
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		out.Row.ExeIno, out.Row.ExeDev = st.Ino, st.Dev
		out.Row.ExeCtime, out.Row.ExeMtime = st.Ctim.Nano(), st.Mtim.Nano()
		if st.Mode&syscall.S_ISUID != 0 {
			out.Row.Flags |= eventv1.ProcExeSetuid
		}
		if st.Mode&syscall.S_ISGID != 0 {
			out.Row.Flags |= eventv1.ProcExeSetgid
		}
	}
}

// ids reads audit ids and namespaces.
func (f FS) ids(pid uint32, r *eventv1.Proc) {
	for name, to := range map[string]*uint32{"loginuid": &r.LoginUID, "sessionid": &r.SessionID} {
		if data, err := os.ReadFile(f.path(pid, name)); err == nil {
			*to = u32(strings.TrimSpace(string(data)))
		}
	}
	for name, to := range map[string]*uint32{"pid": &r.PidNS, "mnt": &r.MntNS, "net": &r.NetNS, "user": &r.UserNS} {
		link, err := os.Readlink(f.path(pid, "ns/"+name))
		if err != nil {
			continue
		}
		if _, after, ok := strings.Cut(link, "["); ok {
			*to = u32(strings.TrimSuffix(after, "]"))
		}
	}
}

func readMax(path string, limit int) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	buf := make([]byte, limit)
	n := 0
	for n < limit {
		m, err := file.Read(buf[n:])
		n += m
		if err != nil || m == 0 {
			break
		}
	}
	return buf[:n], nil
}

// u32 reads a number as far as it can be read; -1 and what does not fit is 2^32-1.
func u32(s string) uint32 {
	v, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0
	}
	return uint32(v)
}

func hex(s string) uint64 {
	v, err := strconv.ParseUint(s, 16, 64)
	if err != nil {
		return 0
	}
	return v
}

// TTYName names a terminal by its device number as stat(5) gives it: major in bits 8 to 15, minor in the others.
func TTYName(nr uint32) string {
	major, minor := nr>>8&0xfff, nr&0xff|nr>>12&0xfff00
	switch {
	case nr == 0:
		return ""
	case major >= 136 && major <= 143:
		return "pts" + strconv.FormatUint(uint64(minor+(major-136)<<8), 10)
	case major == 4 && minor < 64:
		return "tty" + strconv.FormatUint(uint64(minor), 10)
	case major == 4:
		return "ttyS" + strconv.FormatUint(uint64(minor-64), 10)
	case major == 5 && minor == 1:
		return "console"
	default:
		return "tty" + strconv.FormatUint(uint64(major), 10) + ":" + strconv.FormatUint(uint64(minor), 10)
	}
}
