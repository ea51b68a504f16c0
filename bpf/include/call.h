/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Which system call a task is in, and its arguments: 64-bit, 32-bit and x32 calls. */
#ifndef GYRE_CALL_H
#define GYRE_CALL_H

#include "common.h"

#define NR32_socketcall 102

struct call {
	u64 a[6];
	s64 ret;
	u32 flags;   /* enum gyre_flag */
	bool narrow; /* structures in memory have the 32-bit layout */
	struct gyre_row *row;
};

/* The number of the row of the call, GYRE_ROWS if there is none. */
static __always_inline u32 row_of(struct pt_regs *regs, bool compat)
{
	u64 nr = regs->orig_ax;

	if (compat) {
		if (nr == NR32_socketcall)
			return GYRE_ROW_SOCKETCALL + (regs->bx & 31);
		return nr < SYSCALLS ? GYRE_ROW_IA32 + nr : GYRE_ROWS;
	}
	if (nr & X32_BIT) {
		nr &= X32_BIT - 1;
		if (nr >= SYSCALLS)
			nr = GYRE_ROW_X32 + (nr - SYSCALLS < 64 ? nr - SYSCALLS : 63);
		return nr;
	}
	return nr < SYSCALLS ? nr : GYRE_ROWS;
}

static __always_inline struct gyre_row *find_row(struct pt_regs *regs, bool compat)
{
	u32 key = row_of(regs, compat);

	return bpf_map_lookup_elem(&rows, &key);
}

/*
 * The result as a program sees it. A call that a signal interrupts ends with one of the
 * kernel's own codes (ERESTARTSYS, 512, and its kin): it fails with EINTR, or is made again.
 */
static __always_inline s64 told_result(s64 ret)
{
	return ret <= -512 && ret >= -516 ? -EINTR : ret;
}

/* Fills c; false if the call is not one that is wanted. */
static __always_inline bool load_call(struct call *c, struct pt_regs *regs, s64 ret)
{
	bool compat = in_compat_call(bpf_get_current_task_btf());
	u64 nr = regs->orig_ax;

	c->row = find_row(regs, compat);
	if (!c->row || !wanted(c->row->kind))
		return false;
	c->ret = told_result(ret);
	c->flags = 0;
	c->narrow = compat;
	if (!compat) {
		c->a[0] = regs->di;
		c->a[1] = regs->si;
		c->a[2] = regs->dx;
		c->a[3] = regs->r10;
		c->a[4] = regs->r8;
		c->a[5] = regs->r9;
		if (nr & X32_BIT) {
			c->flags = GYRE_F_COMPAT;
			c->narrow = (nr & (X32_BIT - 1)) >= SYSCALLS;
		}
		return true;
	}
	c->flags = GYRE_F_COMPAT;
	c->ret = told_result((s32)ret);
	if (nr == NR32_socketcall) {
		u32 args[6] = {};

		bpf_probe_read_user(args, sizeof(args), (void *)(u64)(u32)regs->cx);
		for (int i = 0; i < 6; i++)
			c->a[i] = args[i];
		return true;
	}
	c->a[0] = (u32)regs->bx;
	c->a[1] = (u32)regs->cx;
	c->a[2] = (u32)regs->dx;
	c->a[3] = (u32)regs->si;
	c->a[4] = (u32)regs->di;
	c->a[5] = (u32)regs->bp;
	return true;
}

/* Begins the record of a call. */
static __always_inline void begin_call(struct scratch *s, struct call *c)
{
	begin(s, c->row->kind, c->row->nslots, c->ret);
	flag(s, c->flags);
}

#endif
