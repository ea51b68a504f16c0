package ruletest

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/gyre-sec/gyre/schemas/eventv1"
)

// Time and identity of the events of cases.
const (
	caseTime = 1_780_000_000_000_000_000
	bootTime = 1_779_990_000_000_000_000
	bootID   = "00000000-0000-4000-8000-000000000000"
)

// Batch encodes a case as the batch that a collector and an enricher would have made.
func Batch(c Case) ([]byte, error) {
	b := eventv1.NewBuilder()
	b.Reset(eventv1.Header{Node: cmp.Or(c.Event.Node, "test"), BootID: bootID, Source: "syscall", BootTime: bootTime})
	kind, ok := eventv1.ParseKind(c.Event.Kind)
	if !ok {
		return nil, fmt.Errorf("unknown event kind %q", c.Event.Kind)
	}
	e := eventv1.Event{Kind: kind, Seq: cmp.Or(c.Event.Seq, 1), Time: caseTime + int64(c.Event.At), Ret: c.Event.Ret, TID: 1000, Proc: -1}
	if kind.IsClone() {
		e.Args[eventv1.CloneChildProc] = -1
	}
	if c.Event.IOUring {
		e.Flags |= eventv1.FlagIOUring
	}
	for name, v := range c.Event.Args {
		i := slices.IndexFunc(kind.Info().Args, func(a eventv1.Arg) bool { return a.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("%s has no argument %q", kind, name)
		}
		n, err := argument(b, kind.Info().Args[i].Type, v)
		if err != nil {
			return nil, fmt.Errorf("argument %s: %w", name, err)
		}
		e.Args[i] = n
	}
	if kind.IsOpen() && e.Args[eventv1.OpenNameRaw] == 0 {
		e.Args[eventv1.OpenNameRaw] = e.Args[eventv1.OpenName]
	}
	if c.Process != nil {
		e.Proc = process(b, *c.Process)
	}
	b.Add(&e)
	return b.Encode(), nil
}

func process(b *eventv1.Builder, p Process) int32 {
	parent, ppid := int32(-1), uint32(1000-1-len(p.Ancestors))
	for i, v := range slices.Backward(p.Ancestors) {
		pid := cmp.Or(v.PID, 1000-1-uint32(i))
		parent = row(b, v, pid, ppid, parent)
		ppid = pid
	}
	return row(b, p, cmp.Or(p.PID, 1000), ppid, parent)
}

func row(b *eventv1.Builder, p Process, pid, ppid uint32, parent int32) int32 {
	id := b.InternString
	x := eventv1.Proc{
		PID: pid, PPID: ppid, ExecCount: 1, Parent: parent, Start: int64(pid) * 1e9, ExecTime: int64(pid) * 1e9,
		Exe: id(p.Exe), Comm: id(p.Name), Cwd: id(p.Cwd), UID: p.UID, EUID: p.UID, GID: p.UID, EGID: p.UID, LoginUID: eventv1.NoUID,
		TTY: id(p.TTY), SID: pid, PGID: pid, VPID: pid, VPGID: pid, VSID: pid, Container: -1, User: -1, LoginUser: -1,
	}
	if p.ExeAge > 0 {
		x.ExeCtime = caseTime - int64(p.ExeAge)
		x.ExeMtime = x.ExeCtime
	}
	if p.EUID != nil {
		x.EUID = *p.EUID
	}
	if p.LoginUID != nil {
		x.LoginUID = *p.LoginUID
	}
	if p.TTY != "" {
		x.TTYNr = 34816
	}
	if p.Container != "" {
		x.Container = containerRow(b, p.Container, p.Facts)
	}
	if p.VPID != 0 {
		x.VPID = p.VPID
	}
	if p.User != "" {
		x.User = b.AddUser(eventv1.User{UID: p.UID, Container: x.Container, Name: id(p.User)})
	}
	for _, a := range p.Args {
		x.Args = append(x.Args, id(a))
	}
	for _, v := range p.Env {
		x.Env = append(x.Env, id(v))
	}
	for _, f := range []struct {
		on   bool
		flag eventv1.ProcFlag
	}{{p.Memfd, eventv1.ProcExeMemfd}, {p.Deleted, eventv1.ProcExeDeleted}, {p.Upper, eventv1.ProcExeUpperLayer}, {p.Setuid, eventv1.ProcExeSetuid}} {
		if f.on {
			x.Flags |= f.flag
		}
	}
	return b.AddProc(x)
}

// argument turns a value as people write it into the integer of the wire.
func argument(b *eventv1.Builder, t eventv1.ArgType, v any) (int64, error) {
	s := fmt.Sprint(v)
	switch {
	case t == eventv1.Address:
		a, err := netip.ParseAddr(s)
		if err != nil {
			return 0, err
		}
		return int64(b.Intern(a.AsSlice())), nil
	case t.IsString():
		return int64(b.InternString(s)), nil
	}
	var total int64
	for word := range strings.SplitSeq(s, "|") {
		if n, ok := words[word]; ok {
			total |= n
			continue
		}
		n, err := strconv.ParseInt(word, 0, 64)
		if err != nil {
			return 0, fmt.Errorf("%q is no number and no known flag", word)
		}
		total |= n
	}
	return total, nil
}

// words are the names that cases may use for numbers (Linux, amd64 and arm64 alike).
var words = map[string]int64{
	"true": 1, "false": 0, "AT_FDCWD": -100,
	"O_RDONLY": 0, "O_WRONLY": 1, "O_RDWR": 2, "O_CREAT": 0o100, "O_EXCL": 0o200, "O_TRUNC": 0o1000, "O_APPEND": 0o2000, "O_CLOEXEC": 0o2000000,
	"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10, "SOCK_STREAM": 1, "SOCK_DGRAM": 2, "tcp": 6, "udp": 17,
}
