package bpf

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/features"
	"github.com/cilium/ebpf/link"
)

//go:generate go tool bpf2go -go-package bpf -tags linux -target amd64 -cflags "-O2 -g -Wall -Werror -mcpu=v3" gyre gyre.bpf.c

// Mode is how handlers are attached to syscalls.
type Mode string

// The attach modes.
const (
	// Trampoline attaches to the exit of each syscall of interest (fexit); other syscalls pay nothing.
	Trampoline Mode = "trampoline"
	// Tracepoint attaches one dispatcher to sys_exit, where the kernel refuses trampolines (lockdown).
	Tracepoint Mode = "tracepoint"
)

// Options say how to load.
type Options struct {
	Mode Mode
	// RingBufferBytes is a power of two and a multiple of the page size; 0 means 8 MiB.
	RingBufferBytes uint32
}

// Objects are loaded programs and maps. They see nothing until [Objects.Attach].
// The methods are not safe for concurrent use, but for those that say so.
type Objects struct {
	Mode Mode
	// Missing names calls that this kernel gives nothing to attach to in trampoline mode, and io_uring where its tracepoints are not known.
	Missing []string
	coll    *ebpf.Collection
	links   []link.Link
	tramps  *trampolines
	kinds   []uint8
}

// lifecycle are the programs that both modes need.
func lifecycle() []string { return []string{"exec_done", "fork_done", "exit_done"} }

// Load loads the programs of a mode. Errors wrap those of [ebpf.NewCollection]; a verifier's complaint is in them.
func Load(o Options) (*Objects, error) {
	spec, err := loadGyre()
	if err != nil {
		return nil, fmt.Errorf("read eBPF object: %w", err)
	}
	x := &Objects{Mode: o.Mode, kinds: make([]uint8, kindRoom)}
	switch o.Mode {
	case Tracepoint:
	case Trampoline:
		if x.tramps, err = planTrampolines(spec); err != nil {
			return nil, err
		}
		x.Missing = x.tramps.missing
	default:
		return nil, fmt.Errorf("attach mode %q: want %s or %s", o.Mode, Trampoline, Tracepoint)
	}
	uring, err := planUring(spec)
	if err != nil {
		return nil, err
	}
	if !uring {
		x.Missing = append(x.Missing, "io_uring")
	}
	if err := size(spec, o); err != nil {
		return nil, err
	}
	if x.coll, err = ebpf.NewCollection(spec); err != nil {
		return nil, fmt.Errorf("load eBPF programs (%s mode): %w", o.Mode, err)
	}
	if err := x.fill(); err != nil {
		return nil, errors.Join(err, x.Close())
	}
	return x, nil
}

// size fits maps to the machine and the options.
func size(spec *ebpf.CollectionSpec, o Options) error {
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		return fmt.Errorf("count CPUs: %w", err)
	}
	if o.RingBufferBytes != 0 {
		spec.Maps["events"].MaxEntries = o.RingBufferBytes
	}
	spec.Maps["scratches"].MaxEntries *= uint32(cpus)
	return nil
}

// fill writes the table of calls and the handlers.
func (o *Objects) fill() error {
	rows := o.coll.Maps["rows"]
	for _, r := range Rows() {
		for _, c := range r.Calls {
			v := r.value(c)
			if err := rows.Put(c.Row, &v); err != nil {
				return fmt.Errorf("enter %s into the table of calls: %w", r.Name, err)
			}
		}
	}
	if o.tramps != nil {
		return o.tramps.fill(o.coll)
	}
	for h, name := range handlerNames() {
		if err := o.coll.Maps["handlers"].Put(uint32(h), o.coll.Programs[name]); err != nil {
			return fmt.Errorf("register %s: %w", name, err)
		}
	}
	return nil
}

// Attach attaches everything; [Objects.SetKinds] says what is reported. On error what was attached stays until [Objects.Close].
func (o *Objects) Attach() error {
	names := lifecycle()
	if o.Mode == Tracepoint {
		names = append(names, "dispatch")
	}
	if !slices.Contains(o.Missing, "io_uring") {
		names = append(names, uringPrograms()...)
	}
	for _, n := range names {
		l, err := link.AttachTracing(link.TracingOptions{Program: o.coll.Programs[n]})
		if err != nil {
			return fmt.Errorf("attach %s: %w", n, err)
		}
		o.links = append(o.links, l)
	}
	return nil
}

// Events is the ring buffer.
func (o *Objects) Events() *ebpf.Map { return o.coll.Maps["events"] }

// Seed is the iterator that writes a record for each process that runs.
func (o *Objects) Seed() *ebpf.Program { return o.coll.Programs["seed"] }

// TryHelpers tells whether this kernel has what the programs call: all of it came with Linux 5.17 or before, and
// distributions have brought it to older kernels.
func TryHelpers() error {
	for _, fn := range []asm.BuiltinFunc{asm.FnLoop, asm.FnTaskPtRegs, asm.FnRingbufQuery} {
		if err := features.HaveProgramHelper(ebpf.RawTracepoint, fn); errors.Is(err, ebpf.ErrNotSupported) {
			return fmt.Errorf("eBPF helper %v: %w", fn, err)
		}
	}
	return nil
}

// Close detaches and unloads everything.
func (o *Objects) Close() error {
	var errs []error
	for _, l := range o.links {
		errs = append(errs, l.Close())
	}
	o.links = nil
	if o.tramps != nil {
		errs = append(errs, o.tramps.close())
	}
	o.coll.Close()
	return errors.Join(errs...)
}
