package bpf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// In trampoline mode each entry point of a system call that is wanted gets a stub on
// its exit, which tail-calls the handler. The handlers are the programs of the
// tracepoint mode, loaded for an entry point instead: both see (regs, ret).
//
// Since Linux 6.12 a tail call must stay between hooks whose functions have the same
// prototype, and entry points come with two: those that a kernel may be built
// without call their parameter otherwise. So handlers are loaded once per prototype.

// entry is an entry point that can be attached to.
type entry struct {
	row    uint32
	kind   uint16
	name   string // of the call
	btfID  btf.TypeID
	proto  btf.TypeID
	handle Handler
}

// hook is all entry points of one prototype.
type hook struct {
	symbol   string // one that names a single function: what the handlers are loaded for
	handlers *ebpf.Map
	needs    [handlerCount]bool
}

type trampolines struct {
	entries []entry
	hooks   map[btf.TypeID]*hook
	missing []string
	mu      sync.Mutex
	stubs   map[uint32]*stub // by row
}

// stub is an attached one.
type stub struct {
	link link.Link
	prog *ebpf.Program
}

// planTrampolines finds the entry points and prepares the specs of the handlers.
func planTrampolines(spec *ebpf.CollectionSpec) (*trampolines, error) {
	kernel, err := btf.LoadKernelSpec()
	if err != nil {
		return nil, fmt.Errorf("read the kernel's types: %w", err)
	}
	t := &trampolines{hooks: map[btf.TypeID]*hook{}, stubs: map[uint32]*stub{}}
	usual, _, err := findEntry(kernel, "__x64_sys_getpgid", 0)
	if err != nil {
		return nil, fmt.Errorf("find an entry point of a system call: %w", err)
	}
	for _, r := range Rows() {
		found := false
		for _, c := range r.Calls {
			for _, symbol := range c.Symbols {
				e, single, err := findEntry(kernel, symbol, usual.proto)
				if err != nil {
					continue
				}
				e.row, e.kind, e.name, e.handle = c.Row, r.Kind, r.Name, r.Handler
				t.add(e, symbol, single)
				found = true
				break
			}
		}
		if !found {
			t.missing = append(t.missing, r.Name)
		}
	}
	if e, single, err := findEntry(kernel, "__ia32_compat_sys_socketcall", usual.proto); err == nil {
		e.row, e.name = rowIA32+socketcall, "socketcall"
		t.add(e, "__ia32_compat_sys_socketcall", single)
		for h := range t.hooks[e.proto].needs {
			t.hooks[e.proto].needs[h] = h == int(HandleRow) || h == int(HandleMessage) || t.hooks[e.proto].needs[h]
		}
	}
	t.dropUnnamed()
	delete(spec.Programs, "dispatch")
	for i, name := range handlerNames() {
		prog := spec.Programs[name]
		delete(spec.Programs, name)
		for proto, h := range t.hooks {
			if !h.needs[i] {
				continue
			}
			p := prog.Copy()
			p.AttachType, p.AttachTo = ebpf.AttachTraceFExit, h.symbol
			spec.Programs[handlerFor(name, proto)] = p
		}
	}
	return t, nil
}

func handlerFor(name string, proto btf.TypeID) string { return fmt.Sprintf("%s@%d", name, proto) }

// socketcall is the number of socketcall(2) in 32-bit programs.
const socketcall = 102

func (t *trampolines) add(e entry, symbol string, single bool) {
	h := t.hooks[e.proto]
	if h == nil {
		h = &hook{}
		t.hooks[e.proto] = h
	}
	if single && h.symbol == "" {
		h.symbol = symbol
	}
	h.needs[e.handle] = true
	t.entries = append(t.entries, e)
}

// dropUnnamed gives up prototypes for which no handler can be loaded, as each of their functions has a namesake.
func (t *trampolines) dropUnnamed() {
	for proto, h := range t.hooks {
		if h.symbol != "" {
			continue
		}
		delete(t.hooks, proto)
		t.entries = slices.DeleteFunc(t.entries, func(e entry) bool {
			if e.proto == proto && e.row < rowIA32 {
				t.missing = append(t.missing, e.name)
			}
			return e.proto == proto
		})
	}
	slices.Sort(t.missing)
}

// findEntry finds a function of the kernel. Entry points that a kernel may be built without can be in its types twice, with
// two prototypes but one address; the one with the wanted prototype is taken then. single tells that there is one only.
func findEntry(kernel *btf.Spec, symbol string, want btf.TypeID) (e entry, single bool, err error) {
	all, err := kernel.AnyTypesByName(symbol)
	if err != nil {
		return e, false, err
	}
	n := 0
	for _, typ := range all {
		fn, ok := typ.(*btf.Func)
		if !ok {
			continue
		}
		id, err := kernel.TypeID(fn)
		if err != nil {
			return e, false, err
		}
		proto, err := kernel.TypeID(fn.Type)
		if err != nil {
			return e, false, err
		}
		if n == 0 || proto == want {
			e.btfID, e.proto = id, proto
		}
		n++
	}
	if n == 0 {
		return e, false, btf.ErrNotFound
	}
	return e, n == 1, nil
}

// fill registers the handlers, per prototype.
func (t *trampolines) fill(coll *ebpf.Collection) error {
	for proto, h := range t.hooks {
		var err error
		h.handlers, err = ebpf.NewMap(&ebpf.MapSpec{Name: "handlers", Type: ebpf.ProgramArray, KeySize: 4, ValueSize: 4, MaxEntries: uint32(handlerCount)})
		if err != nil {
			return fmt.Errorf("make a table of handlers: %w", err)
		}
		for i, name := range handlerNames() {
			if !h.needs[i] {
				continue
			}
			if err := h.handlers.Put(uint32(i), coll.Programs[handlerFor(name, proto)]); err != nil {
				return fmt.Errorf("register %s: %w", name, err)
			}
		}
	}
	return nil
}

// set attaches stubs to the entry points of the kinds that are on, and takes away the others.
func (t *trampolines) set(kinds []uint8) error {
	on := slices.ContainsFunc(Rows(), func(r Row) bool {
		return kinds[r.Kind] != 0 && slices.ContainsFunc(r.Calls, func(c Call) bool { return c.Row >= rowSocketcall })
	})
	// Each change waits for grace periods of the kernel; many at once wait for the same ones.
	var work errgroup.Group
	work.SetLimit(parallelChanges)
	have := maps.Clone(t.stubs)
	for _, e := range t.entries {
		want := on
		if e.kind != 0 {
			want = kinds[e.kind] != 0
		}
		attached := have[e.row] != nil
		switch {
		case want && !attached:
			work.Go(func() error { return t.attach(e) })
		case !want && attached:
			work.Go(func() error { return t.detach(e.row) })
		}
	}
	return work.Wait()
}

const parallelChanges = 32

func (t *trampolines) attach(e entry) error {
	code := asm.Instructions{asm.Mov.Imm(asm.R3, int32(e.handle))}
	if e.kind == 0 {
		code = socketcallHandler()
	}
	p, err := loadStub(e, t.hooks[e.proto].handlers, code)
	if err != nil {
		return fmt.Errorf("load the stub of %s: %w", e.name, err)
	}
	l, err := link.AttachTracing(link.TracingOptions{Program: p})
	if err != nil {
		return errors.Join(fmt.Errorf("attach to %s: %w", e.name, err), p.Close())
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stubs[e.row] = &stub{l, p}
	return nil
}

func (t *trampolines) detach(row uint32) error {
	t.mu.Lock()
	s := t.stubs[row]
	delete(t.stubs, row)
	t.mu.Unlock()
	return errors.Join(s.link.Close(), s.prog.Close())
}

func (t *trampolines) close() error {
	errs := []error{t.set(make([]uint8, kindRoom))}
	for _, h := range t.hooks {
		if h.handlers != nil {
			errs = append(errs, h.handlers.Close())
		}
	}
	return errors.Join(errs...)
}

// socketcallHandler puts the handler of the call that socketcall(2) stands for into R3, from register bx of the caller. It
// keeps the context in R1.
func socketcallHandler() asm.Instructions {
	const bx = 40 // struct pt_regs, arch/x86/include/asm/ptrace.h
	code := asm.Instructions{
		asm.LoadMem(asm.R4, asm.R1, 0, asm.DWord),
		asm.LoadMem(asm.R4, asm.R4, bx, asm.DWord),
		asm.Mov.Imm(asm.R3, int32(HandleRow)),
	}
	for _, r := range Rows() {
		for _, c := range r.Calls {
			if r.Handler == HandleMessage && c.Row >= rowSocketcall {
				code = append(code, asm.JEq.Imm(asm.R4, int32(c.Row-rowSocketcall), "message"))
			}
		}
	}
	return append(code,
		asm.Ja.Label("call"),
		asm.Mov.Imm(asm.R3, int32(HandleMessage)).WithSymbol("message"),
		asm.Mov.Reg(asm.R4, asm.R3).WithSymbol("call"),
	)
}

// progLoad is the start of union bpf_attr for BPF_PROG_LOAD (include/uapi/linux/bpf.h).
type progLoad struct {
	Type, InsnCount    uint32
	Insns, License     uint64
	LogLevel, LogSize  uint32
	LogBuf             uint64
	KernVersion, Flags uint32
	Name               [16]byte
	IfIndex            uint32
	AttachType         uint32
	BTF                uint32
	FuncInfoSize       uint32
	FuncInfo           uint64
	FuncInfoCount      uint32
	LineInfoSize       uint32
	LineInfo           uint64
	LineInfoCount      uint32
	AttachBTFID        uint32
}

const (
	bpfProgLoad  = 5
	loadAttempts = 50
)

// loadStub loads a program for the exit of an entry point that tail-calls the handler whose number code puts into R3. The
// library refuses functions that have a namesake in the kernel's types; here they are the same function.
func loadStub(e entry, handlers *ebpf.Map, code asm.Instructions) (*ebpf.Program, error) {
	insns := append(code, asm.LoadMapPtr(asm.R2, handlers.FD()), asm.FnTailCall.Call())
	insns = append(insns, asm.Mov.Imm(asm.R0, 0), asm.Return())
	return loadExit(e, insns)
}

func loadExit(e entry, insns asm.Instructions) (*ebpf.Program, error) {
	var code bytes.Buffer
	if err := insns.Marshal(&code, binary.LittleEndian); err != nil {
		return nil, fmt.Errorf("assemble: %w", err)
	}
	license := append([]byte("Dual BSD/GPL"), 0)
	log := make([]byte, 16<<10)
	a := progLoad{
		Type: uint32(ebpf.Tracing), InsnCount: uint32(code.Len() / asm.InstructionSize), AttachType: uint32(ebpf.AttachTraceFExit), AttachBTFID: uint32(e.btfID),
		Insns: uint64(uintptr(unsafe.Pointer(&code.Bytes()[0]))), License: uint64(uintptr(unsafe.Pointer(&license[0]))),
		LogLevel: 1, LogSize: uint32(len(log)), LogBuf: uint64(uintptr(unsafe.Pointer(&log[0]))),
	}
	copy(a.Name[:15], "gyre_stub")
	var fd uintptr
	var errno unix.Errno
	for range loadAttempts { // the verifier gives up when a signal is pending, and the Go runtime sends many
		fd, _, errno = unix.Syscall(unix.SYS_BPF, bpfProgLoad, uintptr(unsafe.Pointer(&a)), unsafe.Sizeof(a))
		if errno != unix.EAGAIN {
			break
		}
	}
	runtime.KeepAlive(code)
	runtime.KeepAlive(license)
	if errno != 0 {
		return nil, fmt.Errorf("%w: %s", errno, unix.ByteSliceToString(log))
	}
	return ebpf.NewProgramFromFD(int(fd))
}

// TryTrampoline tells whether this kernel lets a program be attached to the exit of a function.
func TryTrampoline() error {
	kernel, err := btf.LoadKernelSpec()
	if err != nil {
		return fmt.Errorf("read the kernel's types: %w", err)
	}
	e, _, err := findEntry(kernel, "__x64_sys_getpgid", 0)
	if err != nil {
		return fmt.Errorf("find an entry point of a system call: %w", err)
	}
	p, err := loadExit(e, asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()})
	if err != nil {
		return fmt.Errorf("load a trampoline program: %w", err)
	}
	defer func() { _ = p.Close() }()
	l, err := link.AttachTracing(link.TracingOptions{Program: p})
	if err != nil {
		return fmt.Errorf("attach a trampoline program: %w", err)
	}
	return l.Close()
}
