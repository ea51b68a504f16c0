package recording

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/schemas/eventv1"
)

// File is a recording that is read. It is not safe for concurrent use.
type File struct {
	r     io.ReaderAt
	size  int64
	file  io.Closer
	index Index
	zstd  *zstd.Decoder
}

// Open opens a recording and reads its index. With verify all of it is read and compared with its checksum.
func Open(path string, verify bool) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open recording: %w", err)
	}
	st, err := f.Stat()
	if err == nil && st.IsDir() {
		err = fmt.Errorf("%w: it is a directory", ErrFormat)
	}
	var x *File
	if err == nil {
		x, err = New(f, st.Size(), verify)
	}
	if err != nil {
		_ = f.Close() // only read from
		return nil, fmt.Errorf("open recording %s: %w", path, err)
	}
	x.file = f
	return x, nil
}

// New reads the recording that r holds, size bytes.
func New(r io.ReaderAt, size int64, verify bool) (*File, error) {
	head := make([]byte, len(magic))
	if _, err := r.ReadAt(head, 0); err != nil || string(head) != magic {
		if string(head) == "GYREREC1" {
			return nil, daemon.Hint(fmt.Errorf("%w: it is one of raw records of a collector", ErrFormat), "play it with gyre up --source recorded:FILE, and record batches with gyre record")
		}
		return nil, ErrFormat
	}
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxBlock))
	if err != nil {
		return nil, fmt.Errorf("start zstd: %w", err)
	}
	f := &File{r: r, size: size, zstd: z}
	err = f.readIndex(verify)
	if errors.Is(err, errNoTrailer) {
		err = f.recover()
	}
	if err != nil {
		z.Close()
		return nil, err
	}
	return f, nil
}

var errNoTrailer = errors.New("no trailer")

func (f *File) readIndex(verify bool) error {
	if f.size < int64(len(magic)+headBytes+tailBytes) {
		return errNoTrailer
	}
	tail := make([]byte, tailBytes)
	if _, err := f.r.ReadAt(tail, f.size-tailBytes); err != nil {
		return fmt.Errorf("read recording: %w", err)
	}
	if string(tail[40:]) != trailer {
		return errNoTrailer
	}
	if verify {
		h := sha256.New()
		if _, err := io.Copy(h, io.NewSectionReader(f.r, 0, f.size-tailBytes)); err != nil {
			return fmt.Errorf("read recording: %w", err)
		}
		if string(h.Sum(nil)) != string(tail[8:40]) {
			return fmt.Errorf("%w: its checksum is another", ErrDamaged)
		}
	}
	at := binary.BigEndian.Uint64(tail)
	if at < uint64(len(magic)) || at > uint64(f.size-tailBytes-headBytes) {
		return fmt.Errorf("%w: its index is said to be at byte %d", ErrDamaged, at)
	}
	tag, data, err := f.section(int64(at))
	if err != nil {
		return err
	}
	if tag != tagIndex {
		return fmt.Errorf("%w: no index at byte %d", ErrDamaged, at)
	}
	if err := json.Unmarshal(data, &f.index); err != nil {
		return fmt.Errorf("%w: index: %w", ErrDamaged, err)
	}
	if f.index.Version != 1 {
		return fmt.Errorf("%w: version %d of the form, this program reads 1", ErrFormat, f.index.Version)
	}
	for i, b := range f.index.Blocks {
		if b.Offset < int64(len(magic)) || b.Offset > int64(at)-headBytes || i > 0 && b.Offset <= f.index.Blocks[i-1].Offset {
			return fmt.Errorf("%w: block %d is said to be at byte %d", ErrDamaged, i, b.Offset)
		}
	}
	for name, n := range f.index.Nodes {
		if n == nil {
			return fmt.Errorf("%w: nothing about node %q in the index", ErrDamaged, name)
		}
	}
	return nil
}

// section reads what begins at a byte.
func (f *File) section(at int64) (tag byte, payload []byte, err error) {
	head := make([]byte, headBytes)
	if _, err := f.r.ReadAt(head, at); err != nil {
		return 0, nil, fmt.Errorf("%w: it ends at byte %d: %w", ErrDamaged, at, err)
	}
	n := int64(binary.BigEndian.Uint32(head[1:]))
	if n > f.size-at-headBytes {
		return 0, nil, fmt.Errorf("%w: a part of %d bytes at byte %d of %d", ErrDamaged, n, at, f.size)
	}
	payload = make([]byte, n)
	if _, err := f.r.ReadAt(payload, at+headBytes); err != nil {
		return 0, nil, fmt.Errorf("%w: byte %d: %w", ErrDamaged, at, err)
	}
	if crc32.Checksum(payload, castagnoli()) != binary.BigEndian.Uint32(head[5:]) {
		return 0, nil, fmt.Errorf("%w: the checksum of the part at byte %d is another", ErrDamaged, at)
	}
	return head[0], payload, nil
}

// recover makes the index of a file that was cut off, from its blocks.
func (f *File) recover() error {
	f.index = Index{Version: 1, Nodes: map[string]*Node{}, Damage: "it was cut off before its end"}
	dec, reader := eventv1.NewDecoder(), eventv1.NewReader()
	var batch eventv1.Batch
	var e eventv1.Event
	for at := int64(len(magic)); at < f.size; {
		tag, payload, err := f.section(at)
		if err != nil || tag != tagBlock {
			break
		}
		block := Block{Offset: at, Length: len(payload)}
		err = f.records(payload, func(p bus.Packed) error {
			if err := dec.Decode(p.Data, &batch); err != nil {
				return err
			}
			last := batch.FirstSeq
			for reader.Reset(&batch); reader.Next(&e); {
				last = e.Seq
			}
			if block.Batches == 0 {
				block.FirstSeq, block.From = p.Seq, p.Time.UnixNano()
			}
			block.Batches++
			f.index.add(&batch, last, p.Seq, p.Time, len(p.Data), true)
			return reader.Err()
		})
		if err != nil {
			break
		}
		f.index.Blocks = append(f.index.Blocks, block)
		at += headBytes + int64(len(payload))
	}
	return nil
}

// Index tells what the recording holds.
func (f *File) Index() *Index { return &f.index }

// Read calls fn for each batch in order until ctx ends, which is no error, or fn returns one. Data is valid for as long as it is kept.
func (f *File) Read(ctx context.Context, fn func(bus.Packed) error) error {
	for _, b := range f.index.Blocks {
		tag, payload, err := f.section(b.Offset)
		if err != nil {
			return fmt.Errorf("read recording: %w", err)
		}
		if tag != tagBlock {
			return fmt.Errorf("read recording: %w: no block at byte %d", ErrDamaged, b.Offset)
		}
		stop := errors.New("ctx ended")
		err = f.records(payload, func(p bus.Packed) error {
			if ctx.Err() != nil {
				return stop
			}
			return fn(p)
		})
		if errors.Is(err, stop) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// records calls fn for each record of a block's payload.
func (f *File) records(payload []byte, fn func(bus.Packed) error) error {
	raw, err := f.zstd.DecodeAll(payload, nil)
	if err != nil {
		return fmt.Errorf("read recording: %w: %w", ErrDamaged, err)
	}
	bad := fmt.Errorf("read recording: %w: a record has no sense", ErrDamaged)
	take := func() (b []byte, ok bool) {
		n, w := binary.Uvarint(raw)
		if w <= 0 || n > uint64(len(raw)-w) {
			return nil, false
		}
		b, raw = raw[w:w+int(n):w+int(n)], raw[w+int(n):]
		return b, true
	}
	for len(raw) > 0 {
		subject, ok := take()
		if !ok || len(subject) > maxSubject {
			return bad
		}
		seq, w := binary.Uvarint(raw)
		if w <= 0 {
			return bad
		}
		at, v := binary.Varint(raw[w:])
		if v <= 0 {
			return bad
		}
		raw = raw[w+v:]
		data, ok := take()
		if !ok {
			return bad
		}
		if err := fn(bus.Packed{Subject: string(subject), Codec: bus.None, Data: data, Seq: seq, Time: time.Unix(0, at).UTC()}); err != nil {
			return err
		}
	}
	return nil
}

// Close closes the file.
func (f *File) Close() error {
	f.zstd.Close()
	if f.file == nil {
		return nil
	}
	return f.file.Close()
}
