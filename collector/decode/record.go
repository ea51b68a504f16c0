// Package decode reads the raw records of the kernel side into a [Record], a form
// that does not depend on their layout.
//
// It is pure: it needs no kernel and no privilege, believes no length or offset
// that it has not checked, and allocates nothing per record. A [Decoder] is not
// safe for concurrent use; what it returns is valid until its next call and as
// long as the raw record is.
package decode

import (
	"errors"
	"strings"

	"github.com/gyre-sec/gyre/collector/cgroup"
	"github.com/gyre-sec/gyre/collector/procfs"
	"github.com/gyre-sec/gyre/collector/proctable"
	"github.com/gyre-sec/gyre/schemas/eventv1"
)

// ErrMalformed is wrapped by all errors of this package: the record is not what the kernel side writes.
var ErrMalformed = errors.New("malformed record")

// Record is one decoded record.
type Record struct {
	Kind  eventv1.Kind
	Flags eventv1.EventFlag
	CPU   uint16
	TID   uint32
	// Time is in nanoseconds since boot.
	Time int64
	Ret  int64
	// Task is the process that acted.
	Task proctable.Header
	// Args are the arguments in the order of the kind table. Those that are strings are in Text instead, by the same index.
	Args [eventv1.MaxArgs]int64
	Text [eventv1.MaxArgs][]byte
	// Image is what became of the process, for a successful exec and for the seed; HasImage tells whether it is there.
	HasImage bool
	Image    Image
	// Child is the new process of a clone; its PID is 0 for a thread or a failure.
	Child Child
	// Seed is set for a process that was running before it was watched: not an event.
	Seed bool
}

// Child is a new process.
type Child struct {
	proctable.Key
	ExecCount, VPID, PidNS uint32
	KernelThread           bool
}

// Image is a process's columns with the strings as they stand in the record.
type Image struct {
	// Row holds the columns that are numbers.
	Row                                    eventv1.Proc
	Exe, Comm, Cwd, Cgroup, TTY, Args, Env []byte
	CgroupID                               uint64
	ParentStart                            int64
}

// Facts copies an image to keep.
func (i *Image) Facts() proctable.Facts {
	f := proctable.Facts{
		Row: i.Row, Exe: string(i.Exe), Comm: string(i.Comm), Cwd: string(i.Cwd), Cgroup: string(i.Cgroup),
		TTY: string(i.TTY), Args: procfs.SplitArgs(i.Args), CgroupID: i.CgroupID, ParentStart: i.ParentStart,
	}
	if c, ok := cgroup.Parse(f.Cgroup); ok {
		f.ContainerID, f.Runtime, f.PodUID = c.ID, c.Runtime, c.PodUID
	}
	f.Exe = strings.TrimSuffix(f.Exe, deletedMark)
	if len(i.Env) > 0 {
		f.Env = procfs.SplitArgs(i.Env)
	}
	return f
}

// deletedMark is what the kernel appends to the path of a file without a name.
const deletedMark = " (deleted)"
