/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Calls whose records are made as a row says. */
#ifndef GYRE_ROWS_H
#define GYRE_ROWS_H

#include "net.bpf.h"

#define S_IFREG 0100000
#define MODE_EXEC 0111
#define CAP_VERSION_1 0x19980330

struct row_run {
	struct scratch *s;
	struct gyre_row *row;
	struct task_struct *task;
};

/* Appends path, mode, device, inode and flags of a file. */
static __always_inline void put_file(struct scratch *s, struct task_struct *task, struct file *f)
{
	struct node n = {};

	if (f)
		load_node(&n, f);
	if (!n.inode) {
		put_none(s);
		put(s, 0);
		put(s, 0);
		put(s, 0);
		put(s, 0);
		return;
	}
	put_at(s, task, n.path.dentry, n.path.mnt);
	put(s, n.mode);
	put(s, n.dev);
	put(s, n.ino);
	put(s, n.flags);
}

/* The sets of capset(2): one or two of struct __user_cap_data_struct. */
static __always_inline void put_caps(struct scratch *s, const void *header, const void *data)
{
	u32 version = 0, set[6] = {}; /* effective, permitted, inheritable, and their upper halves */

	bpf_probe_read_user(&version, sizeof(version), header);
	bpf_probe_read_user(set, version == CAP_VERSION_1 ? 12 : 24, data);
	put(s, (u64)set[3] << 32 | set[0]);
	put(s, (u64)set[4] << 32 | set[1]);
	put(s, (u64)set[5] << 32 | set[2]);
}

static __always_inline void put_memory(struct scratch *s, u64 p, u32 size)
{
	u64 v = 0;

	if (p)
		bpf_probe_read_user(&v, size, (void *)p);
	put(s, v);
}

static long run_op(u32 i, struct row_run *r)
{
	struct scratch *s = r->s;
	struct task_struct *task = r->task;
	struct gyre_row_op op;

	if (i >= GYRE_ROW_OPS)
		return 1;
	op = r->row->ops[i];
	u64 v = op.arg < GYRE_A_ZERO ? s->a[op.arg & 7] : 0, w = s->a[op.aux & 7];

	switch (op.op) {
	case GYRE_OP_NUM:
		put(s, (s32)v);
		break;
	case GYRE_OP_U32:
		put(s, (u32)v);
		break;
	case GYRE_OP_U64:
		put(s, v);
		break;
	case GYRE_OP_U16:
		put(s, (u16)v);
		break;
	case GYRE_OP_FD:
		put(s, (s64)v >= 0 ? (s64)v : -1);
		break;
	case GYRE_OP_PATH:
		put_base(s, task, (s32)w, (void *)v, true);
		put_str(s, (void *)v, true);
		break;
	case GYRE_OP_FILE:
		put_file(s, task, file_of(task, (s32)v));
		break;
	case GYRE_OP_STRING:
		put_str(s, (void *)v, true);
		break;
	case GYRE_OP_SOCKET: {
		bool none = op.aux & GYRE_ADDR_NONE;

		put_socket(s, file_of(task, (s32)v), none ? 0 : (void *)w, none ? 0 : s->a[(op.aux + 1) & 7], op.aux & GYRE_ADDR_LOCAL, false, s->a[GYRE_A_RET]);
		break;
	}
	case GYRE_OP_CAPS:
		put_caps(s, (void *)v, (void *)w);
		break;
	case GYRE_OP_AT32:
		put_memory(s, v ? v + op.aux : 0, 4);
		break;
	case GYRE_OP_AT64:
		put_memory(s, v ? v + op.aux : 0, 8);
		break;
	case GYRE_OP_PAIR:
		put(s, (u32)v | (u64)(u32)w << 32);
		break;
	default:
		return 1;
	}
	return 0;
}

/* Executable files that a process has written to. */
struct written {
	u64 start, ino;
	u32 tgid, dev;
};
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct written);
	__type(value, u8);
} written SEC(".maps");

static __always_inline bool new_code(struct task_struct *task, s64 fd)
{
	struct file *f = file_of(task, fd);
	struct inode *inode = f ? BPF_CORE_READ(f, f_inode) : 0;

	if (!inode)
		return false;
	u16 mode = BPF_CORE_READ(inode, i_mode);

	if ((mode & S_IFMT) != S_IFREG || !(mode & MODE_EXEC))
		return false;
	struct written key = {
		.start = BPF_CORE_READ(task, group_leader, start_boottime), .ino = BPF_CORE_READ(inode, i_ino),
		.tgid = bpf_get_current_pid_tgid() >> 32, .dev = BPF_CORE_READ(inode, i_sb, s_dev),
	};

	return IS_NEW(&written, &key);
}

static __always_inline bool among(struct gyre_row *row, u32 v)
{
	for (int i = 0; i < GYRE_ROW_VALUES; i++)
		if (i < row->nvalues && row->values[i] == v)
			return true;
	return false;
}

static __always_inline bool security_name(const void *name)
{
	char text[9] = {};

	bpf_probe_read_user(text, sizeof(text), name);
	return text[0] == 's' && text[1] == 'e' && text[2] == 'c' && text[3] == 'u' && text[4] == 'r' && text[5] == 'i' && text[6] == 't' && text[7] == 'y' && text[8] == '.';
}

static __always_inline bool holds(struct call *c, struct scratch *s, struct task_struct *task)
{
	struct gyre_row *row = c->row;
	u64 v = s->a[row->arg & 7];

	switch (row->condition) {
	case GYRE_IF_OK:
		return c->ret >= 0;
	case GYRE_IF_IN:
		return among(row, v);
	case GYRE_IF_NOT_IN:
		return !among(row, v);
	case GYRE_IF_SECURITY:
		return security_name((void *)v);
	case GYRE_IF_SOCKET012:
		return (row->nvalues == 0 || among(row, v)) && c->ret >= 0 && c->ret <= 2 && socket_of(task, c->ret);
	case GYRE_IF_SIGNAL:
		return (u32)v != 0 && (s32)s->a[0] != (s32)(bpf_get_current_pid_tgid() >> 32);
	case GYRE_IF_NEW_CODE:
		return c->ret > 0 && new_code(task, (s32)v);
	}
	return true;
}

HANDLER(on_row)
{
	struct call c;

	if (!load_call(&c, regs, ret))
		return 0;
	struct scratch *s = take(c.row->kind);

	if (!s)
		return 0;
	struct row_run run = {.s = s, .row = c.row, .task = bpf_get_current_task_btf()};

	for (int i = 0; i < 6; i++)
		s->a[i] = c.a[i];
	s->a[GYRE_A_RET] = c.ret;
	s->a[GYRE_A_CWD] = AT_FDCWD;
	if (!holds(&c, s, run.task)) {
		give(s);
		return 0;
	}
	begin_call(s, &c);
	bpf_loop(c.row->nops, run_op, &run, 0);
	send(s);
	return 0;
}

#endif
