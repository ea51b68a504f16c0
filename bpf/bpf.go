package bpf

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
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

// Syscall is a row of the syscall table: a number on x86-64, the kind of its events and its handler's name.
type Syscall struct {
	Nr   uint32
	Kind uint16
	Name string
}

// Syscalls is the table of syscalls that have a handler: adding one is a function in C and a row here.
func Syscalls() []Syscall {
	return []Syscall{
		{2, 8, "open"}, {257, 9, "openat"}, {437, 10, "openat2"}, {85, 11, "creat"},
		{42, 12, "connect"},
		{59, 1, "execve"}, {322, 2, "execveat"},
		{87, 13, "unlink"}, {263, 14, "unlinkat"},
		{82, 15, "rename"}, {264, 16, "renameat"}, {316, 17, "renameat2"},
	}
}

// lifecycle are the programs that both modes need.
func lifecycle() []string { return []string{"exec_done", "fork_done", "exit_done"} }

// Options say how to load.
type Options struct {
	Mode Mode
	// RingBufferBytes is a power of two and a multiple of the page size; 0 means 8 MiB.
	RingBufferBytes uint32
	// WakeBytes is how much may wait in the ring buffer before the reader is woken; 0 means 64 KiB.
	WakeBytes uint32
}

// Objects are loaded programs and maps. They see nothing until [Objects.Attach].
type Objects struct {
	Mode Mode
	// Missing names the handlers that this kernel gives nothing to attach to in trampoline mode.
	Missing []string
	coll    *ebpf.Collection
	links   []link.Link
}

// Load loads the programs of a mode. Errors wrap those of [ebpf.NewCollection]; a verifier's complaint is in them.
func Load(o Options) (*Objects, error) {
	spec, err := loadGyre()
	if err != nil {
		return nil, fmt.Errorf("read eBPF object: %w", err)
	}
	if err := prune(spec, o.Mode); err != nil {
		return nil, err
	}
	missing, err := dropAmbiguous(spec)
	if err != nil {
		return nil, err
	}
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		return nil, fmt.Errorf("count CPUs: %w", err)
	}
	if o.RingBufferBytes != 0 {
		spec.Maps["events"].MaxEntries = o.RingBufferBytes
	}
	spec.Maps["scratches"].MaxEntries *= uint32(cpus)
	if o.WakeBytes != 0 {
		if err := spec.Variables["wake_bytes"].Set(o.WakeBytes); err != nil {
			return nil, fmt.Errorf("set wake-up threshold: %w", err)
		}
	}
	coll, err := ebpf.NewCollection(spec)
	if err != nil {
		return nil, fmt.Errorf("load eBPF programs (%s mode): %w", o.Mode, err)
	}
	return &Objects{Mode: o.Mode, Missing: missing, coll: coll}, nil
}

// TryTrampoline tells whether this kernel lets a program be attached to the exit of a function.
func TryTrampoline() error {
	spec, err := loadGyre()
	if err != nil {
		return fmt.Errorf("read eBPF object: %w", err)
	}
	prog, err := ebpf.NewProgram(spec.Programs["t_probe"])
	if err != nil {
		return fmt.Errorf("load a trampoline program: %w", err)
	}
	defer func() { _ = prog.Close() }()
	l, err := link.AttachTracing(link.TracingOptions{Program: prog})
	if err != nil {
		return fmt.Errorf("attach a trampoline program: %w", err)
	}
	return l.Close()
}

// prune removes the programs of the other mode: this kernel may refuse to load them.
func prune(spec *ebpf.CollectionSpec, m Mode) error {
	var drop string
	switch m {
	case Trampoline:
		drop = "d_"
		delete(spec.Programs, "dispatch")
	case Tracepoint:
		drop = "t_"
	default:
		return fmt.Errorf("attach mode %q: want %s or %s", m, Trampoline, Tracepoint)
	}
	for name := range spec.Programs {
		if strings.HasPrefix(name, drop) || name == "t_probe" {
			delete(spec.Programs, name)
		}
	}
	return nil
}

// dropAmbiguous removes trampoline programs whose target BTF has twice, which cannot be attached to by
// name: entry points of syscalls that the kernel may be built without (seen: execveat on Debian's 6.1).
func dropAmbiguous(spec *ebpf.CollectionSpec) ([]string, error) {
	var kernel *btf.Spec
	var missing []string
	for name, p := range spec.Programs {
		if p.AttachType != ebpf.AttachTraceFExit {
			continue
		}
		if kernel == nil {
			var err error
			if kernel, err = btf.LoadKernelSpec(); err != nil {
				return nil, fmt.Errorf("read the kernel's types: %w", err)
			}
		}
		var fn *btf.Func
		if errors.Is(kernel.TypeByName(p.AttachTo, &fn), btf.ErrMultipleMatches) {
			delete(spec.Programs, name)
			missing = append(missing, strings.TrimPrefix(name, "t_"))
		}
	}
	slices.Sort(missing)
	return missing, nil
}

// Attach attaches everything; [Objects.SetKind] says what is reported. On error what was attached stays until [Objects.Close].
func (o *Objects) Attach() error {
	names := lifecycle()
	if o.Mode == Tracepoint {
		handlers := o.coll.Maps["handlers"]
		for _, s := range Syscalls() {
			if err := handlers.Put(s.Nr, o.coll.Programs["d_"+s.Name]); err != nil {
				return fmt.Errorf("register handler of %s: %w", s.Name, err)
			}
		}
		names = append(names, "dispatch")
	} else {
		for _, s := range Syscalls() {
			if !slices.Contains(o.Missing, s.Name) {
				names = append(names, "t_"+s.Name)
			}
		}
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

// SetKind switches events of a kind on or off while running.
func (o *Objects) SetKind(kind uint16, on bool) error {
	kinds := make([]uint8, kindRoom)
	v := o.coll.Variables["kind_on"]
	if err := v.Get(kinds); err != nil {
		return fmt.Errorf("read kind switches: %w", err)
	}
	if int(kind) >= len(kinds) {
		return fmt.Errorf("switch kind %d: at most %d", kind, len(kinds)-1)
	}
	kinds[kind] = b2u(on)
	if err := v.Set(kinds); err != nil {
		return fmt.Errorf("write kind switches: %w", err)
	}
	calls := make([]uint8, syscallRoom)
	v = o.coll.Variables["syscall_on"]
	if err := v.Get(calls); err != nil {
		return fmt.Errorf("read syscall switches: %w", err)
	}
	for _, s := range Syscalls() {
		if s.Kind == kind {
			calls[s.Nr] = b2u(on)
		}
	}
	if err := v.Set(calls); err != nil {
		return fmt.Errorf("write syscall switches: %w", err)
	}
	return nil
}

const (
	kindRoom    = 64
	syscallRoom = 512
)

func b2u(b bool) uint8 {
	if b {
		return 1
	}
	return 0
}

// SetThreads switches events for new threads on or off.
func (o *Objects) SetThreads(on bool) error {
	return o.coll.Variables["threads_on"].Set(uint32(b2u(on)))
}

// Exclude makes the programs pass over a process, and the processes that it starts from now on if children is set.
func (o *Objects) Exclude(tgid uint32, children bool) error {
	v := uint32(1)
	if children {
		v = 3
	}
	if err := o.coll.Maps["excluded"].Put(tgid, v); err != nil {
		return fmt.Errorf("exclude process %d: %w", tgid, err)
	}
	return o.coll.Variables["exclusions"].Set(uint32(1))
}

// Counters count records per kind since the load.
type Counters struct {
	// Sent records are in the ring buffer; Full ones found no room there, Busy ones no scratch memory.
	Sent, Full, Busy [kindRoom]uint64
	// Compat counts 32-bit calls that were passed over.
	Compat uint64
	Pad    uint64
}

// Counters sums the counters of all CPUs.
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
		}
		sum.Compat += per[i].Compat
	}
	return sum, nil
}

// Close detaches and unloads everything.
func (o *Objects) Close() error {
	var errs []error
	for _, l := range o.links {
		errs = append(errs, l.Close())
	}
	o.links = nil
	o.coll.Close()
	return errors.Join(errs...)
}

// Include takes back [Objects.Exclude] for one process; those that it started before stay excluded.
func (o *Objects) Include(tgid uint32) error {
	if err := o.coll.Maps["excluded"].Delete(tgid); err != nil {
		return fmt.Errorf("include process %d: %w", tgid, err)
	}
	return nil
}
