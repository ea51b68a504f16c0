package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// KV is a key-value bucket.
type KV struct {
	kv     jetstream.KeyValue
	bucket string
}

// Entry is one revision of a key. A deleted key has Deleted set and no Value.
type Entry struct {
	Key      string
	Value    []byte
	Revision uint64
	Created  time.Time
	Deleted  bool
}

// KV opens a bucket that [Bus.Ensure] made.
func (b *Bus) KV(ctx context.Context, bucket string) (*KV, error) {
	kv, err := b.js.KeyValue(ctx, bucket)
	if err != nil {
		return nil, kvError("open bucket", bucket, err)
	}
	return &KV{kv: kv, bucket: bucket}, nil
}

func kvError(what, name string, err error) error {
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound), errors.Is(err, jetstream.ErrKeyDeleted), errors.Is(err, jetstream.ErrBucketNotFound), errors.Is(err, jetstream.ErrNoKeysFound):
		return fmt.Errorf("%s %s: %w", what, name, ErrNotFound)
	case errors.Is(err, jetstream.ErrKeyExists):
		return fmt.Errorf("%s %s: %w", what, name, ErrConflict)
	}
	return fmt.Errorf("%s %s: %w", what, name, err)
}

func entry(e jetstream.KeyValueEntry) Entry {
	return Entry{Key: e.Key(), Value: e.Value(), Revision: e.Revision(), Created: e.Created(), Deleted: e.Operation() != jetstream.KeyValuePut}
}

// Get returns the last revision, or [ErrNotFound].
func (k *KV) Get(ctx context.Context, key string) (Entry, error) {
	e, err := k.kv.Get(ctx, key)
	if err != nil {
		return Entry{}, kvError("get key", key, err)
	}
	return entry(e), nil
}

// Put stores a value and returns its revision.
func (k *KV) Put(ctx context.Context, key string, value []byte) (uint64, error) {
	rev, err := k.kv.Put(ctx, key, value)
	if err != nil {
		return 0, kvError("put key", key, err)
	}
	return rev, nil
}

// Update stores a value if the key is still at revision; 0 means that it must not exist. Otherwise it returns [ErrConflict].
func (k *KV) Update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	rev, err := k.kv.Update(ctx, key, value, revision)
	if err != nil {
		return 0, kvError("update key", key, err)
	}
	return rev, nil
}

// Delete deletes a key; its history stays.
func (k *KV) Delete(ctx context.Context, key string) error {
	if err := k.kv.Delete(ctx, key); err != nil {
		return kvError("delete key", key, err)
	}
	return nil
}

// Keys lists the keys that have a value.
func (k *KV) Keys(ctx context.Context) ([]string, error) {
	keys, err := k.kv.Keys(ctx)
	if errors.Is(err, jetstream.ErrNoKeysFound) {
		return nil, nil
	}
	if err != nil {
		return nil, kvError("list keys of", k.bucket, err)
	}
	return keys, nil
}

// History returns the revisions of a key that are kept, the oldest first.
func (k *KV) History(ctx context.Context, key string) ([]Entry, error) {
	h, err := k.kv.History(ctx, key)
	if err != nil {
		return nil, kvError("read history of", key, err)
	}
	out := make([]Entry, len(h))
	for i, e := range h {
		out[i] = entry(e)
	}
	return out, nil
}

// Watch calls update for the present value of every key that matches pattern (">" for
// all), then current once, then update for each change, until ctx ends. It survives reconnects.
func (k *KV) Watch(ctx context.Context, pattern string, update func(Entry), current func()) error {
	w, err := k.kv.Watch(ctx, pattern)
	if err != nil {
		return kvError("watch", k.bucket+" "+pattern, err)
	}
	defer func() { _ = w.Stop() }()
	for {
		select {
		case <-ctx.Done():
			return nil
		case e, ok := <-w.Updates():
			switch {
			case !ok && ctx.Err() != nil:
				return nil
			case !ok:
				return fmt.Errorf("watch %s %s: the watch ended", k.bucket, pattern)
			case e == nil:
				if current != nil {
					current()
				}
			default:
				update(entry(e))
			}
		}
	}
}
