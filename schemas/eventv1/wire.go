package eventv1

import (
	"fmt"

	"github.com/gyre-sec/gyre/schemas/wire"
)

// Limits on what a decoder believes.
const (
	maxStrings = 1 << 20
	maxRows    = 1 << 17
	maxList    = 1 << 16
	maxKinds   = 1 << 12
	maxEvents  = 1 << 20
)

// headerLen, procLen and so on are the numbers of elements of the first release; what came later is behind them.
const (
	headerLen = 15
	procLen   = 41
	userLen   = 5
	eventLen  = 8
)

// Encoder encodes batches into memory that it reuses. It is not safe for concurrent use.
type Encoder struct{ e *wire.Encoder }

// NewEncoder returns an Encoder.
func NewEncoder() *Encoder { return &Encoder{e: wire.NewEncoder()} }

// Encode returns the wire form of b; it is valid until the next call.
func (x *Encoder) Encode(b *Batch) []byte {
	e := x.e
	e.Reset()
	e.Array(headerLen + contextLen)
	e.Int(Version)
	e.String(b.Node)
	e.String(b.BootID)
	e.String(b.Source)
	e.Uint(b.FirstSeq)
	e.Int(b.BaseTime)
	e.Int(b.BootTime)
	e.Array(len(b.Lost))
	for _, l := range b.Lost {
		e.Array(2)
		e.Uint(uint64(l.Kind))
		e.Uint(l.Count)
	}
	e.Array(len(b.Strings))
	for _, s := range b.Strings {
		e.String(s)
	}
	e.Array(len(b.Procs))
	for i := range b.Procs {
		b.Procs[i].encode(e)
	}
	e.Array(len(b.Containers))
	for i := range b.Containers {
		b.Containers[i].encode(e)
	}
	e.Array(len(b.Users))
	for i := range b.Users {
		u := &b.Users[i]
		e.Array(userLen + 1)
		e.Uint(uint64(u.UID))
		e.Int(int64(u.Container))
		ids(e, u.Name, u.Home, u.Shell)
		encodeLabels(e, u.Labels)
	}
	encodeLabels(e, b.Labels)
	e.Uint(uint64(b.Count))
	e.Bytes(b.Events)
	encodeContext(e, b)
	return e.Data()
}

func ids(e *wire.Encoder, s ...StrID) {
	for _, v := range s {
		e.Uint(uint64(v))
	}
}

func u32s(e *wire.Encoder, s ...uint32) {
	for _, v := range s {
		e.Uint(uint64(v))
	}
}

func encodeList(e *wire.Encoder, s []StrID) {
	e.Array(len(s))
	ids(e, s...)
}

func encodeLabels(e *wire.Encoder, l []Label) {
	e.Array(len(l))
	for _, v := range l {
		e.Array(2)
		ids(e, v.Key, v.Value)
	}
}

func (p *Proc) encode(e *wire.Encoder) {
	e.Array(procLen + 2)
	u32s(e, p.PID, p.PPID, p.ExecCount)
	e.Int(int64(p.Parent))
	e.Int(p.Start)
	e.Int(p.ExecTime)
	ids(e, p.Exe, p.Comm)
	encodeList(e, p.Args)
	ids(e, p.Cwd)
	encodeList(e, p.Env)
	u32s(e, p.UID, p.EUID, p.GID, p.EGID, p.LoginUID, p.SessionID)
	e.Uint(p.CapEffective)
	e.Uint(p.CapPermitted)
	e.Uint(p.CapInherit)
	ids(e, p.TTY)
	u32s(e, p.TTYNr, p.SID, p.PGID, p.VPID, p.VPGID, p.VSID, p.PidNS, p.MntNS, p.NetNS, p.UserNS)
	ids(e, p.Cgroup)
	e.Int(int64(p.Container))
	e.Uint(p.ExeIno)
	e.Uint(p.ExeDev)
	e.Int(p.ExeCtime)
	e.Int(p.ExeMtime)
	e.Uint(uint64(p.Flags))
	e.Int(int64(p.User))
	e.Int(int64(p.LoginUser))
	ids(e, p.Group, p.ExeHash)
	encodeLabels(e, p.Labels)
}

// Decoder decodes batches. It is not safe for concurrent use.
type Decoder struct {
	d    *wire.Decoder
	strs int
}

// NewDecoder returns a Decoder.
func NewDecoder() *Decoder { return &Decoder{d: wire.NewDecoder()} }

// Decode reads a batch into b, which may be one that was used before: its slices
// are reused. b.Events aliases data; nothing else does. Every index in the tables
// is valid afterwards. Errors wrap [ErrVersion] or [wire.ErrMalformed]: they are permanent.
func (x *Decoder) Decode(data []byte, b *Batch) error {
	d := x.d
	d.Reset(data)
	n := d.Array("batch", maxList)
	if v := d.Int(); d.Err() == nil && v != Version {
		return fmt.Errorf("%w: %d, want %d", ErrVersion, v, Version)
	}
	if d.Err() == nil && n < headerLen {
		d.Fail("batch of %d elements, want at least %d", n, headerLen)
	}
	b.derived = b.derived[:0]
	b.Node, b.BootID, b.Source = d.String(), d.String(), d.String()
	b.FirstSeq, b.BaseTime, b.BootTime = d.Uint(), d.Int(), d.Int()
	b.Lost = b.Lost[:0]
	for range d.Array("lost", maxKinds) {
		m := d.Array("lost", 16)
		b.Lost = append(b.Lost, Lost{Kind: Kind(min(d.Uint(), 1<<16-1)), Count: d.Uint()})
		d.Skip(m - 2)
	}
	b.Strings = resize(b.Strings, d.Array("strings", maxStrings))
	for i := range b.Strings {
		b.Strings[i] = d.String()
	}
	if d.Err() == nil && (len(b.Strings) == 0 || b.Strings[0] != "") {
		d.Fail("string 0 is not the empty string")
	}
	x.strs = len(b.Strings)
	x.tables(b)
	c := d.Uint()
	if b.Count = int(min(c, maxEvents)); c > maxEvents {
		d.Fail("%d events, at most %d are possible", c, maxEvents)
	}
	b.Events = d.Bytes()
	x.context(b, n-headerLen)
	if d.Err() == nil && b.Count*eventLen > len(b.Events) {
		d.Fail("%d events in %d bytes", b.Count, len(b.Events))
	}
	return d.Err()
}

func (x *Decoder) tables(b *Batch) {
	d := x.d
	b.Procs = resize(b.Procs, d.Array("procs", maxRows))
	for i := range b.Procs {
		x.proc(&b.Procs[i], len(b.Procs))
	}
	b.Containers = resize(b.Containers, d.Array("containers", maxRows))
	for i := range b.Containers {
		x.container(&b.Containers[i])
	}
	b.Users = resize(b.Users, d.Array("users", maxRows))
	for i := range b.Users {
		u := &b.Users[i]
		m := x.row("user", userLen)
		*u = User{UID: d.Uint32(), Container: d.Index("container", len(b.Containers)), Name: x.str(), Home: x.str(), Shell: x.str(), Labels: u.Labels[:0]}
		if m > userLen {
			u.Labels = x.labels(u.Labels)
		}
		d.Skip(m - userLen - 1)
	}
	b.Labels = x.labels(b.Labels[:0])
	for i := range b.Procs {
		p := &b.Procs[i]
		if int(p.Container) >= len(b.Containers) || int(p.User) >= len(b.Users) || int(p.LoginUser) >= len(b.Users) {
			d.Fail("process row %d points outside of the container or user table", i)
			return
		}
	}
}

// resize returns a slice of n elements that reuses s where it can.
func resize[T any](s []T, n int) []T {
	if n <= cap(s) {
		return s[:n]
	}
	return append(s[:cap(s)], make([]T, n-cap(s))...)
}

func (x *Decoder) row(what string, want int) int {
	n := x.d.Array(what, maxList)
	if x.d.Err() == nil && n < want {
		x.d.Fail("%s of %d elements, want at least %d", what, n, want)
	}
	return n
}

func (x *Decoder) str() StrID {
	v := x.d.Uint()
	if v >= uint64(x.strs) {
		x.d.Fail("string index %d is outside of a table of %d", v, x.strs)
		return 0
	}
	return StrID(v)
}

func (x *Decoder) list(s []StrID, what string) []StrID {
	for range x.d.Array(what, maxList) {
		s = append(s, x.str())
	}
	return s
}

func (x *Decoder) labels(l []Label) []Label {
	for range x.d.Array("labels", maxList) {
		m := x.d.Array("label", 16)
		l = append(l, Label{Key: x.str(), Value: x.str()})
		x.d.Skip(m - 2)
	}
	return l
}

func (x *Decoder) proc(p *Proc, rows int) {
	d := x.d
	n := x.row("process", procLen)
	p.PID, p.PPID, p.ExecCount = d.Uint32(), d.Uint32(), d.Uint32()
	p.Parent = d.Index("parent", rows)
	p.Start, p.ExecTime = d.Int(), d.Int()
	p.Exe, p.Comm = x.str(), x.str()
	p.Args = x.list(p.Args[:0], "args")
	p.Cwd = x.str()
	p.Env = x.list(p.Env[:0], "env")
	p.UID, p.EUID, p.GID, p.EGID, p.LoginUID, p.SessionID = d.Uint32(), d.Uint32(), d.Uint32(), d.Uint32(), d.Uint32(), d.Uint32()
	p.CapEffective, p.CapPermitted, p.CapInherit = d.Uint(), d.Uint(), d.Uint()
	p.TTY, p.TTYNr = x.str(), d.Uint32()
	p.SID, p.PGID, p.VPID, p.VPGID, p.VSID = d.Uint32(), d.Uint32(), d.Uint32(), d.Uint32(), d.Uint32()
	p.PidNS, p.MntNS, p.NetNS, p.UserNS = d.Uint32(), d.Uint32(), d.Uint32(), d.Uint32()
	p.Cgroup = x.str()
	p.Container = d.Index("container", maxRows)
	p.ExeIno, p.ExeDev, p.ExeCtime, p.ExeMtime = d.Uint(), d.Uint(), d.Int(), d.Int()
	p.Flags = ProcFlag(d.Uint32())
	p.User, p.LoginUser = d.Index("user", maxRows), d.Index("user", maxRows)
	p.Group, p.ExeHash, p.Labels = x.str(), 0, p.Labels[:0]
	if n > procLen {
		p.ExeHash = x.str()
	}
	if n > procLen+1 {
		p.Labels = x.labels(p.Labels)
	}
	d.Skip(n - procLen - 2)
}
