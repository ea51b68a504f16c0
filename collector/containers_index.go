package collector

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/collector/container"
	"github.com/gyre-sec/gyre/schemas/factv1"
	"github.com/gyre-sec/gyre/schemas/subject"
)

// index keeps in the facts bucket which containers facts were told of, so that the facts of containers that ended while
// no collector ran are taken away by the next one. A node may not list the bucket.
type index struct {
	node   string
	told   map[string]bool
	before map[string]bool // told by collectors before, and not seen by this one yet
	until  time.Time       // when those of before are taken away
	grace  time.Duration
	loaded bool
	tries  int
	dirty  bool
	saved  time.Time
}

func newIndex(node string, grace time.Duration) *index {
	return &index{node: node, told: map[string]bool{}, before: map[string]bool{}, grace: grace}
}

// loadTries is how often the index is asked for, loadTimeout how long one question takes.
const (
	loadTries   = 3
	loadTimeout = time.Second
)

// saveEvery bounds how often the index is stored.
const saveEvery = 5 * time.Second

// note takes account of a fact that was stored.
func (x *index) note(f container.Fact) {
	id := f.Container.ID
	if f.Gone == x.told[id] {
		x.dirty = true
	}
	delete(x.before, id)
	if f.Gone {
		delete(x.told, id)
		return
	}
	x.told[id] = true
}

// due tells whether keep has something to do.
func (x *index) due(now time.Time) bool {
	return !x.loaded || x.dirty && now.Sub(x.saved) >= saveEvery || len(x.before) > 0 && now.After(x.until)
}

// keep loads the index once, takes away what is long gone, and stores changes.
func (x *index) keep(ctx context.Context, kv *bus.KV, now time.Time) error {
	if !x.loaded {
		if err := x.load(ctx, kv); err != nil {
			// Credentials of a fleet may not allow it: then facts of containers that ended meanwhile stay.
			x.tries++
			x.loaded = x.tries >= loadTries
			return err
		}
		x.loaded, x.until = true, now.Add(x.grace)
	}
	if len(x.before) > 0 && now.After(x.until) {
		for id := range x.before {
			if err := kv.Delete(ctx, subject.FactContainer(x.node, id)); err != nil && !errors.Is(err, bus.ErrNotFound) {
				return err
			}
			delete(x.before, id)
			x.dirty = true
		}
	}
	if !x.dirty || now.Sub(x.saved) < saveEvery {
		return nil
	}
	ids := slices.Concat(slices.Collect(maps.Keys(x.told)), slices.Collect(maps.Keys(x.before)))
	slices.Sort(ids)
	value, err := factv1.ContainerIDs{IDs: ids}.Encode()
	if err != nil {
		return err
	}
	if _, err := kv.Put(ctx, factv1.ContainersKey(x.node), value); err != nil {
		return err
	}
	x.dirty, x.saved = false, now
	return nil
}

func (x *index) load(ctx context.Context, kv *bus.KV) error {
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	e, err := kv.Get(ctx, factv1.ContainersKey(x.node))
	if errors.Is(err, bus.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	old, err := factv1.DecodeContainerIDs(e.Value)
	if err != nil {
		return nil // of another version: its facts stay until the bucket is cleaned
	}
	for _, id := range old.IDs {
		if !x.told[id] {
			x.before[id] = true
		}
	}
	return nil
}
