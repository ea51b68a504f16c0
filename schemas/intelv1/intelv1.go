// Package intelv1 is a list of threat intelligence as it is kept in the bucket intel:
// indicators of compromise, that is addresses, networks, domain names, paths and
// SHA-256 sums of files.
//
// A list has a manifest, one JSON object, and chunks with its indicators:
//
//	key list.<name>                 {"v":1,"name":"feodo","digest":"...","chunks":2,"entries":31337,...}
//	key chunk.<name>.<digest>.<n>   deflated text: one indicator a line in its normal form, sorted
//
// Chunks are written before the manifest that names them, and deleted after the next
// one has replaced it: whoever reads a manifest finds its chunks, or reads a newer one.
package intelv1

import (
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// Version is the version of the manifest.
const Version = 1

// Limits on what a reader believes and a writer sends.
const (
	// MaxEntries bounds a list.
	MaxEntries = 5_000_000
	// chunkText is how much text a chunk holds, in bytes: deflated it fits into a message of NATS.
	chunkText = 768 << 10
	maxChunks = 4096
	maxName   = 64
)

// Errors of the decoders; both are permanent.
var (
	// ErrVersion is returned for a manifest of another version.
	ErrVersion = errors.New("list is of another version")
	// ErrMalformed is returned for what is no manifest or chunk.
	ErrMalformed = errors.New("malformed list")
)

// Manifest describes a list.
type Manifest struct {
	V      int    `json:"v"`
	Name   string `json:"name"`
	Digest string `json:"digest"`
	Chunks int    `json:"chunks"`
	// Entries counts indicators, Skipped lines of the source that were none.
	Entries int       `json:"entries"`
	Skipped int       `json:"skipped,omitempty"`
	Source  string    `json:"source,omitempty"`
	Updated time.Time `json:"updated"`
}

// KeyPattern matches the keys of all manifests.
const KeyPattern = "list.*"

// Key is the key of a list's manifest.
func Key(name string) string { return "list." + name }

// ChunkKey is the key of chunk n.
func (m Manifest) ChunkKey(n int) string {
	return "chunk." + m.Name + "." + m.Digest + "." + strconv.Itoa(n)
}

// CheckName checks the name of a list: letters, digits, - and _.
func CheckName(s string) error {
	if s == "" || len(s) > maxName {
		return fmt.Errorf("the name of a list has 1 to %d bytes, %q has %d", maxName, s, len(s))
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return fmt.Errorf("%q cannot be the name of a list: want letters, digits, - and _", s)
		}
	}
	return nil
}

// Encode returns the JSON form.
func (m Manifest) Encode() ([]byte, error) {
	m.V = Version
	b, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode manifest: %w", err)
	}
	return b, nil
}

// Decode reads what [Manifest.Encode] wrote.
func Decode(data []byte) (Manifest, error) {
	var m Manifest
	if err := json.Unmarshal(data, &m); err != nil {
		return m, fmt.Errorf("%w: decode manifest: %w", ErrMalformed, err)
	}
	if m.V != Version {
		return m, fmt.Errorf("%w: %d, want %d", ErrVersion, m.V, Version)
	}
	if err := CheckName(m.Name); err != nil {
		return m, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if m.Chunks < 0 || m.Chunks > maxChunks || m.Entries < 0 || m.Entries > MaxEntries || strings.ContainsAny(m.Digest, ".*> ") || m.Digest == "" {
		return m, fmt.Errorf("%w: manifest of %s is out of bounds", ErrMalformed, m.Name)
	}
	return m, nil
}

// Pack makes the manifest and chunks of sorted indicators in their normal form; see [Parse].
func Pack(name, source string, sorted []string, now time.Time) (Manifest, [][]byte, error) {
	if len(sorted) > MaxEntries {
		return Manifest{}, nil, fmt.Errorf("pack list %s: %d indicators, at most %d are possible", name, len(sorted), MaxEntries)
	}
	if err := CheckName(name); err != nil {
		return Manifest{}, nil, err
	}
	sum := sha256.New()
	var chunks [][]byte
	var text bytes.Buffer
	flush := func() error {
		if text.Len() == 0 {
			return nil
		}
		_, _ = sum.Write(text.Bytes())
		var out bytes.Buffer
		w, err := flate.NewWriter(&out, flate.BestSpeed)
		if err == nil {
			_, err = w.Write(text.Bytes())
		}
		if err == nil {
			err = w.Close()
		}
		if err != nil {
			return fmt.Errorf("deflate chunk: %w", err)
		}
		chunks = append(chunks, out.Bytes())
		text.Reset()
		return nil
	}
	for _, s := range sorted {
		if text.Len()+len(s)+1 > chunkText {
			if err := flush(); err != nil {
				return Manifest{}, nil, err
			}
		}
		text.WriteString(s)
		text.WriteByte('\n')
	}
	if err := flush(); err != nil {
		return Manifest{}, nil, err
	}
	m := Manifest{Name: name, Digest: hex.EncodeToString(sum.Sum(nil)[:8]), Chunks: len(chunks), Entries: len(sorted), Source: source, Updated: now.UTC()}
	return m, chunks, nil
}

// Unpack calls each for every indicator of a chunk; the slice is valid during the call only.
func Unpack(chunk []byte, each func([]byte)) error {
	text, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(chunk)), chunkText+1))
	if err != nil {
		return fmt.Errorf("%w: inflate chunk: %w", ErrMalformed, err)
	}
	if len(text) > chunkText {
		return fmt.Errorf("%w: a chunk inflates to more than %d bytes", ErrMalformed, chunkText)
	}
	for len(text) > 0 {
		line, rest, ok := bytes.Cut(text, []byte{'\n'})
		if !ok {
			return fmt.Errorf("%w: a chunk ends within a line", ErrMalformed)
		}
		each(line)
		text = rest
	}
	return nil
}
