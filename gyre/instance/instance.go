// Package instance is how the commands find a running `gyre up`: a lock and a file
// with its addresses and secrets in the data directory, readable by its owner only.
package instance

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/gyre-sec/gyre/daemon"
)

// Errors that callers tell apart.
var (
	// ErrRunning: an instance holds the data directory.
	ErrRunning = errors.New("data directory is in use")
	// ErrNone: no instance runs on the data directory.
	ErrNone = errors.New("no instance is running")
)

// Info is what a running instance says about itself.
type Info struct {
	PID           int       `json:"pid"`
	Started       time.Time `json:"started"`
	NATS          string    `json:"nats"`
	NATSToken     string    `json:"nats_token"`
	ClickHouse    string    `json:"clickhouse"`
	Admin         string    `json:"admin"`
	ClickHousePID int       `json:"clickhouse_pid"`
}

const (
	lockName = "gyre.lock"
	infoName = "run.json"
)

// DefaultDir is /var/lib/gyre for root, else a directory of the user.
func DefaultDir() string {
	if os.Geteuid() == 0 {
		return "/var/lib/gyre"
	}
	if d := os.Getenv("XDG_STATE_HOME"); d != "" {
		return filepath.Join(d, "gyre")
	}
	if home, err := os.UserHomeDir(); err == nil {
		return filepath.Join(home, ".local", "state", "gyre")
	}
	return "gyre-data"
}

// Lock is held by the one instance of a data directory.
type Lock struct {
	dir string
	f   *os.File
}

// Acquire makes the directory and takes its lock.
func Acquire(dir string) (*Lock, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, daemon.Hint(fmt.Errorf("make data directory: %w", err), "choose a directory that you may write with --data-dir")
	}
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, daemon.Hint(fmt.Errorf("open data directory: %w", err), "choose a directory that you may write with --data-dir")
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, daemon.Hint(fmt.Errorf("%w: %s belongs to %s", ErrRunning, dir, holder(dir)), "stop that instance, or choose another directory with --data-dir")
	}
	if err = f.Truncate(0); err == nil {
		_, err = fmt.Fprintf(f, "%d\n", os.Getpid())
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("write lock: %w", err)
	}
	return &Lock{dir: dir, f: f}, nil
}

// holder names the process that has the lock.
func holder(dir string) string {
	b, err := os.ReadFile(filepath.Join(dir, lockName))
	if pid, perr := strconv.Atoi(strings.TrimSpace(string(b))); err == nil && perr == nil {
		return fmt.Sprintf("process %d", pid)
	}
	return "another process"
}

// Publish tells the commands where the instance is.
func (l *Lock) Publish(i Info) error {
	b, err := json.MarshalIndent(i, "", "  ")
	if err != nil {
		return err
	}
	tmp := filepath.Join(l.dir, infoName+".new")
	if err := os.WriteFile(tmp, append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("write %s: %w", infoName, err)
	}
	return os.Rename(tmp, filepath.Join(l.dir, infoName))
}

// Release gives the directory back.
func (l *Lock) Release() error {
	err := os.Remove(filepath.Join(l.dir, infoName))
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, l.f.Close())
}

// Find returns the running instance of a directory, or [ErrNone].
func Find(dir string) (Info, error) {
	none := daemon.Hint(fmt.Errorf("%w on %s", ErrNone, dir), "start it with `gyre up`, name its --data-dir, or a fleet's --nats and --clickhouse")
	f, err := os.Open(filepath.Join(dir, lockName))
	if errors.Is(err, os.ErrPermission) {
		return Info{}, daemon.Hint(fmt.Errorf("read %s: %w", dir, err), "use the account that runs gyre up (sudo)")
	}
	if err != nil {
		return Info{}, none
	}
	defer func() { _ = f.Close() }()
	if syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB) == nil {
		return Info{}, none
	}
	b, err := os.ReadFile(filepath.Join(dir, infoName))
	if errors.Is(err, os.ErrNotExist) {
		return Info{}, daemon.Hint(fmt.Errorf("%w on %s yet: it is starting or stopping", ErrNone, dir), "try again in a moment")
	}
	if err != nil {
		return Info{}, daemon.Hint(fmt.Errorf("read instance: %w", err), "use the account that runs gyre up (sudo)")
	}
	var i Info
	if err := json.Unmarshal(b, &i); err != nil {
		return Info{}, fmt.Errorf("read instance: %w", err)
	}
	return i, nil
}
