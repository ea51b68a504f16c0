package recording

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/gyre-sec/gyre/schemas/eventv1"
)

// Writer writes a recording. It is not safe for concurrent use.
type Writer struct {
	w      *bufio.Writer
	sum    hash.Hash
	at     int64
	zstd   *zstd.Encoder
	raw    []byte
	packed []byte
	block  Block
	index  Index
	dec    *eventv1.Decoder
	reader *eventv1.Reader
	batch  eventv1.Batch
}

// NewWriter starts a recording.
func NewWriter(w io.Writer) (*Writer, error) {
	z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, fmt.Errorf("start zstd: %w", err)
	}
	x := &Writer{
		w: bufio.NewWriterSize(w, 256<<10), sum: sha256.New(), zstd: z, dec: eventv1.NewDecoder(), reader: eventv1.NewReader(),
		index: Index{Version: 1, Made: time.Now().UTC(), Nodes: map[string]*Node{}, Blocks: []Block{}},
	}
	return x, x.write([]byte(magic))
}

func (w *Writer) write(b []byte) error {
	w.sum.Write(b)
	w.at += int64(len(b))
	if _, err := w.w.Write(b); err != nil {
		return fmt.Errorf("write recording: %w", err)
	}
	return nil
}

// Add adds a batch with its subject, number and time in the stream. A batch that does not decode is only
// counted. sparse says that numbers between batches may be of messages that were not asked for.
func (w *Writer) Add(subject string, seq uint64, at time.Time, data []byte, sparse bool) error {
	if err := w.dec.Decode(data, &w.batch); err != nil {
		w.index.bad(seq)
		return nil
	}
	last := w.batch.FirstSeq
	var e eventv1.Event
	for w.reader.Reset(&w.batch); w.reader.Next(&e); {
		last = e.Seq
	}
	if w.reader.Err() != nil {
		w.index.bad(seq)
		return nil
	}
	if len(subject) > maxSubject || len(data)+len(subject)+64 > maxBlock {
		return fmt.Errorf("record batch %d: %d bytes are too many", seq, len(data))
	}
	// Names in the index must not be those of a buffer.
	w.batch.Node, w.batch.BootID = strings.Clone(w.batch.Node), strings.Clone(w.batch.BootID)
	w.index.add(&w.batch, last, seq, at, len(data), sparse)
	if len(w.raw) > 0 && len(w.raw)+len(data) > blockTarget {
		if err := w.flush(); err != nil {
			return err
		}
	}
	if len(w.raw) == 0 {
		w.block = Block{FirstSeq: seq, From: at.UnixNano()}
	}
	w.block.Batches++
	w.raw = append(binary.AppendUvarint(w.raw, uint64(len(subject))), subject...)
	w.raw = binary.AppendVarint(binary.AppendUvarint(w.raw, seq), at.UnixNano())
	w.raw = append(binary.AppendUvarint(w.raw, uint64(len(data))), data...)
	return nil
}

func (w *Writer) section(tag byte, payload []byte) error {
	head := binary.BigEndian.AppendUint32([]byte{tag}, uint32(len(payload)))
	head = binary.BigEndian.AppendUint32(head, crc32.Checksum(payload, castagnoli()))
	if err := w.write(head); err != nil {
		return err
	}
	return w.write(payload)
}

// flush writes the records that wait as a block.
func (w *Writer) flush() error {
	if len(w.raw) == 0 {
		return nil
	}
	w.packed = w.zstd.EncodeAll(w.raw, w.packed[:0])
	w.raw = w.raw[:0]
	w.block.Offset, w.block.Length = w.at, len(w.packed)
	w.index.Blocks = append(w.index.Blocks, w.block)
	if err := w.section(tagBlock, w.packed); err != nil {
		return err
	}
	if err := w.w.Flush(); err != nil { // what is a block can be read, whatever happens next
		return fmt.Errorf("write recording: %w", err)
	}
	return nil
}

// Picked says that the batches to come hold events which somebody chose, of all that happened.
func (w *Writer) Picked() { w.index.Picked = true }

// Index tells what was added so far.
func (w *Writer) Index() *Index { return &w.index }

// Close writes the index; it does not close what it writes to. complete says that the recording is all that was asked for.
func (w *Writer) Close(complete bool) error {
	if err := w.flush(); err != nil {
		return err
	}
	w.index.Complete = complete
	data, err := json.Marshal(&w.index)
	if err != nil {
		return fmt.Errorf("write recording: %w", err)
	}
	offset := w.at
	if err := w.section(tagIndex, data); err != nil {
		return err
	}
	tail := append(w.sum.Sum(binary.BigEndian.AppendUint64(nil, uint64(offset))), trailer...)
	if _, err = w.w.Write(tail); err == nil {
		err = w.w.Flush()
	}
	if err != nil {
		return fmt.Errorf("write recording: %w", err)
	}
	return w.zstd.Close()
}
