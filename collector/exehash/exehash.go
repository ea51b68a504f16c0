// Package exehash finds the SHA-256 of program files beside the event path: who asks
// never waits, gets what is known, and is told of the rest when it becomes known.
//
// A file is named by device, inode and time of change, so that a sum is never that of
// another content: a file that is not what it was when the program started gets none.
// Memory, the size of files and the bytes read per second are bounded, and what is
// left out is counted by reason.
package exehash

import (
	"container/list"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"github.com/gyre-sec/gyre/daemon"
)

// Config bounds the work.
type Config struct {
	Enabled bool         `yaml:"enabled" doc:"find the SHA-256 of program files, for proc.exe_sha256 and intel.hash"`
	MaxSize daemon.Bytes `yaml:"max_size" doc:"files above this are left out"`
	Rate    daemon.Bytes `yaml:"rate" doc:"bytes read per second at most"`
	Cache   int          `yaml:"cache" doc:"sums that are kept"`
}

// DefaultConfig reads at most 32 MiB per second.
func DefaultConfig() Config {
	return Config{Enabled: true, MaxSize: 256 * daemon.MiB, Rate: 32 * daemon.MiB, Cache: 16 << 10}
}

// Validate checks the configuration.
func (c Config) Validate() error {
	switch {
	case c.MaxSize < daemon.KiB:
		return fmt.Errorf("max_size is %s, want at least 1KiB", c.MaxSize)
	case c.Rate < 64*daemon.KiB:
		return fmt.Errorf("rate is %s, want at least 64KiB", c.Rate)
	case c.Cache < 16 || c.Cache > 1<<22:
		return fmt.Errorf("cache is %d, want 16 to %d", c.Cache, 1<<22)
	}
	return nil
}

// Key names the content of a file.
type Key struct {
	Dev, Ino uint64
	// Ctime is when the inode changed last, in nanoseconds since the Unix epoch.
	Ctime int64
}

// Ask is a question: where a file may be found.
type Ask[T any] struct {
	Key
	// Paths are tried in order: /proc/<pid>/exe first, which is gone when the process is.
	Paths []string
	// Urgent questions, about programs that have just started, go before the others.
	Urgent bool
	// About is given back with the answer.
	About T
}

// Answer is a sum that was found.
type Answer[T any] struct {
	Key
	Sum   string // 32 bytes
	Size  int64
	About T
}

// Hasher answers questions. [Hasher.Lookup] and [Hasher.Ask] belong to one goroutine, Run to another.
type Hasher[T any] struct {
	cfg     Config
	asks    chan Ask[T]
	urgent  chan Ask[T]
	answers chan Answer[T]
	done    *prometheus.CounterVec
	bytes   prometheus.Counter

	mu    sync.Mutex
	known map[Key]*list.Element
	order *list.List // of entries, the one used last in front
}

// entry is what is known of a file; sum is "" while it is being found, or if it cannot be.
type entry struct {
	key Key
	sum string
}

// queue bounds the questions that wait, of each of the two sorts.
const queue = 1024

// New returns a Hasher.
func New[T any](cfg Config, reg prometheus.Registerer) *Hasher[T] {
	h := &Hasher[T]{
		cfg: cfg, asks: make(chan Ask[T], queue), urgent: make(chan Ask[T], queue), answers: make(chan Answer[T], queue), known: map[Key]*list.Element{}, order: list.New(),
		done:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "gyre_collector_exe_hashes_total", Help: "Program files whose SHA-256 was asked for, by what came of it: ok, gone, changed, too_large, busy, error."}, []string{"result"}),
		bytes: prometheus.NewCounter(prometheus.CounterOpts{Name: "gyre_collector_exe_hash_bytes_total", Help: "Bytes of program files read."}),
	}
	reg.MustRegister(h.done, h.bytes)
	return h
}

// Lookup returns what is known of a file: its sum, "" if there is none; ok is false if it was never asked for.
func (h *Hasher[T]) Lookup(k Key) (sum string, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	e, ok := h.known[k]
	if !ok {
		return "", false
	}
	h.order.MoveToFront(e)
	return e.Value.(*entry).sum, true
}

// Ask puts a question; it never waits. One that does not fit into the queue may be put again later.
func (h *Hasher[T]) Ask(a Ask[T]) {
	to := h.asks
	if a.Urgent {
		to = h.urgent
	}
	select {
	case to <- a:
		h.set(a.Key, "")
	default:
		h.done.WithLabelValues("busy").Inc()
	}
}

// Answers are the sums that were found. An answer for which there is no room is lost: the sum is known all the same.
func (h *Hasher[T]) Answers() <-chan Answer[T] { return h.answers }

func (h *Hasher[T]) set(k Key, sum string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e, ok := h.known[k]; ok {
		e.Value.(*entry).sum = sum
		return
	}
	h.known[k] = h.order.PushFront(&entry{k, sum})
	for len(h.known) > h.cfg.Cache {
		last := h.order.Back()
		delete(h.known, last.Value.(*entry).key)
		h.order.Remove(last)
	}
}

// Run finds sums until ctx ends.
func (h *Hasher[T]) Run(ctx context.Context) {
	buf := make([]byte, 256<<10)
	pace := pacer{rate: float64(h.cfg.Rate)}
	for {
		a, ok := h.next(ctx)
		if !ok {
			return
		}
		sum, size, err := h.sum(ctx, a.Key, a.Paths, buf, &pace)
		if ctx.Err() != nil {
			return
		}
		h.done.WithLabelValues(result(err)).Inc()
		if err != nil {
			continue
		}
		h.set(a.Key, sum)
		select {
		case h.answers <- Answer[T]{a.Key, sum, size, a.About}:
		default:
			h.done.WithLabelValues("untold").Inc()
		}
	}
}

// next waits for a question; false means that ctx has ended.
func (h *Hasher[T]) next(ctx context.Context) (a Ask[T], ok bool) {
	select {
	case a = <-h.urgent:
		return a, true
	default:
	}
	select {
	case <-ctx.Done():
		return a, false
	case a = <-h.urgent:
	case a = <-h.asks:
	}
	return a, true
}

// Why there is no sum.
var (
	errChanged  = errors.New("the file is not what it was")
	errTooLarge = errors.New("the file is too large")
)

func result(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, errChanged):
		return "changed"
	case errors.Is(err, errTooLarge):
		return "too_large"
	case errors.Is(err, os.ErrNotExist), errors.Is(err, syscall.ESRCH):
		return "gone"
	}
	return "error"
}

// sum reads the first of the paths that is the file.
func (h *Hasher[T]) sum(ctx context.Context, k Key, paths []string, buf []byte, pace *pacer) (string, int64, error) {
	err := os.ErrNotExist
	for _, p := range paths {
		var sum string
		var n int64
		if sum, n, err = h.read(ctx, k, p, buf, pace); err == nil || errors.Is(err, errTooLarge) || ctx.Err() != nil {
			return sum, n, err
		}
	}
	return "", 0, err
}

func (h *Hasher[T]) read(ctx context.Context, k Key, path string, buf []byte, pace *pacer) (string, int64, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOCTTY, 0) // a name may have become that of a pipe
	if err != nil {
		return "", 0, fmt.Errorf("open %s: %w", path, err)
	}
	defer func() { _ = unix.Close(fd) }()
	before, err := h.check(fd, k)
	if err != nil {
		return "", 0, err
	}
	sum := sha256.New()
	var total int64
	for {
		n, err := unix.Read(fd, buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return "", 0, fmt.Errorf("read %s: %w", path, err)
		}
		if n == 0 {
			break
		}
		_, _ = sum.Write(buf[:n])
		if total += int64(n); total > int64(h.cfg.MaxSize) {
			return "", 0, errTooLarge
		}
		h.bytes.Add(float64(n))
		if err := pace.wait(ctx, n); err != nil {
			return "", 0, err
		}
	}
	after, err := h.check(fd, k)
	if err != nil {
		return "", 0, err
	}
	if after.Size != before.Size || after.Mtim != before.Mtim || total != after.Size {
		return "", 0, errChanged
	}
	return string(sum.Sum(nil)), total, nil
}

// overlayMagic is the type of overlay file systems, on which inode numbers depend on who asks (include/uapi/linux/magic.h).
const overlayMagic = 0x794c7630

// check tells whether an open file is the one that k names.
func (h *Hasher[T]) check(fd int, k Key) (st unix.Stat_t, err error) {
	if err := unix.Fstat(fd, &st); err != nil {
		return st, fmt.Errorf("look at file: %w", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Ctim.Nano() != k.Ctime {
		return st, errChanged
	}
	if st.Ino != k.Ino {
		var fs unix.Statfs_t
		if err := unix.Fstatfs(fd, &fs); err != nil || fs.Type != overlayMagic {
			return st, errChanged
		}
	}
	if st.Size > int64(h.cfg.MaxSize) {
		return st, errTooLarge
	}
	return st, nil
}

// pacer keeps to a rate.
type pacer struct {
	rate  float64 // bytes per second
	begun time.Time
	sent  float64
}

// wait returns when n more bytes are within the rate; a pause earns at most a tenth of a second.
func (p *pacer) wait(ctx context.Context, n int) error {
	now := time.Now()
	if due := p.begun.Add(time.Duration(p.sent / p.rate * float64(time.Second))); p.begun.IsZero() || now.Sub(due) > 100*time.Millisecond {
		p.begun, p.sent = now, 0
	}
	p.sent += float64(n)
	pause := time.Until(p.begun.Add(time.Duration(p.sent / p.rate * float64(time.Second))))
	if pause < 10*time.Millisecond {
		return ctx.Err()
	}
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
