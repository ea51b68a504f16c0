// Package indicator keeps lists of threat intelligence in their bucket, in chunks that fit
// into messages; see [intelv1]. A reader never sees half a list.
package indicator

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/schemas/intelv1"
)

// Put stores a list, then deletes the chunks of the one before. It tells whether the content is new.
func Put(ctx context.Context, kv *bus.KV, m intelv1.Manifest, chunks [][]byte) (bool, error) {
	old, err := Get(ctx, kv, m.Name)
	switch {
	case errors.Is(err, bus.ErrNotFound):
	case err != nil && !errors.Is(err, intelv1.ErrMalformed) && !errors.Is(err, intelv1.ErrVersion):
		return false, err
	case old.Digest == m.Digest && old.Source == m.Source:
		return false, nil
	}
	for i, c := range chunks {
		if _, err := kv.Put(ctx, m.ChunkKey(i), c); err != nil {
			return false, fmt.Errorf("store list %s: %w", m.Name, err)
		}
	}
	data, err := m.Encode()
	if err != nil {
		return false, err
	}
	if _, err := kv.Put(ctx, intelv1.Key(m.Name), data); err != nil {
		return false, fmt.Errorf("store list %s: %w", m.Name, err)
	}
	if old.Digest != m.Digest {
		return true, drop(ctx, kv, old)
	}
	return true, nil
}

// drop deletes the chunks of a list.
func drop(ctx context.Context, kv *bus.KV, m intelv1.Manifest) error {
	for i := range m.Chunks {
		if err := kv.Delete(ctx, m.ChunkKey(i)); err != nil {
			return fmt.Errorf("delete list %s: %w", m.Name, err)
		}
	}
	return nil
}

// Get returns the manifest of a list, or [bus.ErrNotFound].
func Get(ctx context.Context, kv *bus.KV, name string) (intelv1.Manifest, error) {
	e, err := kv.Get(ctx, intelv1.Key(name))
	if err != nil {
		return intelv1.Manifest{}, err
	}
	return intelv1.Decode(e.Value)
}

// Each calls each for every indicator of a list. The slice is valid during the call only.
func Each(ctx context.Context, kv *bus.KV, m intelv1.Manifest, each func([]byte)) error {
	for i := range m.Chunks {
		e, err := kv.Get(ctx, m.ChunkKey(i))
		if err != nil {
			return fmt.Errorf("read list %s: %w", m.Name, err)
		}
		if err := intelv1.Unpack(e.Value, each); err != nil {
			return fmt.Errorf("read list %s: %w", m.Name, err)
		}
	}
	return nil
}

// Delete deletes a list.
func Delete(ctx context.Context, kv *bus.KV, name string) error {
	m, err := Get(ctx, kv, name)
	if err != nil {
		return err
	}
	if err := kv.Delete(ctx, intelv1.Key(name)); err != nil {
		return err
	}
	return drop(ctx, kv, m)
}

// List returns the manifests of all lists; one that cannot be read is an error after the others.
func List(ctx context.Context, kv *bus.KV) ([]intelv1.Manifest, error) {
	keys, err := kv.Keys(ctx)
	if err != nil {
		return nil, err
	}
	var out []intelv1.Manifest
	var errs []error
	for _, k := range keys {
		name, ok := strings.CutPrefix(k, intelv1.Key(""))
		if !ok {
			continue
		}
		m, err := Get(ctx, kv, name)
		if err != nil {
			errs = append(errs, fmt.Errorf("list %s: %w", name, err))
			continue
		}
		out = append(out, m)
	}
	return out, errors.Join(errs...)
}
