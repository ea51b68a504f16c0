package spool

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/gyre-sec/gyre/daemon"
)

// ErrInUse says: another process, or another Disk of this one, has the directory.
var ErrInUse = errors.New("spool directory is in use")

const lockName = "lock"

// Open takes the directory, reads what an earlier run has left there and starts the writer. [Disk.Discard] ends it.
func (d *Disk) Open() error {
	lock, err := lockDir(d.cfg.Dir)
	if err != nil {
		return err
	}
	if err := d.recover(); err != nil {
		return errors.Join(err, lock.Close())
	}
	d.lock = lock
	d.mu.Lock()
	d.opened = true
	d.mu.Unlock()
	d.w.synced = time.Now()
	go d.run()
	return nil
}

// lockDir makes the directory and takes its lock, which goes with the file or the process.
func lockDir(dir string) (*os.File, error) {
	const remedy = "choose a directory that the collector may write with collector.spool_dir, or leave that empty to hold batches in memory only"
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, daemon.Hint(fmt.Errorf("make spool directory: %w", err), remedy)
	}
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, daemon.Hint(fmt.Errorf("open spool directory: %w", err), remedy)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		holder := "another process"
		if b, rerr := os.ReadFile(f.Name()); rerr == nil {
			if pid, perr := strconv.Atoi(strings.TrimSpace(string(b))); perr == nil {
				holder = fmt.Sprintf("process %d", pid)
			}
		}
		_ = f.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, daemon.Hint(fmt.Errorf("lock spool directory %s: %w", dir, err), remedy)
		}
		return nil, daemon.Hint(fmt.Errorf("%w: %s belongs to %s", ErrInUse, dir, holder), "stop that collector, or choose another directory with collector.spool_dir")
	}
	if err = f.Truncate(0); err == nil {
		_, err = fmt.Fprintf(f, "%d\n", os.Getpid())
	}
	if err != nil && !errors.Is(err, syscall.ENOSPC) { // a full disk may have room later
		_ = f.Close()
		return nil, daemon.Hint(fmt.Errorf("write spool lock: %w", err), remedy)
	}
	return f, nil
}

// recover reads the directory. What is damaged never is an error: it is cut, or set aside, counted and logged.
func (d *Disk) recover() error {
	files, err := os.ReadDir(d.cfg.Dir) // sorted by name, so by number
	if err != nil {
		return fmt.Errorf("read spool directory: %w", err)
	}
	d.w.next = 1
	var buf []byte
	for _, f := range files {
		path := filepath.Join(d.cfg.Dir, f.Name())
		if strings.HasSuffix(f.Name(), segmentExt+asideExt) {
			if info, err := f.Info(); err == nil {
				d.aside = append(d.aside, asideFile{path, info.Size()})
				d.total += info.Size()
			}
			continue
		}
		if strings.HasSuffix(f.Name(), statesExt+".new") {
			d.removed(os.Remove(path))
			continue
		}
		number, ok := segmentNumber(f.Name())
		if !ok {
			continue
		}
		d.w.next = max(d.w.next, number+1)
		if buf, err = d.load(path, number, buf); err != nil {
			return err
		}
	}
	for _, f := range files { // acknowledgements that outlived their segment
		if base, ok := strings.CutSuffix(f.Name(), statesExt); ok && !slices.ContainsFunc(d.segs, func(s *segment) bool { return filepath.Base(s.path) == base+segmentExt }) {
			d.removed(os.Remove(filepath.Join(d.cfg.Dir, f.Name())))
		}
	}
	if n, m := d.waiting(), d.again(); n+m > 0 {
		d.cfg.Log.Info("spool has batches of an earlier run", "file", d.cfg.Dir, "count", n+m, "bytes", d.total)
	}
	return nil
}

func (d *Disk) again() int {
	n := 0
	for _, s := range d.segs {
		n += s.again
	}
	return n
}

// load reads a segment of an earlier run. It returns buf, grown.
func (d *Disk) load(path string, number uint64, buf []byte) ([]byte, error) {
	buf, err := readFile(path, buf)
	if err != nil {
		return buf, daemon.Hint(fmt.Errorf("read spool segment: %w", err), "mend the disk, or move the file away")
	}
	log := d.cfg.Log.With("file", path)
	n, created, err := parseHeader(buf)
	if err == nil && n != number {
		err = fmt.Errorf("%w: it says that it is number %x", errHeader, n)
	}
	if len(buf) < headerSize && cutHeader(buf, number) {
		d.count.torn++
		d.removed(os.Remove(path))
		return buf, nil
	}
	if err != nil {
		d.count.corrupt++
		d.setAside(path, int64(len(buf)))
		log.Error("spool segment cannot be read and is set aside", "err", err)
		return buf, nil
	}
	s := &segment{path: path, number: number, created: created, seed: headerSum(buf), size: headerSize}
	var events []loss
	found := scan(buf, func(it Item, off, size int) {
		s.add(off, size, stateWaiting, 0, it.loss())
		events = append(events, it.loss())
	})
	s.size = int64(len(buf))
	if found.torn {
		d.count.torn++
		log.Warn("spool segment has a torn end, which is cut", "bytes", len(buf)-found.size)
		if err := os.Truncate(path, int64(found.size)); err == nil {
			s.size = int64(found.size)
		}
	}
	if found.corrupt > 0 {
		s.corrupt = true
		d.count.corrupt += uint64(found.corrupt)
		log.Error("spool segment is damaged: what can be read is sent, then the file is set aside", "err", fmt.Errorf("%w in %d places", errFrame, found.corrupt), "count", len(s.recs))
	}
	d.loadStates(s, events)
	d.segs = append(d.segs, s)
	d.total += s.size
	return buf, nil
}

// cutHeader tells whether b is what a crash leaves of a header.
func cutHeader(b []byte, number uint64) bool {
	whole := appendHeader(nil, number, time.Time{})[:16] // up to the time
	n := min(len(b), len(whole))
	return string(b[:n]) == string(whole[:n]) || strings.Trim(string(b), "\x00") == ""
}

// loadStates reads what is known to be finished. What was stored within the time to keep, before the earlier run ended, is
// to be sent again.
func (d *Disk) loadStates(s *segment, events []loss) {
	s.dirty = false
	b, err := os.ReadFile(s.statesPath())
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	var written time.Time
	type run struct {
		to int
		st state
		at uint32
	}
	var runs []run
	if err == nil {
		written, err = parseStates(b, s.created, func(to int, st state, at uint32) { runs = append(runs, run{to, st, at}) })
	}
	if err != nil {
		d.count.corrupt++
		d.cfg.Log.Warn("spool has lost acknowledgements, batches are sent again", "file", s.statesPath(), "err", err)
		return
	}
	for i := range s.recs {
		for len(runs) > 0 && runs[0].to <= int(s.recs[i].off) {
			runs = runs[1:]
		}
		if len(runs) == 0 {
			return // not finished when the states were written
		}
		r := runs[0]
		if r.st == stateDone && written.Sub(time.Unix(int64(r.at), 0)) < d.cfg.Keep {
			r.st = stateAgain
		}
		if r.st != stateWaiting {
			s.set(i, r.st, r.at, events[i])
		}
	}
}

// readFile reads a file into buf, which it may replace.
func readFile(path string, buf []byte) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return buf, err
	}
	defer func() { _ = f.Close() }() // read only
	info, err := f.Stat()
	if err != nil {
		return buf, err
	}
	if int64(cap(buf)) < info.Size() {
		buf = make([]byte, info.Size())
	}
	buf = buf[:info.Size()]
	_, err = f.ReadAt(buf, 0)
	if info.Size() == 0 {
		err = nil
	}
	return buf, err
}
