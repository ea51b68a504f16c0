package correlate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/klauspost/compress/s2"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/evaluator/ruleset"
	"github.com/gyre-sec/gyre/schemas/wire"
)

// inline is up to which size a snapshot is stored in its head; a larger one is cut into chunks of this size.
const inline = 512 << 10

const (
	headVersion = 1
	maxChunks   = 4096
	maxState    = 1 << 30
)

// errFenced says that another correlator has taken the partition.
var errFenced = errors.New("another correlator has taken the partition")

// head is the entry of a partition in the bucket. Whoever writes it must have read its last revision.
type head struct {
	owner string
	// epoch counts the owners, dataEpoch is the one who wrote the data: chunks of different owners have different names.
	epoch, dataEpoch uint64
	// seq is the last message of SIGNALS that is in the state.
	seq uint64
	// turn tells the chunks of a snapshot from those of the one before.
	turn   uint64
	chunks int
	data   []byte // compressed; nil if it is in chunks, or if there is no state
}

func headKey(p int) string { return "part." + strconv.Itoa(p) }

func (h *head) chunkKey(p, i int) string {
	return fmt.Sprintf("data.%d.%d.%d.%d", p, h.dataEpoch, h.turn%2, i)
}

func (h *head) encode() []byte {
	w := wire.NewEncoder()
	w.Array(8)
	w.Int(headVersion)
	w.String(h.owner)
	w.Uint(h.epoch)
	w.Uint(h.dataEpoch)
	w.Uint(h.seq)
	w.Uint(h.turn)
	w.Uint(uint64(h.chunks))
	w.Bytes(h.data)
	return w.Data()
}

func decodeHead(data []byte) (head, error) {
	d := wire.NewDecoder()
	d.Reset(data)
	n := d.Array("head", 64)
	if v := d.Int(); d.Err() == nil && v != headVersion {
		return head{}, fmt.Errorf("head of a partition %w: %d, want %d", ErrVersion, v, headVersion)
	}
	if n < 8 {
		d.Fail("head of %d elements, want 8", n)
	}
	h := head{owner: d.String(), epoch: d.Uint(), dataEpoch: d.Uint(), seq: d.Uint(), turn: d.Uint()}
	if c := d.Uint(); c <= maxChunks {
		h.chunks = int(c)
	} else {
		d.Fail("%d chunks", c)
	}
	h.data = slices.Clone(d.Bytes())
	d.Skip(n - 8)
	return h, d.Err()
}

// partition is a partition that this correlator owns.
type partition struct {
	n        int
	engine   *Engine
	head     head
	revision uint64
	// stale are the chunks of the snapshot before.
	stale []string
	// seen is the last message that is in the state, or that is known not to be of this partition.
	seen  uint64
	saved time.Time
}

// owner reads who owns a partition; a partition that was never owned has an empty head at revision 0.
func owner(ctx context.Context, kv *bus.KV, p int) (head, uint64, error) {
	e, err := kv.Get(ctx, headKey(p))
	if errors.Is(err, bus.ErrNotFound) {
		return head{}, 0, nil
	}
	if err != nil {
		return head{}, 0, err
	}
	h, err := decodeHead(e.Value)
	return h, e.Revision, err
}

// Owner is the name of the correlator that owns a partition, "" if none does.
func Owner(ctx context.Context, b *bus.Bus, p int) (string, error) {
	kv, err := b.KV(ctx, bus.BucketCorrelate)
	if err != nil {
		return "", err
	}
	h, _, err := owner(ctx, kv, p)
	return h.owner, err
}

// claim makes me the owner of a partition and restores its state. It returns [errFenced] if somebody else was faster.
func claim(ctx context.Context, kv *bus.KV, p int, me string, h head, revision uint64, b *Budget, set *ruleset.Set, clock int64) (*partition, error) {
	mine := h
	mine.owner = me
	mine.epoch++
	rev, err := kv.Update(ctx, headKey(p), mine.encode(), revision)
	if errors.Is(err, bus.ErrConflict) {
		return nil, errFenced
	}
	if err != nil {
		return nil, err
	}
	x := &partition{n: p, engine: NewEngine(b), head: mine, revision: rev, seen: h.seq, saved: time.Now()}
	x.engine.SetRules(set, 0)
	packed := h.data
	for i := range h.chunks {
		key := h.chunkKey(p, i)
		e, err := kv.Get(ctx, key)
		if err != nil {
			return nil, fmt.Errorf("read snapshot of partition %d: %w", p, err)
		}
		packed = append(packed, e.Value...)
		x.stale = append(x.stale, key)
	}
	if len(packed) > 0 {
		if n, err := s2.DecodedLen(packed); err != nil || n > maxState {
			return nil, fmt.Errorf("read snapshot of partition %d: it does not decompress", p)
		}
		data, err := s2.Decode(nil, packed)
		if err != nil {
			return nil, fmt.Errorf("read snapshot of partition %d: %w", p, err)
		}
		if err := x.engine.Restore(data); err != nil {
			x.engine.Close()
			return nil, fmt.Errorf("read snapshot of partition %d: %w", p, err)
		}
	} else {
		x.engine.SetRules(set, clock)
		for name := range x.engine.since {
			x.engine.since[name] = clock // learning begins now
		}
	}
	return x, nil
}

// save stores the state, when every alert that it has raised is stored. release gives the partition up. It returns
// [errFenced] if another correlator has the partition.
func (x *partition) save(ctx context.Context, kv *bus.KV, release bool) (size int, err error) {
	data, err := x.engine.Snapshot()
	if err != nil {
		return 0, err
	}
	packed := s2.Encode(nil, data)
	h := x.head
	h.turn++
	h.dataEpoch = h.epoch
	h.chunks, h.data = 0, packed
	if release {
		h.owner = ""
	}
	var written []string
	if len(packed) > inline {
		h.data = nil
		for part := range slices.Chunk(packed, inline) {
			key := h.chunkKey(x.n, h.chunks)
			if _, err := kv.Put(ctx, key, part); err != nil {
				return 0, err
			}
			written = append(written, key)
			h.chunks++
		}
	}
	rev, err := kv.Update(ctx, headKey(x.n), h.encode(), x.revision)
	if errors.Is(err, bus.ErrConflict) {
		return 0, errFenced
	}
	if err != nil {
		return 0, err
	}
	for _, key := range x.stale { // nobody reads them any more
		if !slices.Contains(written, key) {
			_ = kv.Delete(ctx, key)
		}
	}
	x.head, x.revision, x.stale = h, rev, written
	x.engine.dirty, x.saved = false, time.Now()
	return len(packed), nil
}
