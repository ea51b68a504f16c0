package bpf

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
)

// MaxMutePath is the longest program path or path prefix that a mute list takes, in bytes.
const MaxMutePath = 251

// Mutes are the mute lists. Events of a process's life are told all the same: the process table lives on them.
type Mutes struct {
	// Exes are absolute paths of programs, as their processes see them.
	Exes []string
	// Groups are ids of control groups.
	Groups []uint64
	// Prefixes are starts of absolute paths: opens of such files are muted.
	Prefixes []string
}

// SetMutes replaces the mute lists while running. Programs that run already are muted with [Objects.MuteProcess].
func (o *Objects) SetMutes(m Mutes) error {
	exes := make(map[[MaxMutePath + 1]byte]bool, len(m.Exes))
	for _, p := range m.Exes {
		key, err := mutePath(p)
		if err != nil {
			return err
		}
		exes[key] = true
	}
	if err := replace(o.coll.Maps["muted_exes"], exes); err != nil {
		return fmt.Errorf("mute programs: %w", err)
	}
	groups := make(map[uint64]bool, len(m.Groups))
	for _, id := range m.Groups {
		groups[id] = true
	}
	if err := replace(o.coll.Maps["muted_groups"], groups); err != nil {
		return fmt.Errorf("mute control groups: %w", err)
	}
	prefixes := make(map[muteKey]bool, len(m.Prefixes))
	for _, p := range m.Prefixes {
		key, err := mutePath(p)
		if err != nil {
			return err
		}
		prefixes[muteKey{uint32(8 * len(p)), key}] = true
	}
	if err := replace(o.coll.Maps["muted_paths"], prefixes); err != nil {
		return fmt.Errorf("mute paths: %w", err)
	}
	return errors.Join(o.flag("mute_exes", len(exes) > 0), o.flag("mute_groups", len(groups) > 0), o.flag("mute_paths", len(prefixes) > 0))
}

type muteKey struct {
	Bits uint32
	Path [MaxMutePath + 1]byte
}

func mutePath(p string) (key [MaxMutePath + 1]byte, err error) {
	if len(p) == 0 || p[0] != '/' || len(p) > MaxMutePath {
		return key, fmt.Errorf("mute %q: want an absolute path of at most %d bytes", p, MaxMutePath)
	}
	copy(key[:], p)
	return key, nil
}

// MuteProcess puts a process that runs already onto the mute list, or takes it off.
func (o *Objects) MuteProcess(tgid uint32, on bool) error {
	var bits uint32
	m := o.coll.Maps["excluded"]
	if err := m.Lookup(tgid, &bits); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("mute process %d: %w", tgid, err)
	}
	was := bits
	bits &^= muted
	if on {
		bits |= muted
	}
	switch bits {
	case was:
		return nil
	case 0:
		if err := m.Delete(tgid); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("unmute process %d: %w", tgid, err)
		}
		return nil
	}
	return o.exclude(tgid, bits)
}

// replace makes the keys of m those of want, adding before it takes away.
func replace[K comparable](m *ebpf.Map, want map[K]bool) error {
	for k := range want {
		if err := m.Put(&k, uint8(1)); err != nil {
			return err
		}
	}
	var old []K
	var k K
	var v uint8
	for it := m.Iterate(); it.Next(&k, &v); {
		if !want[k] {
			old = append(old, k)
		}
	}
	for _, k := range old {
		if err := m.Delete(&k); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return err
		}
	}
	return nil
}
