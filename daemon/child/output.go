package child

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"strings"
	"sync"

	"github.com/gyre-sec/gyre/daemon"
)

const (
	maxLine   = 8 << 10 // a longer line is logged in pieces
	tailLines = 20
)

// output turns what a program writes into log records and remembers the end of it.
type output struct {
	ctx   context.Context // only for the values a log handler may want
	log   *slog.Logger
	level func(string) slog.Level

	mu      sync.Mutex
	streams []*stream
	last    []string
}

func newOutput(ctx context.Context, log *slog.Logger, level func(string) slog.Level) *output {
	return &output{ctx: ctx, log: log, level: level}
}

// stream returns a writer for one of the program's streams.
func (o *output) stream(name string) io.Writer {
	s := &stream{out: o, name: name}
	o.streams = append(o.streams, s)
	return s
}

// flush logs what was written after the last end of line.
func (o *output) flush() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, s := range o.streams {
		if len(s.rest) > 0 {
			o.line(s.name, s.rest)
			s.rest = nil
		}
	}
}

// tail returns the last lines, oldest first.
func (o *output) tail() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]string(nil), o.last...)
}

// line logs one line; o.mu is held.
func (o *output) line(stream string, raw []byte) {
	text := strings.ToValidUTF8(strings.TrimRight(string(raw), "\r"), "\uFFFD")
	if text == "" {
		return
	}
	if len(o.last) == tailLines {
		o.last = append(o.last[:0], o.last[1:]...)
	}
	o.last = append(o.last, text)
	o.log.Log(o.ctx, o.level(text), "child output", daemon.KeyStream, stream, daemon.KeyLine, text)
}

type stream struct {
	out  *output
	name string
	rest []byte
}

// Write never fails: a program must not get a broken pipe because of a logger.
func (s *stream) Write(b []byte) (int, error) {
	s.out.mu.Lock()
	defer s.out.mu.Unlock()
	n := len(b)
	for len(b) > 0 {
		end := bytes.IndexByte(b, '\n')
		piece := b
		if end >= 0 {
			piece = b[:end]
		}
		if room := maxLine - len(s.rest); len(piece) > room {
			s.out.line(s.name, append(s.rest, piece[:room]...))
			s.rest, b = s.rest[:0], b[room:]
			continue
		}
		s.rest = append(s.rest, piece...)
		if end < 0 {
			break
		}
		s.out.line(s.name, s.rest)
		s.rest, b = s.rest[:0], b[end+1:]
	}
	return n, nil
}
