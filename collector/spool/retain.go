package spool

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"time"
)

// asideFile is a damaged segment that is kept for whoever wants to look into it, until its room is needed.
type asideFile struct {
	path string
	size int64
}

// maxAside is how many of them are kept.
const maxAside = 4

// evict makes room for so many bytes within the bound: damaged segments go first, then the oldest ones.
func (d *Disk) evict(need int64) {
	for {
		d.mu.Lock()
		if d.total+need <= d.cfg.Bytes {
			d.mu.Unlock()
			return
		}
		if len(d.aside) > 0 {
			old := d.aside[0]
			d.aside = d.aside[1:]
			d.total -= old.size
			d.mu.Unlock()
			d.removed(os.Remove(old.path))
			continue
		}
		if len(d.segs) == 0 {
			d.mu.Unlock()
			return
		}
		oldest := d.segs[0]
		drop := oldest.lost(ReasonFull)
		oldest.corrupt = false // no room for keeping it
		d.forget(oldest)
		d.mu.Unlock()
		if oldest == d.w.active {
			d.retire()
		}
		d.dropped(drop)
		d.delete(oldest)
	}
}

// rollAge is how old a segment with finished batches may get, so that these can go when their time is over.
func (d *Disk) rollAge() time.Duration { return max(d.cfg.Keep/2, 10*time.Second) }

// expire removes the segments whose batches are all finished for long enough.
func (d *Disk) expire() {
	now := time.Now()
	old := d.w.active != nil && now.Sub(d.w.active.created) >= d.rollAge()
	d.mu.Lock()
	roll := old && d.w.active.open < len(d.w.active.recs)
	var over []*segment
	for _, s := range d.segs {
		if s.open == 0 && (s != d.w.active || roll) && now.Sub(time.Unix(int64(s.last), 0)) >= d.cfg.Keep {
			over = append(over, s)
		}
	}
	for _, s := range over {
		d.forget(s)
	}
	d.mu.Unlock()
	if roll {
		d.retire()
	}
	for _, s := range over {
		d.delete(s)
	}
}

// forget takes a segment off the list.
func (d *Disk) forget(s *segment) {
	s.gone = true
	d.segs = slices.DeleteFunc(d.segs, func(x *segment) bool { return x == s })
	d.total -= s.size
}

// delete removes a segment's files, or sets them aside if it is damaged.
func (d *Disk) delete(s *segment) {
	d.removed(os.Remove(s.statesPath()))
	if s.corrupt {
		d.setAside(s.path, s.size)
		return
	}
	d.removed(os.Remove(s.path))
}

// removed counts what could not be removed: the next start finds it.
func (d *Disk) removed(err error) {
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return
	}
	d.mu.Lock()
	d.count.writeErrors++
	d.mu.Unlock()
	d.cfg.Log.Warn("remove spool file", "err", err)
}

// setAside renames a damaged segment so that it is not read again.
func (d *Disk) setAside(path string, size int64) {
	if err := os.Rename(path, path+asideExt); err != nil {
		d.removed(err)
		return
	}
	d.mu.Lock()
	d.aside = append(d.aside, asideFile{path + asideExt, size})
	d.total += size
	var over []asideFile
	for len(d.aside) > maxAside {
		over = append(over, d.aside[0])
		d.total -= d.aside[0].size
		d.aside = d.aside[1:]
	}
	d.mu.Unlock()
	for _, a := range over {
		d.removed(os.Remove(a.path))
	}
}

// writeStates writes the states of segments in which they have changed, and once more when the time to keep the last one is over;
// at the end, all of them.
func (d *Disk) writeStates(end bool) {
	d.mu.Lock()
	segs := slices.Clone(d.segs)
	d.mu.Unlock()
	for _, s := range segs {
		now := time.Now()
		d.mu.Lock()
		due := s.dirty || end && s.last > 0 || s.keeps && now.Sub(time.Unix(int64(s.last), 0)) >= d.cfg.Keep
		due = due && !s.gone
		if due {
			s.dirty = false
			s.keeps = now.Sub(time.Unix(int64(s.last), 0)) < d.cfg.Keep
			d.w.states = appendStates(d.w.states[:0], s, now)
		}
		d.mu.Unlock()
		if !due {
			continue
		}
		if err := writeStates(s.statesPath(), d.w.states); err != nil {
			d.mu.Lock()
			s.dirty = true
			d.count.writeErrors++
			d.mu.Unlock()
		}
	}
}
