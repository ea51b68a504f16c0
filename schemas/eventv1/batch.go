// Package eventv1 is the batch of events as it crosses the wire.
//
// A batch explains itself: next to its events it holds the node, the processes
// they mention with all known ancestors, containers and users, in tables that
// events point into by row. No reader needs another batch to understand this one.
//
// The form is msgpack arrays, never maps:
//
//	Batch = [version, node, boot_id, source, first_seq, base_time, boot_time, lost[[kind, n]...], strings[], procs[], containers[],
//	         users[], labels[[key, value]...], count, events(bin), addresses[], pods[]]
//	Event = [kind, seq_delta, time_delta, proc, tid, ret, cpu, flags, args...]
//
// A repeated string stands once in strings and is named by its index; index 0 is
// always the empty string. Times of events are deltas: from base_time for the
// first, from the event before for the others; so are sequence numbers, from
// first_seq. The events are one opaque byte string, which enrichment passes on
// untouched: it may change table rows and append strings, but never move them.
//
// Within version 1 rows and arrays only grow at their end. Readers skip elements
// and kinds that they do not know, read missing ones as zero, and return
// [ErrVersion] for another version. Every length and index is checked.
package eventv1

import (
	"encoding/hex"
	"errors"
	"strconv"
)

// Version is the major version of the wire form.
const Version = 1

// ErrVersion is returned for a batch of another major version. It is permanent: the same bytes never decode.
var ErrVersion = errors.New("batch is of another wire version")

// StrID is an index into a batch's string table; 0 is the empty string.
type StrID uint32

// NoUID is the user or group id that means none, as the audit system uses it (uid -1).
const NoUID = 1<<32 - 1

// Batch is a decoded batch. Events is the encoded form; read it with [Reader].
type Batch struct {
	Node   string
	BootID string
	// Source is where the events come from: "syscall".
	Source string
	// FirstSeq is the number of the first event.
	FirstSeq uint64
	// BaseTime is the time of the first event, BootTime that of the boot: nanoseconds since the Unix epoch.
	BaseTime int64
	BootTime int64
	// Lost counts events lost on the node since the batch before, before they got a number.
	Lost       []Lost
	Strings    []string
	Procs      []Proc
	Containers []Container
	Users      []User
	Labels     []Label
	// Count is the number of events in Events.
	Count  int
	Events []byte
	// Addresses are the IP addresses that events mention, sorted by Addr; Pods the pods of containers.
	Addresses []NetAddr
	Pods      []Pod

	derived []derived
}

// Lost counts lost events of one kind.
type Lost struct {
	Kind  Kind
	Count uint64
}

// Label is a fact of the node, such as its kernel release.
type Label struct{ Key, Value StrID }

// ProcFlag tells what is known of a process and its program file.
type ProcFlag uint32

// The process flags.
const (
	// ProcExeWritable: the process may write its own program file.
	ProcExeWritable ProcFlag = 1 << iota
	// ProcExeUpperLayer: the program lies in the upper layer of an overlay.
	ProcExeUpperLayer
	// ProcExeMemfd: the program lives in memory only.
	ProcExeMemfd
	// ProcExeDeleted: the program's file has no name any more.
	ProcExeDeleted
	// ProcExeSetuid and ProcExeSetgid: the program has the bit set.
	ProcExeSetuid
	ProcExeSetgid
	// ProcArgsTruncated: there were more arguments than Args holds.
	ProcArgsTruncated
	// ProcKernelThread: a thread of the kernel, without a program.
	ProcKernelThread
	// ProcExited: the process had ended when the batch was made.
	ProcExited
	// ProcIncomplete: the process was not seen from its start; some columns are unknown.
	ProcIncomplete
)

// Proc is a row of the process table: one program image in one process.
type Proc struct {
	PID, PPID uint32
	// ExecCount counts the execs of the task (task_struct.self_exec_id); with Start and PID it names the image for ever.
	ExecCount uint32
	// Parent is the row of the parent, -1 if it is not known.
	Parent int32
	// Start of the process in nanoseconds since boot, ExecTime of the image in the same clock (0 if not seen).
	Start, ExecTime int64
	Exe, Comm       StrID
	// Args is argv, the program's name first.
	Args []StrID
	Cwd  StrID
	// Env holds NAME=value of the variables that the capture policy allows.
	Env                                    []StrID
	UID, EUID, GID, EGID                   uint32
	LoginUID, SessionID                    uint32
	CapEffective, CapPermitted, CapInherit uint64
	// TTY is the terminal's name such as "pts0", empty for none; TTYNr its device number.
	TTY   StrID
	TTYNr uint32
	// SID, PGID as the host sees them; V* as the process sees them in its own pid namespace.
	SID, PGID, VPID, VPGID, VSID uint32
	PidNS, MntNS, NetNS, UserNS  uint32
	Cgroup                       StrID
	// Container is a row of the container table, -1 for none.
	Container          int32
	ExeIno, ExeDev     uint64
	ExeCtime, ExeMtime int64
	Flags              ProcFlag
	// User, LoginUser are rows of the user table, -1 until enrichment finds them; Group is the group's name.
	User, LoginUser int32
	Group           StrID
	// ExeHash is the SHA-256 of the program file, 32 bytes, empty while it is not known.
	ExeHash StrID
	// Labels are what lookups of the enricher know of the process.
	Labels []Label
}

// User is a row of the user table. Container is the row of the container whose
// accounts these are, -1 for the host's.
type User struct {
	UID               uint32
	Container         int32
	Name, Home, Shell StrID
	// Labels are what lookups of the enricher know of the user.
	Labels []Label
}

// Text returns a string of the table; an index outside of it gives "".
func (b *Batch) Text(id StrID) string {
	if int(id) < len(b.Strings) {
		return b.Strings[id]
	}
	return ""
}

// Proc returns the row at index i, nil for -1.
func (b *Batch) Proc(i int32) *Proc {
	if i < 0 || int(i) >= len(b.Procs) {
		return nil
	}
	return &b.Procs[i]
}

// Container returns the row at index i, nil for -1.
func (b *Batch) Container(i int32) *Container {
	if i < 0 || int(i) >= len(b.Containers) {
		return nil
	}
	return &b.Containers[i]
}

// User returns the row at index i, nil for -1.
func (b *Batch) User(i int32) *User {
	if i < 0 || int(i) >= len(b.Users) {
		return nil
	}
	return &b.Users[i]
}

// AddString appends s to the string table; enrichers use it.
func (b *Batch) AddString(s string) StrID {
	if s == "" {
		return 0
	}
	b.Strings = append(b.Strings, s)
	return StrID(len(b.Strings) - 1)
}

// Label returns the value of a node label.
func (b *Batch) Label(key string) (string, bool) {
	for _, l := range b.Labels {
		if b.Text(l.Key) == key {
			return b.Text(l.Value), true
		}
	}
	return "", false
}

// ExecID names the image of a process for ever and in the whole fleet:
// "<node>:<first 8 digits of the boot id>:<start, ns since boot>:<pid>:<number of execs>".
func (b *Batch) ExecID(p *Proc) string {
	boot := b.BootID
	if len(boot) > 8 {
		boot = boot[:8]
	}
	buf := make([]byte, 0, len(b.Node)+len(boot)+44)
	buf = append(append(buf, b.Node...), ':')
	buf = append(append(buf, boot...), ':')
	buf = append(strconv.AppendInt(buf, p.Start, 10), ':')
	buf = append(strconv.AppendUint(buf, uint64(p.PID), 10), ':')
	buf = strconv.AppendUint(buf, uint64(p.ExecCount), 10)
	return string(buf)
}

// derived are strings made of a process's columns, once per batch.
type derived struct {
	args, cmdline, exeline string
	have                   bool
	hash                   string
}

func (b *Batch) derivedOf(row int32) *derived {
	if len(b.derived) < len(b.Procs) {
		b.derived = make([]derived, len(b.Procs))
	}
	return &b.derived[row]
}

// ExeSum is the SHA-256 of the program file in hexadecimal, "" while it is not known.
func (b *Batch) ExeSum(row int32) string {
	p := b.Proc(row)
	if p == nil || p.ExeHash == 0 {
		return ""
	}
	d := b.derivedOf(row)
	if d.hash == "" {
		d.hash = hex.EncodeToString([]byte(b.Text(p.ExeHash)))
	}
	return d.hash
}

func (b *Batch) derive(row int32) *derived {
	d := b.derivedOf(row)
	if d.have {
		return d
	}
	p := &b.Procs[row]
	n := 0
	for _, a := range p.Args {
		n += len(b.Text(a)) + 1
	}
	comm, exe := b.Text(p.Comm), ""
	if len(p.Args) > 0 {
		exe = b.Text(p.Args[0])
	}
	buf := make([]byte, 0, n+len(comm)+1)
	buf = append(buf, comm...)
	for i, a := range p.Args {
		if i > 0 {
			buf = append(append(buf, ' '), b.Text(a)...)
		}
	}
	d.cmdline = string(buf)
	d.args = ""
	if len(p.Args) > 1 {
		d.args = d.cmdline[len(comm)+1:]
	}
	d.exeline = exe
	if d.args != "" {
		d.exeline += " " + d.args
	}
	d.have = true
	return d
}

// Cmdline is the command name and the arguments, separated by blanks: Falco's proc.cmdline.
func (b *Batch) Cmdline(row int32) string {
	if b.Proc(row) == nil {
		return ""
	}
	return b.derive(row).cmdline
}

// ArgLine is the arguments without the program's name, separated by blanks: Falco's proc.args.
func (b *Batch) ArgLine(row int32) string {
	if b.Proc(row) == nil {
		return ""
	}
	return b.derive(row).args
}

// ExeLine is argv separated by blanks: Falco's proc.exeline.
func (b *Batch) ExeLine(row int32) string {
	if b.Proc(row) == nil {
		return ""
	}
	return b.derive(row).exeline
}

// Leader finds the row of the process with this pid in the lineage of row, row itself included; -1 if it is not there.
func (b *Batch) Leader(row int32, pid uint32) int32 {
	for n := 0; n <= len(b.Procs); n++ {
		p := b.Proc(row)
		if p == nil {
			return -1
		}
		if p.PID == pid {
			return row
		}
		row = p.Parent
	}
	return -1
}
