// Package replay records raw records to a file and plays them back: events for
// tests and demonstrations without a kernel that allows capture.
//
// A file is the eight bytes "GYREREC1" and an s2 stream of frames. A frame is a type
// byte, the length of its payload as an unsigned varint, and the payload:
//
//	m  meta: JSON, see [Meta]; the first frame
//	s  seed: length of the record as a varint, the record, the command line
//	r  record, in the form of bpf/include/event.h
//
// Readers skip types that they do not know. Frames are bounded; a file that ends in
// the middle of a frame is played up to there and then reported.
package replay

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/klauspost/compress/s2"

	"github.com/gyre-sec/gyre/bpf"
)

const (
	magic    = "GYREREC1"
	maxFrame = 1 << 20

	frameMeta   = 'm'
	frameSeed   = 's'
	frameRecord = 'r'
)

// Version is that of the layout of records. A recording of another one is refused.
const Version = 3

// Errors of [Open] and [Source.Read].
var (
	// ErrFormat: not a recording, or a damaged one.
	ErrFormat = errors.New("not a recording")
	// ErrVersion: a recording of records in another layout.
	ErrVersion = errors.New("recording is of another version")
)

// Meta tells where a recording comes from.
type Meta struct {
	Version  int    `json:"version"`
	Node     string `json:"node,omitempty"`
	BootID   string `json:"boot_id,omitempty"`
	BootTime int64  `json:"boot_time,omitempty"`
	Kernel   string `json:"kernel,omitempty"`
	Machine  string `json:"machine,omitempty"`
	Mode     string `json:"mode,omitempty"`
}

// Options say how to play.
type Options struct {
	// Speed is 1 for the original pace, 2 for twice as fast; 0 is as fast as possible.
	Speed float64
}

// Source plays a recording.
type Source struct {
	file io.Closer
	r    *bufio.Reader
	meta Meta
	opts Options
	buf  []byte
	next byte // type of the frame in buf, 0 if none was read ahead
	sent bpf.Counters
}

// Open opens a recording and reads its meta frame.
func Open(path string, o Options) (*Source, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open recording: %w", err)
	}
	s, err := New(f, o)
	if err != nil {
		_ = f.Close() // only read from
		return nil, fmt.Errorf("open recording %s: %w", path, err)
	}
	s.file = f
	return s, nil
}

// New plays what r holds.
func New(r io.Reader, o Options) (*Source, error) {
	head := make([]byte, len(magic))
	if _, err := io.ReadFull(r, head); err != nil || string(head) != magic {
		return nil, ErrFormat
	}
	s := &Source{r: bufio.NewReaderSize(s2.NewReader(r, s2.ReaderMaxBlockSize(4<<20)), 64<<10), opts: o}
	typ, err := s.frame()
	if err != nil || typ != frameMeta {
		return nil, fmt.Errorf("%w: no meta frame", ErrFormat)
	}
	if err := json.Unmarshal(s.buf, &s.meta); err != nil {
		return nil, fmt.Errorf("%w: meta: %w", ErrFormat, err)
	}
	if s.meta.Version != Version {
		return nil, fmt.Errorf("%w: %d, want %d", ErrVersion, s.meta.Version, Version)
	}
	return s, nil
}

// Meta tells where the recording comes from.
func (s *Source) Meta() Meta { return s.meta }

// Mode is "recorded".
func (s *Source) Mode() string { return "recorded" }

// frame reads the next frame into s.buf; io.EOF at the end of the recording.
func (s *Source) frame() (byte, error) {
	if typ := s.next; typ != 0 {
		s.next = 0
		return typ, nil
	}
	typ, err := s.r.ReadByte()
	if errors.Is(err, io.EOF) {
		return 0, io.EOF
	}
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	n, err := binary.ReadUvarint(s.r)
	if err != nil || n > maxFrame {
		return 0, fmt.Errorf("%w: bad length of a frame", ErrFormat)
	}
	if uint64(cap(s.buf)) < n {
		s.buf = make([]byte, n)
	}
	s.buf = s.buf[:n]
	if _, err := io.ReadFull(s.r, s.buf); err != nil {
		return 0, fmt.Errorf("%w: it ends in the middle of a frame", ErrFormat)
	}
	return typ, nil
}

// Seed calls fn with the processes that were running when the recording began.
func (s *Source) Seed(fn func(raw, cmdline []byte) error) error {
	for {
		typ, err := s.frame()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case typ == frameRecord:
			s.next = typ
			return nil
		case typ != frameSeed:
			continue
		}
		n, at := binary.Uvarint(s.buf)
		if at <= 0 || n > uint64(len(s.buf)-at) {
			return fmt.Errorf("%w: bad seed frame", ErrFormat)
		}
		if err := fn(s.buf[at:at+int(n)], s.buf[at+int(n):]); err != nil {
			return err
		}
	}
}

// Read calls record for each record at the pace of the options. At the end it returns nil.
func (s *Source) Read(ctx context.Context, record func(raw []byte), idle func()) error {
	var first, start int64
	for n := 0; ; n++ {
		typ, err := s.frame()
		if errors.Is(err, io.EOF) || ctx.Err() != nil {
			idle()
			return nil
		}
		if err != nil {
			return err
		}
		rec, err := bpf.ParseRecord(s.buf)
		if typ != frameRecord || err != nil {
			continue
		}
		if s.opts.Speed > 0 {
			if start == 0 {
				first, start = int64(rec.Time), time.Now().UnixNano()
			}
			if !wait(ctx, start+int64(float64(int64(rec.Time)-first)/s.opts.Speed), idle) {
				return nil
			}
		}
		if int(rec.Kind) < len(s.sent.Sent) {
			s.sent.Sent[rec.Kind]++
		}
		record(s.buf)
		if n%1024 == 1023 {
			idle()
		}
	}
}

// wait returns at a time, calling idle meanwhile; false if ctx ended.
func wait(ctx context.Context, until int64, idle func()) bool {
	const step = 5 * time.Millisecond
	for {
		left := time.Duration(until - time.Now().UnixNano())
		if left <= 0 {
			return ctx.Err() == nil
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(min(left, step)):
			idle()
		}
	}
}

// Counters counts what was played; nothing is lost.
func (s *Source) Counters() (bpf.Counters, error) { return s.sent, nil }

// Close closes the file.
func (s *Source) Close() error {
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}

// Writer writes a recording. It is not safe for concurrent use.
type Writer struct {
	w   *s2.Writer
	buf []byte
}

// NewWriter starts a recording.
func NewWriter(w io.Writer, m Meta) (*Writer, error) {
	if _, err := io.WriteString(w, magic); err != nil {
		return nil, fmt.Errorf("write recording: %w", err)
	}
	m.Version = Version
	meta, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("write recording: %w", err)
	}
	x := &Writer{w: s2.NewWriter(w, s2.WriterBetterCompression(), s2.WriterConcurrency(1))}
	return x, x.frame(frameMeta, meta)
}

func (w *Writer) frame(typ byte, parts ...[]byte) error {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	if n > maxFrame {
		return fmt.Errorf("write recording: frame of %d bytes", n)
	}
	w.buf = binary.AppendUvarint(append(w.buf[:0], typ), uint64(n))
	for _, p := range parts {
		w.buf = append(w.buf, p...)
	}
	if _, err := w.w.Write(w.buf); err != nil {
		return fmt.Errorf("write recording: %w", err)
	}
	return nil
}

// Seed adds a process that is running; all of them come before the first record.
func (w *Writer) Seed(raw, cmdline []byte) error {
	return w.frame(frameSeed, binary.AppendUvarint(nil, uint64(len(raw))), raw, cmdline)
}

// Record adds a record.
func (w *Writer) Record(raw []byte) error { return w.frame(frameRecord, raw) }

// Close ends the recording; it does not close what it writes to.
func (w *Writer) Close() error {
	if err := w.w.Close(); err != nil {
		return fmt.Errorf("write recording: %w", err)
	}
	return nil
}

// Capture is what [Record] reads from: a live source.
type Capture interface {
	Seed(fn func(raw, cmdline []byte) error) error
	Read(ctx context.Context, record func(raw []byte), idle func()) error
}

// Record writes what src delivers until ctx ends. It does not close w.
func Record(ctx context.Context, src Capture, w *Writer) error {
	if err := src.Seed(w.Seed); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var failed error
	err := src.Read(ctx, func(raw []byte) {
		if failed == nil {
			if failed = w.Record(raw); failed != nil {
				stop()
			}
		}
	}, func() {})
	return errors.Join(err, failed)
}
