// Package recordtest makes raw records by hand, as the kernel side writes them, for
// tests of what reads them.
package recordtest

import (
	"encoding/binary"

	"github.com/gyre-sec/gyre/bpf"
)

// Record makes a record: a slot is an int, or a string, which is put behind the slots.
func Record(h bpf.Header, slots ...any) []byte {
	le := binary.LittleEndian
	raw := make([]byte, bpf.HeaderSize+8*len(slots))
	for i, s := range slots {
		at := raw[bpf.HeaderSize+8*i:]
		switch v := s.(type) {
		case int:
			le.PutUint64(at, uint64(int64(v)))
		case string:
			if v != "" {
				le.PutUint32(at, uint32(len(raw)))
				le.PutUint32(at[4:], uint32(len(v)))
				raw = append(raw, v...)
			}
		default:
			panic("recordtest: a slot is an int or a string")
		}
	}
	le.PutUint16(raw, h.Kind)
	le.PutUint16(raw[2:], h.Flags)
	le.PutUint32(raw[4:], uint32(len(raw)))
	le.PutUint64(raw[8:], h.Time)
	le.PutUint32(raw[16:], h.TGID)
	le.PutUint32(raw[20:], h.TID)
	le.PutUint64(raw[24:], h.Start)
	le.PutUint32(raw[32:], h.Execs)
	le.PutUint32(raw[36:], h.UID)
	le.PutUint32(raw[40:], h.GID)
	le.PutUint32(raw[44:], h.CPU)
	le.PutUint64(raw[48:], uint64(h.Ret))
	le.PutUint64(raw[56:], h.Cgroup)
	copy(raw[64:80], h.Comm[:])
	le.PutUint32(raw[80:], uint32(len(slots)))
	le.PutUint64(raw[88:], h.CapEff)
	le.PutUint64(raw[96:], h.CapPerm)
	return raw
}

// Snapshot is the part of a process snapshot that tests care for.
type Snapshot struct {
	PPID, ParentStart, UID      int
	Exe, Args, Cwd, Cgroup, TTY string
}

// Exec makes the record of a successful exec, or of a seed if h has the flag.
func Exec(h bpf.Header, s Snapshot) []byte {
	h.Flags |= bpf.FlagSnapshot
	slots := []any{-100, "", s.Exe, 0}
	snap := make([]any, bpf.SnapCount)
	for i := range snap {
		snap[i] = 0
	}
	snap[bpf.SnapPPID], snap[bpf.SnapParentStart], snap[bpf.SnapUID], snap[bpf.SnapEUID] = s.PPID, s.ParentStart, s.UID, s.UID
	snap[bpf.SnapExe], snap[bpf.SnapArgs], snap[bpf.SnapCwd], snap[bpf.SnapCgroup], snap[bpf.SnapTTY] = s.Exe, s.Args, s.Cwd, s.Cgroup, s.TTY
	return Record(h, append(slots, snap...)...)
}
