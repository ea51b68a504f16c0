package bpf

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

// uringPrograms are the programs on io_uring's tracepoints.
func uringPrograms() []string { return []string{"uring_submit", "uring_complete"} }

// planUring finds io_uring's tracepoints: that of a submission is called io_uring_submit_req since Linux 6.4 and
// io_uring_submit_sqe before, that of a completion has the result in an entry since 6.12 and as a number before.
// It tells whether both are there with arguments that are known; if not, their programs are removed.
func planUring(spec *ebpf.CollectionSpec) (bool, error) {
	kernel, err := btf.LoadKernelSpec()
	if err != nil {
		return false, fmt.Errorf("read the kernel's types: %w", err)
	}
	drop := func() (bool, error) {
		for _, name := range uringPrograms() {
			delete(spec.Programs, name)
		}
		return false, nil
	}
	submit := "io_uring_submit_req"
	args, err := tracepointArgs(kernel, submit)
	if errors.Is(err, btf.ErrNotFound) {
		submit = "io_uring_submit_sqe"
		args, err = tracepointArgs(kernel, submit)
	}
	if errors.Is(err, btf.ErrNotFound) || err == nil && (len(args) == 0 || !pointsTo(args[0], "io_kiocb")) {
		return drop()
	}
	if err != nil {
		return false, err
	}
	done, err := tracepointArgs(kernel, "io_uring_complete")
	if errors.Is(err, btf.ErrNotFound) || err == nil && len(done) < 3 {
		return drop()
	}
	if err != nil {
		return false, err
	}
	spec.Programs["uring_submit"].AttachTo = submit
	if pointsTo(done[2], "io_uring_cqe") {
		err = spec.Variables["uring_cqe"].Set(uint32(1))
	}
	return true, err
}

// tracepointArgs are the types of a tracepoint's arguments.
func tracepointArgs(kernel *btf.Spec, name string) ([]btf.Type, error) {
	var def *btf.Typedef
	if err := kernel.TypeByName("btf_trace_"+name, &def); err != nil {
		return nil, err
	}
	ptr, ok := def.Type.(*btf.Pointer)
	if !ok {
		return nil, fmt.Errorf("tracepoint %s: %w", name, btf.ErrNotFound)
	}
	proto, ok := ptr.Target.(*btf.FuncProto)
	if !ok || len(proto.Params) == 0 {
		return nil, fmt.Errorf("tracepoint %s: %w", name, btf.ErrNotFound)
	}
	var out []btf.Type
	for _, p := range proto.Params[1:] { // the first is the tracepoint's own
		out = append(out, p.Type)
	}
	return out, nil
}

func pointsTo(t btf.Type, name string) bool {
	p, ok := t.(*btf.Pointer)
	return ok && btf.UnderlyingType(p.Target).TypeName() == name
}
