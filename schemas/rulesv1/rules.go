// Package rulesv1 is a version of a rule set as it travels: all its files in one compressed, signed document.
//
// The document is the value of a key of the bucket of rule sets; the key is the set's name. A version is named by
// its digest, which is that of its files alone: who pushes the same files again makes the same version.
package rulesv1

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strings"
	"time"
)

// Version is the first element of a document.
const Version = 1

// Bounds. A document fits into one message of a NATS server with its default settings.
const (
	MaxDocument = 1_000_000
	MaxContent  = 16 << 20
	MaxFiles    = 1000
	MaxName     = 255
	MaxText     = 1 << 10
)

var (
	// ErrInvalid says: the set can not be kept, whatever is done; the message says why.
	ErrInvalid = errors.New("invalid rule set")
	// ErrTooLarge says: there is more of it than a document holds.
	ErrTooLarge = errors.New("rule set too large")
	// ErrMalformed says: the bytes are no document of a rule set.
	ErrMalformed = errors.New("malformed rule set")
	// ErrUnsigned says: a signature is required, and there is none.
	ErrUnsigned = errors.New("rule set is not signed")
	// ErrSignature says: the signature is none of the keys that are trusted, or of other bytes.
	ErrSignature = errors.New("rule set is not signed by a trusted key")
)

// File is a rule file, Falco's or native.
type File struct {
	// Name is its path below the directory that was pushed, with slashes.
	Name string
	Data []byte
}

// Set is one version of a rule set.
type Set struct {
	// Name is the key that it is kept under.
	Name string
	// Pushed is when, in nanoseconds since the Unix epoch. It grows from version to version of a name.
	Pushed int64
	// Author and Comment are for those who read the history.
	Author, Comment string
	// KeyID names the key that signs, "" if none does.
	KeyID string
	// Files in the order in which they are loaded.
	Files []File
}

// Time is when the set was pushed.
func (s *Set) Time() time.Time { return time.Unix(0, s.Pushed) }

// Digest names the files: "sha256:" and 64 digits over names and contents in their order.
func (s *Set) Digest() string {
	h := sha256.New()
	var n [8]byte
	put := func(size int) { h.Write(binary.BigEndian.AppendUint64(n[:0], uint64(size))) }
	for _, f := range s.Files {
		put(len(f.Name))
		h.Write([]byte(f.Name))
		put(len(f.Data))
		h.Write(f.Data)
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}

// Short is the beginning of a digest that people use.
func Short(digest string) string {
	digest = strings.TrimPrefix(digest, "sha256:")
	return digest[:min(12, len(digest))]
}

var setName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$`)

// CheckName accepts names of rule sets: 1 to 64 letters, digits, "-" and "_". Errors wrap [ErrInvalid].
func CheckName(name string) error {
	if !setName.MatchString(name) {
		return fmt.Errorf("%w: the name %q, want 1 to 64 letters, digits, - and _", ErrInvalid, name)
	}
	return nil
}

// Validate checks names and bounds. Errors wrap [ErrInvalid] or [ErrTooLarge].
func (s *Set) Validate() error {
	if err := CheckName(s.Name); err != nil {
		return err
	}
	if len(s.Author) > MaxText || len(s.Comment) > MaxText {
		return fmt.Errorf("%w: an author or comment above %d bytes", ErrTooLarge, MaxText)
	}
	if len(s.Files) == 0 {
		return fmt.Errorf("%w: it has no files", ErrInvalid)
	}
	if len(s.Files) > MaxFiles {
		return fmt.Errorf("%w: %d files, at most %d", ErrTooLarge, len(s.Files), MaxFiles)
	}
	seen, size := map[string]bool{}, 0
	for _, f := range s.Files {
		if err := checkFile(f.Name); err != nil {
			return err
		}
		if seen[f.Name] {
			return fmt.Errorf("%w: two files %s", ErrInvalid, f.Name)
		}
		seen[f.Name] = true
		size += len(f.Data)
	}
	if size > MaxContent {
		return fmt.Errorf("%w: %d bytes in all files, at most %d", ErrTooLarge, size, MaxContent)
	}
	return nil
}

// checkFile keeps to names that mean a rule file below any directory, on every system, and are seen when it is read.
func checkFile(name string) error {
	bad := func(why string) error { return fmt.Errorf("%w: the file name %.300q %s", ErrInvalid, name, why) }
	switch {
	case len(name) > MaxName:
		return bad(fmt.Sprintf("is longer than %d bytes", MaxName))
	case !fs.ValidPath(name), strings.ContainsAny(name, "\\:"):
		return bad("is not a path below a directory")
	case path.Ext(name) != ".yaml" && path.Ext(name) != ".yml", path.Base(name) == "cases.yaml":
		return bad("is not that of a rule file (*.yaml, *.yml)")
	}
	for _, r := range name {
		if r < ' ' || r == 0x7f || r == 0xfffd {
			return bad("has characters that are not printed")
		}
	}
	for part := range strings.SplitSeq(name, "/") {
		if strings.HasPrefix(part, ".") {
			return bad("is hidden")
		}
	}
	return nil
}
