// Package rulestore keeps the versions of a rule set in a bucket of NATS: the operator's side of what evaluators follow.
//
// The key is the name of the rule set and its history are the versions. A version is stored in one write, which the
// server takes only if nobody has stored another one since it was looked at.
package rulestore

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/schemas/rulesv1"
)

var (
	// ErrNone says: there is no version, or none of this digest.
	ErrNone = errors.New("no such version")
	// ErrConflict says: the current version is not the one that the new one is made of.
	ErrConflict = errors.New("the rule set was changed by somebody else")
	// ErrUnsigned says: the current version is signed and the new one would not be.
	ErrUnsigned = errors.New("the current version is signed, the new one would not be")
)

// Store is the versions of one rule set.
type Store struct {
	kv   *bus.KV
	name string
}

// Version is a revision of the key.
type Version struct {
	Revision uint64
	Stored   time.Time
	// Deleted: from here on there was no rule set. Doc is nil.
	Deleted bool
	// Doc is the version, nil if it does not read; Err says why.
	Doc *rulesv1.Document
	Err error
}

// Digest is that of the files, "" if there are none.
func (v Version) Digest() string {
	if v.Doc == nil {
		return ""
	}
	return v.Doc.Digest()
}

// Open opens the rule set of a name, which need not exist yet.
func Open(ctx context.Context, b *bus.Bus, bucket, name string) (*Store, error) {
	if err := rulesv1.CheckName(name); err != nil {
		return nil, err
	}
	kv, err := b.KV(ctx, bucket)
	if err != nil {
		return nil, err
	}
	return &Store{kv, name}, nil
}

// Versions lists what the bucket still keeps, the oldest first; nothing if there never was a version.
func (s *Store) Versions(ctx context.Context) ([]Version, error) {
	history, err := s.kv.History(ctx, s.name)
	if errors.Is(err, bus.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	list := make([]Version, len(history))
	for i, e := range history {
		list[i] = Version{Revision: e.Revision, Stored: e.Created, Deleted: e.Deleted}
		if !e.Deleted {
			list[i].Doc, list[i].Err = rulesv1.Open(e.Value)
		}
	}
	return list, nil
}

// Current returns the version in the bucket; the zero Version if there never was one.
func (s *Store) Current(ctx context.Context) (Version, error) {
	list, err := s.Versions(ctx)
	if err != nil || len(list) == 0 {
		return Version{}, err
	}
	return list[len(list)-1], nil
}

// Find returns the newest version of a digest, or of the only digest that begins so. Errors wrap [ErrNone].
func (s *Store) Find(ctx context.Context, digest string) (Version, error) {
	list, err := s.Versions(ctx)
	if err != nil {
		return Version{}, err
	}
	return find(list, s.name, digest)
}

// minPrefix is how many digits of a digest are needed to name a version.
const minPrefix = 4

func find(list []Version, name, digest string) (Version, error) {
	prefix := strings.ToLower(strings.TrimPrefix(digest, "sha256:"))
	if len(prefix) < minPrefix {
		return Version{}, fmt.Errorf("%w: the digest %q is too short, want at least %d digits", ErrNone, digest, minPrefix)
	}
	var found Version
	for _, v := range list { // the newest of a digest counts
		d := v.Digest()
		if d == "" || !strings.HasPrefix(strings.TrimPrefix(d, "sha256:"), prefix) {
			continue
		}
		if other := found.Digest(); other != "" && other != d {
			return Version{}, fmt.Errorf("%w: both %s and %s of rule set %s begin with %s", ErrNone, rulesv1.Short(other), rulesv1.Short(d), name, prefix)
		}
		found = v
	}
	if found.Doc == nil {
		return Version{}, fmt.Errorf("%w: rule set %s has no version %s among the last %d", ErrNone, name, digest, len(list))
	}
	return found, nil
}

// Push is a version to be stored.
type Push struct {
	Files           []rulesv1.File
	Author, Comment string
	// Key signs it, if not nil.
	Key ed25519.PrivateKey
	// Base is the digest of the version that the files were made of, "" if there was none.
	Base string
	// Force stores it whatever the current version is.
	Force bool
}

// Push stores a version and returns it. The same files as the current version's are not stored again, unless it is
// another key that signs them; fresh tells. Errors wrap [ErrConflict] and [ErrUnsigned], which Force overrules, and
// those of [rulesv1.Set.Validate].
func (s *Store) Push(ctx context.Context, p Push) (v Version, fresh bool, err error) {
	doc := &rulesv1.Document{Set: rulesv1.Set{Name: s.name, Author: p.Author, Comment: p.Comment, Files: p.Files}}
	digest := doc.Digest()
	for range 3 { // with Force, somebody else may be faster
		now, err := s.Current(ctx)
		if err != nil {
			return Version{}, false, err
		}
		doc.Pushed = time.Now().UnixNano()
		if now.Doc != nil {
			doc.Pushed = max(doc.Pushed, now.Doc.Pushed+1) // another clock may be ahead
		}
		data, err := rulesv1.Marshal(&doc.Set, p.Key)
		if err != nil {
			return Version{}, false, err
		}
		if now.Doc != nil && now.Digest() == digest && now.Doc.KeyID == doc.KeyID {
			return now, false, nil
		}
		if !p.Force {
			if err := s.allowed(now, p, digest); err != nil {
				return Version{}, false, err
			}
		}
		rev, err := s.kv.Update(ctx, s.name, data, now.Revision)
		if errors.Is(err, bus.ErrConflict) {
			if p.Force {
				continue
			}
			return Version{}, false, fmt.Errorf("%w: another version of rule set %s was stored just now", ErrConflict, s.name)
		}
		if err != nil {
			return Version{}, false, err
		}
		doc, err = rulesv1.Open(data)
		return Version{Revision: rev, Stored: time.Now(), Doc: doc}, true, err
	}
	return Version{}, false, fmt.Errorf("%w: rule set %s changes all the time", ErrConflict, s.name)
}

// allowed tells whether a version may follow the current one.
func (s *Store) allowed(now Version, p Push, digest string) error {
	switch {
	case now.Revision == 0 || now.Deleted:
		return nil
	case now.Doc == nil:
		return fmt.Errorf("%w: revision %d of rule set %s was not pushed by gyre: %w", ErrConflict, now.Revision, s.name, now.Err)
	case now.Doc.KeyID != "" && p.Key == nil:
		return fmt.Errorf("%w: by the key %s", ErrUnsigned, now.Doc.KeyID)
	case now.Digest() == p.Base, now.Digest() == digest:
		return nil
	}
	made := "of no version"
	if p.Base != "" {
		made = "of version " + rulesv1.Short(p.Base)
	}
	return fmt.Errorf("%w: these files are made %s, but %s pushed %s at %s", ErrConflict, made, who(now.Doc), rulesv1.Short(now.Digest()), now.Doc.Time().UTC().Format(time.RFC3339))
}

func who(d *rulesv1.Document) string {
	if d.Author == "" {
		return "somebody"
	}
	return fmt.Sprintf("%q", d.Author)
}

// Rollback makes an earlier version current again, as a new version of the same digest; "" is the newest one of another
// digest than the current one's. It is signed anew if key is not nil. Errors are those of [Store.Find] and [Store.Push].
func (s *Store) Rollback(ctx context.Context, digest, author, comment string, key ed25519.PrivateKey) (v Version, fresh bool, err error) {
	list, err := s.Versions(ctx)
	if err != nil {
		return Version{}, false, err
	}
	if len(list) == 0 {
		return Version{}, false, fmt.Errorf("%w: rule set %s was never pushed", ErrNone, s.name)
	}
	now := list[len(list)-1]
	var to Version
	if digest != "" {
		if to, err = find(list, s.name, digest); err != nil {
			return Version{}, false, err
		}
	} else {
		for _, x := range list {
			if x.Doc != nil && x.Digest() != now.Digest() {
				to = x
			}
		}
		if to.Doc == nil {
			return Version{}, false, fmt.Errorf("%w: rule set %s has no version before the current one", ErrNone, s.name)
		}
	}
	if comment == "" {
		comment = fmt.Sprintf("rollback to %s of revision %d", rulesv1.Short(to.Digest()), to.Revision)
	}
	base := now.Digest()
	return s.Push(ctx, Push{Files: to.Doc.Files, Author: author, Comment: comment, Key: key, Base: base, Force: now.Doc == nil && !now.Deleted})
}
