package alertv1

import (
	"crypto/sha1" //nolint:gosec // RFC 4122 defines version 5 on SHA-1; it is an identity here, not a protection.
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

// ID identifies an alert for ever: a UUID of version 5 (RFC 9562), derived from
// what was seen and by which rule. Evaluating the same batch twice gives the same ids.
type ID [16]byte

// namespace is the UUID space of gyre's alert ids. It never changes.
var namespace = [16]byte{0x6b, 0x0c, 0x2a, 0x5e, 0x91, 0x4d, 0x4f, 0x0b, 0x8f, 0x5a, 0x3a, 0xd7, 0x52, 0x1c, 0x77, 0xe9}

// EventID is the id of the alert that rule ruleID raises for the event
// (node, bootID, seq), the event's identity in the pipeline.
func EventID(ruleID, node, bootID string, seq uint64) ID {
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], seq)
	return newID("event", ruleID, node, bootID, string(n[:]))
}

// KeyID is the id of an alert that no single event explains: a correlation key
// and its window, or a condition of the pipeline itself.
func KeyID(ruleID, key, window string) ID { return newID("key", ruleID, key, window) }

func newID(parts ...string) ID {
	h := sha1.New() //nolint:gosec // see the import.
	h.Write(namespace[:])
	var l [4]byte
	for _, p := range parts {
		binary.BigEndian.PutUint32(l[:], uint32(len(p)))
		h.Write(l[:])
		h.Write([]byte(p))
	}
	var id ID
	copy(id[:], h.Sum(nil))
	id[6] = id[6]&0x0f | 0x50
	id[8] = id[8]&0x3f | 0x80
	return id
}

// String returns the canonical form of 36 characters.
func (id ID) String() string {
	var b [36]byte
	hex.Encode(b[0:8], id[0:4])
	b[8] = '-'
	hex.Encode(b[9:13], id[4:6])
	b[13] = '-'
	hex.Encode(b[14:18], id[6:8])
	b[18] = '-'
	hex.Encode(b[19:23], id[8:10])
	b[23] = '-'
	hex.Encode(b[24:36], id[10:16])
	return string(b[:])
}

// ParseID reads the canonical form.
func ParseID(s string) (ID, error) {
	var id ID
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return id, fmt.Errorf("parse alert id %q: want the form xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx", s)
	}
	b, err := hex.DecodeString(s[0:8] + s[9:13] + s[14:18] + s[19:23] + s[24:36])
	if err != nil {
		return id, fmt.Errorf("parse alert id %q: %w", s, err)
	}
	copy(id[:], b)
	return id, nil
}

// MarshalText writes the canonical form.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads the canonical form.
func (id *ID) UnmarshalText(b []byte) error {
	v, err := ParseID(string(b))
	if err != nil {
		return err
	}
	*id = v
	return nil
}
