//go:build ignore

/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* One object of all families, so that they share their maps. */
#include "include/common.h"
#include "process.bpf.h"
#include "uring.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Keeps the types of the interface in BTF for the layout test. */
const struct gyre_header *unused_header __attribute__((unused));
const enum gyre_snapshot *unused_snapshot __attribute__((unused));
const enum gyre_exe_flag *unused_exe_flag __attribute__((unused));
const enum gyre_flag *unused_flag __attribute__((unused));
const enum gyre_op *unused_op __attribute__((unused));
const enum gyre_condition *unused_condition __attribute__((unused));
const enum gyre_row_base *unused_base __attribute__((unused));
const enum gyre_row_limit *unused_limit __attribute__((unused));
const enum gyre_handler *unused_handler __attribute__((unused));

/*
 * Tracepoint mode: the one program that every syscall of the system pays. A number
 * that nobody wants costs an array look-up.
 */
SEC("tp_btf/sys_exit")
int BPF_PROG(dispatch, struct pt_regs *regs, long ret)
{
	u64 nr = regs->orig_ax & ~(u64)X32_BIT;
	u8 on;

	/* x32 numbers from 512 on mean calls that have 64-bit numbers too. */
	on = nr < SYSCALLS ? syscall_on[nr & (SYSCALLS - 1)] : nr < SYSCALLS + 64 ? 1 : 0;
	if (!on)
		return 0;
	bool compat = in_compat_call(bpf_get_current_task_btf());

	if (!(on & (compat ? 2 : 1)))
		return 0;
	struct gyre_row *row = find_row(regs, compat);

	if (!row || !kind_wanted(row->kind))
		return 0;
	bpf_tail_call(ctx, &handlers, row->handler);
	return 0;
}
