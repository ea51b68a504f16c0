//go:build ignore

/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* One object of all families, so that they share their maps. */
#include "include/common.h"
#include "process.bpf.h"
#include "file.bpf.h"
#include "net.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Keeps the types of the interface in BTF for the layout test. */
const struct gyre_header *unused_header __attribute__((unused));
const enum gyre_snapshot *unused_snapshot __attribute__((unused));
const enum gyre_exe_flag *unused_exe_flag __attribute__((unused));
const enum gyre_flag *unused_flag __attribute__((unused));

/*
 * Tracepoint mode: the one program that every syscall of the system pays. A number
 * that nobody wants costs an array look-up.
 */
SEC("tp_btf/sys_exit")
int BPF_PROG(dispatch, struct pt_regs *regs, long ret)
{
	u64 nr = regs->orig_ax;

	if (nr >= SYSCALLS || !syscall_on[nr & (SYSCALLS - 1)])
		return 0;
	if (is_compat(bpf_get_current_task_btf()))
		return 0;
	bpf_tail_call(ctx, &handlers, nr);
	return 0;
}

/* Loads only where trampolines are allowed: the probe for the attach mode. */
SEC("fexit/__x64_sys_getpgid")
int BPF_PROG(t_probe, struct pt_regs *regs, long ret)
{
	return 0;
}
