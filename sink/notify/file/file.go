// Package file appends alerts to a file, one line each, and rotates it.
package file

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/notify/format"
)

// Config says where to.
type Config struct {
	Path     string        `yaml:"path" doc:"the file; its directory must be there"`
	Format   format.Format `yaml:"format" doc:"gyre, falco, cloudevents or line"`
	MaxSize  daemon.Bytes  `yaml:"max_size" doc:"size at which the file is rotated"`
	MaxFiles int           `yaml:"max_files" doc:"rotated files that are kept"`
	Compress bool          `yaml:"compress" doc:"compress rotated files with gzip"`
	Sync     bool          `yaml:"sync" doc:"have the disk store each batch before it is acknowledged"`
}

// Default keeps ten files of 100 MiB, each batch on disk.
func Default() *Config {
	return &Config{Format: format.Gyre, MaxSize: 100 << 20, MaxFiles: 10, Sync: true}
}

// Validate checks the configuration.
func (c *Config) Validate() error {
	var errs []error
	if !filepath.IsAbs(c.Path) {
		errs = append(errs, fmt.Errorf("path is %q, want an absolute path", c.Path))
	}
	if c.MaxSize < 4<<10 {
		errs = append(errs, fmt.Errorf("max_size is %s, want 4KiB or more", c.MaxSize))
	}
	if c.MaxFiles < 1 || c.MaxFiles > 10_000 {
		errs = append(errs, fmt.Errorf("max_files is %d, want 1 to 10000", c.MaxFiles))
	}
	return errors.Join(errs...)
}

// Batch writes what is there at once.
func (*Config) Batch() (int, time.Duration) { return 1000, 100 * time.Millisecond }

type file struct {
	cfg  *Config
	mu   sync.Mutex
	f    *os.File
	size int64
}

// Open opens nothing yet.
func (c *Config) Open(notify.Env) (notify.Notifier, error) { return &file{cfg: c}, nil }

// Notify appends a batch. One that was written in part is cut off again, so that no line is there by half or twice.
func (w *file) Notify(_ context.Context, batch []notify.Message) error {
	var b bytes.Buffer
	for i := range batch {
		line, err := w.cfg.Format.Append(nil, &batch[i])
		if err != nil {
			return err
		}
		b.Write(append(line, '\n'))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.ready(int64(b.Len())); err != nil {
		return err
	}
	n, err := w.f.Write(b.Bytes())
	if err == nil && w.cfg.Sync {
		err = w.f.Sync()
	}
	if err != nil {
		err = errors.Join(err, w.f.Truncate(w.size), w.close())
		return fmt.Errorf("append to %s: %w", w.cfg.Path, err)
	}
	w.size += int64(n)
	return nil
}

// ready opens the file, again if it was moved away, and rotates it if n bytes more are too many.
func (w *file) ready(n int64) error {
	if w.f != nil {
		here, err := os.Stat(w.cfg.Path)
		mine, merr := w.f.Stat()
		if err != nil || merr != nil || !os.SameFile(here, mine) {
			_ = w.close()
		}
	}
	if w.f == nil {
		if err := w.open(); err != nil {
			return err
		}
	}
	if w.size == 0 || w.size+n <= int64(w.cfg.MaxSize) {
		return nil
	}
	if err := w.rotate(); err != nil {
		return fmt.Errorf("rotate %s: %w", w.cfg.Path, err)
	}
	return w.open()
}

func (w *file) open() error {
	f, err := os.OpenFile(w.cfg.Path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640)
	if err != nil {
		return daemon.Hint(fmt.Errorf("open output file: %w", err), "make the directory writable for this program")
	}
	size, err := endOfLine(f, w.cfg.Path)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	w.f, w.size = f, size
	return nil
}

// endOfLine cuts off the half line that a power cut left.
func endOfLine(f *os.File, path string) (int64, error) {
	info, err := f.Stat()
	if err != nil || info.Size() == 0 || !info.Mode().IsRegular() {
		return 0, err
	}
	r, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer func() { _ = r.Close() }()
	size, chunk := info.Size(), make([]byte, 64<<10)
	for end := size; end > 0; {
		start := max(0, end-int64(len(chunk)))
		n, err := r.ReadAt(chunk[:end-start], start)
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		if i := bytes.LastIndexByte(chunk[:n], '\n'); i >= 0 {
			if keep := start + int64(i) + 1; keep < size {
				return keep, f.Truncate(keep)
			}
			return size, nil
		}
		end = start
	}
	return 0, f.Truncate(0)
}

func (w *file) rotate() error {
	if err := w.close(); err != nil {
		return err
	}
	old := w.cfg.Path + "." + time.Now().UTC().Format("20060102T150405.000000000")
	if err := os.Rename(w.cfg.Path, old); err != nil {
		return err
	}
	if w.cfg.Compress {
		if err := compress(old); err != nil {
			return err
		}
	}
	list, err := filepath.Glob(escapeGlob(w.cfg.Path) + ".[0-9]*")
	if err != nil {
		return err
	}
	slices.Sort(list) // by time
	for len(list) > w.cfg.MaxFiles {
		if err := os.Remove(list[0]); err != nil {
			return err
		}
		list = list[1:]
	}
	return nil
}

func escapeGlob(s string) string {
	return strings.NewReplacer("*", `\*`, "?", `\?`, "[", `\[`, `\`, `\\`).Replace(s)
}

func compress(path string) (err error) {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(path+".gz", os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	z := gzip.NewWriter(out)
	_, err = io.Copy(z, in)
	if err = errors.Join(err, z.Close(), out.Close()); err != nil {
		return errors.Join(err, os.Remove(path+".gz"))
	}
	return os.Remove(path)
}

func (w *file) close() error {
	if w.f == nil {
		return nil
	}
	err := w.f.Close()
	w.f, w.size = nil, 0
	return err
}

// Close closes the file.
func (w *file) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.close()
}
