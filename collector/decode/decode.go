package decode

import (
	"bytes"
	"fmt"

	"github.com/gyre-sec/gyre/bpf"
	"github.com/gyre-sec/gyre/schemas/eventv1"
)

// how says what makes an argument of the wire out of slots of a record.
type how uint8

const (
	// number and text copy the slot.
	number how = iota + 1
	text
	// joined is the name in slot made absolute with the directory in base.
	joined
	// resolved is the path in slot as the kernel walked it, or joined from base and name where there is none.
	resolved
	// walked is the path in slot as the kernel walked it.
	walked
	// socket is the path of a Unix socket: the zero bytes of an abstract name become @.
	socket
	// computed arguments are filled by code.
	computed
)

// arg makes one argument.
type arg struct {
	how        how
	slot       int
	base, name int
}

// shape is what a kind's records look like.
type shape struct {
	slots int
	args  []arg
}

// Decoder decodes records into memory that it reuses.
type Decoder struct {
	shapes [eventv1.KindCount]shape
	rec    Record
	paths  []byte
}

// New returns a Decoder.
func New() *Decoder { return &Decoder{shapes: shapes(), paths: make([]byte, 0, 16<<10)} }

// Decode reads a raw record. Errors wrap [ErrMalformed].
func (d *Decoder) Decode(raw []byte) (*Record, error) {
	r, err := bpf.ParseRecord(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	kind := eventv1.Kind(r.Kind)
	if !kind.Known() {
		return nil, fmt.Errorf("%w: kind %d", ErrMalformed, r.Kind)
	}
	sh := &d.shapes[kind]
	if int64(r.NArgs) < int64(sh.slots) {
		return nil, fmt.Errorf("%w: %s with %d slots, want %d", ErrMalformed, kind, r.NArgs, sh.slots)
	}
	out := &d.rec
	d.paths = d.paths[:0]
	out.Kind, out.TID, out.CPU, out.Time, out.Ret = kind, r.TID, uint16(r.CPU), int64(r.Time), r.Ret
	out.Flags = eventv1.EventFlag(r.Flags & (bpf.FlagCompat | bpf.FlagIOUring | bpf.FlagTruncated))
	out.Seed, out.HasImage = r.Flags&bpf.FlagSeed != 0, false
	t := &out.Task
	t.PID, t.Start, t.Thread, t.UID, t.GID, t.ExecCount, t.CgroupID = r.TGID, int64(r.Start), r.TID != r.TGID, r.UID, r.GID, r.Execs, r.Cgroup
	t.CapEff, t.CapPerm = r.CapEff, r.CapPerm
	t.Comm = comm(raw)
	for i := range sh.args {
		d.arg(&r, &sh.args[i], i)
	}
	out.Child = Child{}
	switch {
	case kind.IsClone():
		child(&r, out)
	case kind == eventv1.ProcExit:
		status(out)
	}
	if r.Flags&bpf.FlagSnapshot != 0 {
		if int64(r.NArgs) < int64(sh.slots+bpf.SnapCount) {
			return nil, fmt.Errorf("%w: %s with %d slots and a snapshot, want %d", ErrMalformed, kind, r.NArgs, sh.slots+bpf.SnapCount)
		}
		out.HasImage = true
		image(&r, sh.slots, out)
	}
	return out, nil
}

// commAt is where the header has the name; it ends at the first zero byte.
const commAt = 64

func comm(raw []byte) []byte {
	c := raw[commAt : commAt+16]
	if i := bytes.IndexByte(c, 0); i >= 0 {
		c = c[:i]
	}
	return c
}

func (d *Decoder) arg(r *bpf.Record, a *arg, i int) {
	out := &d.rec
	out.Args[i], out.Text[i] = 0, nil
	switch a.how {
	case number:
		out.Args[i] = r.Int(a.slot)
	case text:
		out.Text[i] = r.Bytes(a.slot)
	case joined:
		out.Text[i] = d.join(r.Bytes(a.base), r.Bytes(a.slot))
	case resolved:
		if p := r.Bytes(a.slot); len(p) > 0 {
			out.Text[i] = bytes.TrimSuffix(p, []byte(deletedMark))
			return
		}
		out.Text[i] = d.join(r.Bytes(a.base), r.Bytes(a.name))
	case walked:
		out.Text[i] = bytes.TrimSuffix(r.Bytes(a.slot), []byte(deletedMark))
	case socket:
		out.Text[i] = d.socket(r.Bytes(a.slot))
	case computed:
	}
}

func (d *Decoder) join(dir, name []byte) []byte {
	start := len(d.paths)
	d.paths = Join(d.paths, dir, name)
	return d.paths[start:len(d.paths):len(d.paths)]
}

func (d *Decoder) socket(name []byte) []byte {
	if len(name) == 0 || name[0] != 0 {
		return name
	}
	start := len(d.paths)
	for _, c := range name {
		if c == 0 {
			c = '@'
		}
		d.paths = append(d.paths, c)
	}
	return d.paths[start:len(d.paths):len(d.paths)]
}

// child reads the new process of a clone. A thread is no process of its own.
func child(r *bpf.Record, out *Record) {
	out.Args[eventv1.CloneChildProc] = -1
	if r.Flags&bpf.FlagThread != 0 || out.Ret < 0 {
		return
	}
	c := &out.Child
	c.PID, c.Start = uint32(r.Int(bpf.CloneChildTGID)), r.Int(bpf.CloneChildStart)
	c.ExecCount, c.VPID, c.PidNS = uint32(r.Int(bpf.CloneChildExecs)), uint32(r.Int(bpf.CloneChildVPID)), uint32(r.Int(bpf.CloneChildPidNS))
	c.KernelThread = r.Flags&bpf.FlagKThread != 0
}

// status splits the exit status as wait(2) does: the signal is in the low seven bits, 0x80 says core, the code is above.
func status(out *Record) {
	st := out.Args[eventv1.ExitStatus]
	out.Args[eventv1.ExitCode] = st >> 8 & 0xff
	out.Args[eventv1.ExitSignal] = st & 0x7f
	out.Args[eventv1.ExitCoreDump] = st >> 7 & 1
}

// image reads the snapshot slots, which start at slot at.
func image(r *bpf.Record, at int, out *Record) {
	num := func(i int) int64 { return r.Int(at + i) }
	id := func(i int) uint32 { return uint32(r.Int(at + i)) }
	m := &out.Image
	flags := eventv1.ProcFlag(num(bpf.SnapExeFlags)) & (eventv1.ProcExited - 1)
	m.Row = eventv1.Proc{
		PID: out.Task.PID, Start: out.Task.Start, ExecCount: out.Task.ExecCount, PPID: id(bpf.SnapPPID), Parent: -1, Container: -1, User: -1, LoginUser: -1,
		UID: id(bpf.SnapUID), EUID: id(bpf.SnapEUID), GID: id(bpf.SnapGID), EGID: id(bpf.SnapEGID),
		LoginUID: id(bpf.SnapLoginUID), SessionID: id(bpf.SnapSessionID),
		CapEffective: uint64(num(bpf.SnapCapEff)), CapPermitted: uint64(num(bpf.SnapCapPerm)), CapInherit: uint64(num(bpf.SnapCapInh)),
		TTYNr: id(bpf.SnapTTYNr), SID: id(bpf.SnapSID), PGID: id(bpf.SnapPGID), VPID: id(bpf.SnapVPID), VPGID: id(bpf.SnapVPGID), VSID: id(bpf.SnapVSID),
		PidNS: id(bpf.SnapPidNS), MntNS: id(bpf.SnapMntNS), NetNS: id(bpf.SnapNetNS), UserNS: id(bpf.SnapUserNS),
		ExeIno: uint64(num(bpf.SnapExeIno)), ExeDev: uint64(num(bpf.SnapExeDev)), ExeCtime: num(bpf.SnapExeCtime), ExeMtime: num(bpf.SnapExeMtime),
		Flags: flags,
	}
	if !out.Seed {
		m.Row.ExecTime = out.Time
	}
	m.ParentStart, m.CgroupID, m.Comm = num(bpf.SnapParentStart), out.Task.CgroupID, out.Task.Comm
	m.Exe, m.Args, m.Cwd = r.Bytes(at+bpf.SnapExe), r.Bytes(at+bpf.SnapArgs), r.Bytes(at+bpf.SnapCwd)
	m.Cgroup, m.TTY, m.Env = r.Bytes(at+bpf.SnapCgroup), r.Bytes(at+bpf.SnapTTY), r.Bytes(at+bpf.SnapEnv)
}
