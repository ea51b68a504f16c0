package actionv1

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// ID identifies a request for ever: a random UUID of version 4 (RFC 9562).
type ID [16]byte

// NewID returns a new id.
func NewID() ID {
	var id ID
	_, _ = rand.Read(id[:]) // crypto/rand: never returns an error
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return id
}

// String returns the canonical form of 36 characters.
func (id ID) String() string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[0:4], id[4:6], id[6:8], id[8:10], id[10:16])
}

// MarshalText writes the canonical form.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads the canonical form.
func (id *ID) UnmarshalText(b []byte) error {
	s := string(b)
	raw, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
	if err != nil || len(raw) != len(id) {
		return fmt.Errorf("parse request id %q: want the form xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx", s)
	}
	var v ID
	copy(v[:], raw)
	if v.String() != strings.ToLower(s) {
		return fmt.Errorf("parse request id %q: want the form xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx", s)
	}
	*id = v
	return nil
}

// ExecID is a program image in one process, as events name it in proc.exec_id:
// "<node>:<first 8 digits of the boot id>:<start, ns since boot>:<pid>:<number of execs>".
type ExecID struct {
	Node, Boot string
	// Start of the process in nanoseconds since boot.
	Start int64
	PID   uint32
	Execs uint32
}

// String returns the form that [ParseExecID] reads.
func (e ExecID) String() string {
	return e.Node + ":" + e.Boot + ":" + strconv.FormatInt(e.Start, 10) + ":" + strconv.FormatUint(uint64(e.PID), 10) + ":" + strconv.FormatUint(uint64(e.Execs), 10)
}

// ParseExecID reads an exec id. The node's name may hold colons. Errors wrap [ErrInvalid].
func ParseExecID(s string) (ExecID, error) {
	parts := strings.Split(s, ":")
	if len(parts) < 5 {
		return ExecID{}, fmt.Errorf("%w: %q is no exec id, want NODE:BOOT:START:PID:EXECS as proc.exec_id shows it", ErrInvalid, s)
	}
	n := len(parts) - 4
	e := ExecID{Node: strings.Join(parts[:n], ":"), Boot: parts[n]}
	start, err1 := strconv.ParseInt(parts[n+1], 10, 64)
	pid, err2 := strconv.ParseUint(parts[n+2], 10, 31)
	execs, err3 := strconv.ParseUint(parts[n+3], 10, 32)
	e.Start, e.PID, e.Execs = start, uint32(pid), uint32(execs)
	if err1 != nil || err2 != nil || err3 != nil || start < 0 || pid == 0 || e.Node == "" || e.Boot == "" || e.String() != s {
		return ExecID{}, fmt.Errorf("%w: %q is no exec id, want NODE:BOOT:START:PID:EXECS as proc.exec_id shows it", ErrInvalid, s)
	}
	return e, nil
}
