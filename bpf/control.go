package bpf

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
)

const (
	kindRoom    = 128
	syscallRoom = 512
)

// Bits of syscall_on.
const (
	onNative = 1
	onCompat = 2
)

// SetKinds switches events of these kinds on and all others off, while running.
func (o *Objects) SetKinds(kinds []uint16) error {
	on := make([]uint8, kindRoom)
	for _, k := range kinds {
		if int(k) >= len(on) {
			return fmt.Errorf("switch kind %d: at most %d", k, len(on)-1)
		}
		on[k] = 1
	}
	if err := o.coll.Variables["kind_on"].Set(on); err != nil {
		return fmt.Errorf("write kind switches: %w", err)
	}
	copy(o.kinds, on)
	if o.tramps != nil {
		return o.tramps.set(on)
	}
	calls := make([]uint8, syscallRoom)
	for _, r := range Rows() {
		if on[r.Kind] == 0 {
			continue
		}
		for _, c := range r.Calls {
			switch {
			case c.Row < rowIA32:
				calls[c.Row] |= onNative
			case c.Row < rowX32:
				calls[c.Row-rowIA32] |= onCompat
			case c.Row >= rowSocketcall:
				calls[socketcall] |= onCompat
			}
		}
	}
	if err := o.coll.Variables["syscall_on"].Set(calls); err != nil {
		return fmt.Errorf("write syscall switches: %w", err)
	}
	return nil
}

// SetThreads switches events for new threads on or off.
func (o *Objects) SetThreads(on bool) error { return o.flag("threads_on", on) }

// SetEnv switches reading of the environment of new programs on or off.
func (o *Objects) SetEnv(on bool) error { return o.flag("env_on", on) }

// SetSleeping says whether the reader of records sleeps and wants to be woken by the next one, which resets it.
func (o *Objects) SetSleeping(on bool) error { return o.flag("reader_sleeps", on) }

func (o *Objects) flag(name string, on bool) error {
	v := uint32(0)
	if on {
		v = 1
	}
	if err := o.coll.Variables[name].Set(v); err != nil {
		return fmt.Errorf("switch %s: %w", name, err)
	}
	return nil
}

// SetFolding folds opens of the same file by the same process within a window of so many nanoseconds; 0 ends it. Only
// kinds of the open family can be folded.
func (o *Objects) SetFolding(window uint64, kinds []uint16) error {
	var mask uint32
	for _, k := range kinds {
		if k >= 32 {
			return fmt.Errorf("fold kind %d: it is no open", k)
		}
		mask |= 1 << k
	}
	if err := errors.Join(o.coll.Variables["fold_kinds"].Set(mask), o.coll.Variables["fold_window"].Set(window)); err != nil {
		return fmt.Errorf("set the window of folding: %w", err)
	}
	return nil
}

// Bits of the map of excluded processes.
const (
	excluded = 1
	children = 2
	muted    = 4
)

// Exclude makes the programs pass over a process, and the processes that it starts from now on if children is set.
func (o *Objects) Exclude(tgid uint32, withChildren bool) error {
	v := uint32(excluded)
	if withChildren {
		v |= children
	}
	return o.exclude(tgid, v)
}

func (o *Objects) exclude(tgid, bits uint32) error {
	if err := o.coll.Maps["excluded"].Put(tgid, bits); err != nil {
		return fmt.Errorf("exclude process %d: %w", tgid, err)
	}
	return o.flag("exclusions", true)
}

// Include takes back [Objects.Exclude] for one process; those that it started before stay excluded.
func (o *Objects) Include(tgid uint32) error {
	if err := o.coll.Maps["excluded"].Delete(tgid); err != nil {
		return fmt.Errorf("include process %d: %w", tgid, err)
	}
	return nil
}

// Counters count records per kind since the load.
type Counters struct {
	// Sent records are in the ring buffer; Full ones found no room there. Busy ones found no scratch memory, or the
	// program at work for another task on the same CPU, where the kernel passes over it; those of the dispatcher,
	// which does not get to know the kind, are of kind 0.
	Sent, Full, Busy [kindRoom]uint64
	// Muted records were kept back by a mute list, Folded ones are repetitions.
	Muted, Folded [kindRoom]uint64
}

// Counters sums the counters of all CPUs. It is safe for concurrent use.
func (o *Objects) Counters() (Counters, error) {
	var per []Counters
	var sum Counters
	if err := o.coll.Maps["counts"].Lookup(uint32(0), &per); err != nil {
		return sum, fmt.Errorf("read counters: %w", err)
	}
	for i := range per {
		for k := range kindRoom {
			sum.Sent[k] += per[i].Sent[k]
			sum.Full[k] += per[i].Full[k]
			sum.Busy[k] += per[i].Busy[k]
			sum.Muted[k] += per[i].Muted[k]
			sum.Folded[k] += per[i].Folded[k]
		}
	}
	missed := func(p *ebpf.Program, kind uint16) error {
		st, err := p.Stats()
		if err != nil {
			return fmt.Errorf("read statistics: %w", err)
		}
		sum.Busy[kind] += st.RecursionMisses
		return nil
	}
	for name, kind := range map[string]uint16{"exec_done": 1, "fork_done": 3, "exit_done": 7, "dispatch": 0} {
		if p := o.coll.Programs[name]; p != nil {
			if err := missed(p, kind); err != nil {
				return sum, err
			}
		}
	}
	return sum, nil
}
