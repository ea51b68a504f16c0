package bpf

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Record flags, as enum gyre_flag of include/event.h.
const (
	FlagCompat    = 1
	FlagIOUring   = 2
	FlagTruncated = 4
	FlagThread    = 8
	FlagSnapshot  = 16
	FlagKThread   = 32
	FlagSeed      = 64
)

// Slots of the kinds, in the order of include/event.h.
//
//revive:disable:exported one line per kind says more
const (
	ExecDirFD, ExecBase, ExecFilename, ExecFlags, ExecSlots = 0, 1, 2, 3, 4

	CloneFlags, CloneChildTID, CloneChildTGID, CloneChildStart, CloneChildExecs, CloneChildVPID, CloneChildPidNS, CloneSlots = 0, 1, 2, 3, 4, 5, 6, 7

	ExitStatus, ExitLast, ExitSlots = 0, 1, 2

	OpenFD, OpenDirFD, OpenPath, OpenBase, OpenNameRaw, OpenFlags, OpenMode, OpenResolve, OpenDev, OpenIno, OpenFileFlags, OpenFileMode, OpenFolded, OpenSlots = 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13

	// What [OpSocket] appends starts at MessageSocket.
	MessageFD, MessageSize, MessageSocket, MessageSlots = 0, 1, 2, 11
)

//revive:enable:exported

// Slots of a process snapshot, counted from the end of the kind's own; enum gyre_snapshot.
const (
	SnapPPID = iota
	SnapParentStart
	SnapParentExecs
	SnapExe
	SnapArgs
	SnapCwd
	SnapCgroup
	SnapUID
	SnapEUID
	SnapGID
	SnapEGID
	SnapLoginUID
	SnapSessionID
	SnapCapEff
	SnapCapPerm
	SnapCapInh
	SnapTTY
	SnapTTYNr
	SnapSID
	SnapPGID
	SnapVPID
	SnapVPGID
	SnapVSID
	SnapPidNS
	SnapMntNS
	SnapNetNS
	SnapUserNS
	SnapExeIno
	SnapExeDev
	SnapExeCtime
	SnapExeMtime
	SnapExeFlags
	SnapEnv
	SnapCount
)

// Flags of [SnapExeFlags]; enum gyre_exe_flag.
const (
	ExeWritable = 1 << iota
	ExeUpper
	ExeMemfd
	ExeDeleted
	ExeSetuid
	ExeSetgid
	ExeArgsCut
	ExeKThread
	ExeEnvCut
)

// HeaderSize is sizeof(struct gyre_header).
const HeaderSize = 104

// ErrRecord is wrapped by the errors of [ParseRecord].
var ErrRecord = errors.New("malformed record")

// Header is struct gyre_header; see include/event.h for units.
type Header struct {
	Kind, Flags uint16
	Size        uint32
	Time        uint64
	TGID, TID   uint32
	Start       uint64
	Execs       uint32
	UID, GID    uint32
	CPU         uint32
	Ret         int64
	Cgroup      uint64
	Comm        [16]byte
	NArgs       uint32
	// CapEff and CapPerm are the capabilities of the thread that acted.
	CapEff, CapPerm uint64
}

// Record is a raw record whose header has been read and checked. Its bytes are those of the ring buffer.
type Record struct {
	Header
	raw []byte
}

// ParseRecord reads a record. It believes nothing: sizes and the number of slots are checked.
func ParseRecord(raw []byte) (Record, error) {
	if len(raw) < HeaderSize {
		return Record{}, fmt.Errorf("%w: %d bytes, the header has %d", ErrRecord, len(raw), HeaderSize)
	}
	le := binary.LittleEndian
	r := Record{Header: Header{
		Kind: le.Uint16(raw), Flags: le.Uint16(raw[2:]), Size: le.Uint32(raw[4:]), Time: le.Uint64(raw[8:]),
		TGID: le.Uint32(raw[16:]), TID: le.Uint32(raw[20:]), Start: le.Uint64(raw[24:]), Execs: le.Uint32(raw[32:]),
		UID: le.Uint32(raw[36:]), GID: le.Uint32(raw[40:]), CPU: le.Uint32(raw[44:]), Ret: int64(le.Uint64(raw[48:])),
		Cgroup: le.Uint64(raw[56:]), Comm: [16]byte(raw[64:80]), NArgs: le.Uint32(raw[80:]),
		CapEff: le.Uint64(raw[88:]), CapPerm: le.Uint64(raw[96:]),
	}}
	if int64(r.Size) > int64(len(raw)) || uint64(r.Size) < HeaderSize+8*uint64(r.NArgs) {
		return Record{}, fmt.Errorf("%w: size %d of %d bytes with %d slots", ErrRecord, r.Size, len(raw), r.NArgs)
	}
	r.raw = raw[:r.Size]
	return r, nil
}

// Int returns the number in slot i, 0 if there is no such slot.
func (r *Record) Int(i int) int64 {
	if i < 0 || uint32(i) >= r.NArgs {
		return 0
	}
	return int64(binary.LittleEndian.Uint64(r.raw[HeaderSize+8*i:]))
}

// Bytes returns the string in slot i. It aliases the record; nil means that there is no such slot or
// it points outside of the record's bytes.
func (r *Record) Bytes(i int) []byte {
	v := uint64(r.Int(i))
	off, n := v&0xffffffff, v>>32
	if n == 0 || off < HeaderSize+8*uint64(r.NArgs) || off+n > uint64(len(r.raw)) {
		return nil
	}
	return r.raw[off : off+n : off+n]
}

// Raw is the whole record.
func (r *Record) Raw() []byte { return r.raw }
