package decode

import (
	"github.com/gyre-sec/gyre/bpf"
	"github.com/gyre-sec/gyre/schemas/eventv1"
)

func n(slot int) arg        { return arg{how: number, slot: slot} }
func s(slot int) arg        { return arg{how: text, slot: slot} }
func name(base int) arg     { return arg{how: joined, slot: base + 1, base: base} }
func file(slot int) arg     { return arg{how: walked, slot: slot} }
func unixSocket(at int) arg { return arg{how: socket, slot: at} }
func socketAt(at int) []arg {
	return []arg{n(at), n(at + 1), n(at + 2), s(at + 3), n(at + 4), s(at + 5), n(at + 6), unixSocket(at + 7), n(at + 8)}
}

// shapes maps slots to arguments. What the table of calls says of a kind gives its shape; the order of
// arguments is that of eventv1's kind table.
func shapes() [eventv1.KindCount]shape {
	var all [eventv1.KindCount]shape
	for _, r := range bpf.Rows() {
		all[r.Kind] = shapeOf(r)
	}
	clones := shape{bpf.CloneSlots, []arg{n(bpf.CloneFlags), n(bpf.CloneChildTID), n(bpf.CloneChildTGID), {how: computed}}}
	all[eventv1.Clone], all[eventv1.Clone3], all[eventv1.Fork], all[eventv1.Vfork] = clones, clones, clones, clones
	all[eventv1.ProcExit] = shape{bpf.ExitSlots, []arg{n(bpf.ExitStatus), {how: computed}, {how: computed}, {how: computed}}}
	// These tell the names as the caller gave them too.
	for _, k := range []eventv1.Kind{eventv1.Unlink, eventv1.Unlinkat} {
		all[k].args = []arg{name(0), s(1), n(2), n(3)}
	}
	for _, k := range []eventv1.Kind{eventv1.Rename, eventv1.Renameat, eventv1.Renameat2} {
		all[k].args = []arg{name(0), name(2), s(1), s(3), n(4), n(5), n(6)}
	}
	return all
}

func shapeOf(r bpf.Row) shape {
	switch r.Handler {
	case bpf.HandleExec:
		return shape{bpf.ExecSlots, []arg{name(bpf.ExecBase), n(bpf.ExecDirFD), n(bpf.ExecFlags)}}
	case bpf.HandleOpen:
		return shape{bpf.OpenSlots, []arg{
			n(bpf.OpenFD), n(bpf.OpenDirFD),
			{how: resolved, slot: bpf.OpenPath, base: bpf.OpenBase, name: bpf.OpenNameRaw},
			s(bpf.OpenNameRaw), n(bpf.OpenFlags), n(bpf.OpenMode), n(bpf.OpenResolve), n(bpf.OpenDev), n(bpf.OpenIno), n(bpf.OpenFileFlags), n(bpf.OpenFileMode), n(bpf.OpenFolded),
		}}
	case bpf.HandleMessage:
		return shape{bpf.MessageSlots, append([]arg{n(bpf.MessageFD), n(bpf.MessageSize)}, socketAt(bpf.MessageSocket)...)}
	}
	var sh shape
	for _, o := range r.Ops {
		sh.args = append(sh.args, argsOf(o, sh.slots)...)
		sh.slots += o.Slots()
	}
	return sh
}

// argsOf is what an operation that appends from slot at on gives.
func argsOf(o bpf.Op, at int) []arg {
	switch o.Code {
	case bpf.OpPath:
		return []arg{name(at)}
	case bpf.OpString:
		return []arg{s(at)}
	case bpf.OpFile:
		return []arg{file(at), n(at + 1), n(at + 2), n(at + 3), n(at + 4)}
	case bpf.OpSocket:
		return socketAt(at)
	case bpf.OpCaps:
		return []arg{n(at), n(at + 1), n(at + 2)}
	default:
		return []arg{n(at)}
	}
}
