/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Maps, switches, the record under construction, and the two attach modes. */
#ifndef GYRE_COMMON_H
#define GYRE_COMMON_H

#include "kernel.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "event.h"

#define PATH_MAX 4096
#define SYSCALLS 512
#define SLOTS_PER_CPU 3
#define AT_FDCWD -100
#define PF_KTHREAD 0x00200000
#define TS_COMPAT 0x0002
#define S_IFMT 0170000
#define S_IFSOCK 0140000

#define REC_BODY 32768			 /* offsets into a record stay below this */
#define REC_SIZE (REC_BODY + PATH_MAX)

/* A record under construction. One CPU may build several: a handler can be preempted. */
struct scratch {
	u32 busy;
	u32 off;	/* end of the record */
	u32 slot;	/* next slot */
	u32 path_at;	/* where the walked path starts in path[] */
	u8 rec[REC_SIZE];
	u8 path[2 * PATH_MAX];
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 8 << 20);
} events SEC(".maps");

/* SLOTS_PER_CPU entries for each CPU; the loader sets max_entries. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SLOTS_PER_CPU);
	__type(key, u32);
	__type(value, struct scratch);
} scratches SEC(".maps");

struct counters {
	u64 sent[GYRE_KINDS];
	u64 full[GYRE_KINDS];	/* the ring buffer had no room */
	u64 busy[GYRE_KINDS];	/* no scratch was free */
	u64 compat;		/* 32-bit calls passed over */
	u64 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct counters);
} counts SEC(".maps");

/* tgid -> 1: excluded, 3: its children too. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, u32);
	__type(value, u32);
} excluded SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, SYSCALLS);
	__type(key, u32);
	__type(value, u32);
} handlers SEC(".maps");

/* Switches, changed while running. kind_on is by kind, syscall_on by number. */
u8 kind_on[GYRE_KINDS] = {};
u8 syscall_on[SYSCALLS] = {};
u32 threads_on = 0;	   /* report new threads */
u32 exclusions = 0;	   /* excluded has entries */
u32 wake_bytes = 65536;	   /* wake the reader when so much is waiting */

static __always_inline struct counters *counters(void)
{
	u32 zero = 0;

	return bpf_map_lookup_elem(&counts, &zero);
}

/* A 32-bit call: its number and registers mean other things. It is counted and passed over. */
static __always_inline bool is_compat(struct task_struct *task)
{
	if (!(BPF_CORE_READ(task, thread_info.status) & TS_COMPAT))
		return false;
	struct counters *c = counters();

	if (c)
		c->compat++;
	return true;
}

static __always_inline bool is_excluded(u32 tgid)
{
	return exclusions && bpf_map_lookup_elem(&excluded, &tgid);
}

static __always_inline bool wanted(u32 kind)
{
	return kind < GYRE_KINDS && kind_on[kind] && !is_excluded(bpf_get_current_pid_tgid() >> 32);
}

static __always_inline u32 execs_of(struct task_struct *leader)
{
	return BPF_CORE_READ(leader, self_exec_id);
}

static __always_inline struct scratch *take(u32 kind)
{
	u32 base = bpf_get_smp_processor_id() * SLOTS_PER_CPU;

	for (u32 i = 0; i < SLOTS_PER_CPU; i++) {
		u32 key = base + i;
		struct scratch *s = bpf_map_lookup_elem(&scratches, &key);

		if (!s)
			return 0;
		if (!__sync_lock_test_and_set(&s->busy, 1))
			return s;
	}
	struct counters *c = counters();

	if (c && kind < GYRE_KINDS)
		c->busy[kind]++;
	return 0;
}

static __always_inline void give(struct scratch *s)
{
	__sync_lock_test_and_set(&s->busy, 0);
}

/* Starts a record about task, which must be the current one unless seeding. */
static __always_inline struct gyre_header *begin_task(struct scratch *s, struct task_struct *task, u32 kind, u32 nslots, s64 ret)
{
	struct gyre_header *h = (void *)s->rec;
	struct task_struct *leader = BPF_CORE_READ(task, group_leader);

	h->kind = kind;
	h->flags = 0;
	h->time = bpf_ktime_get_boot_ns();
	h->tgid = BPF_CORE_READ(task, tgid);
	h->tid = BPF_CORE_READ(task, pid);
	h->start = BPF_CORE_READ(leader, start_boottime);
	h->execs = execs_of(leader);
	h->cpu = bpf_get_smp_processor_id();
	h->ret = ret;
	h->cgroup = 0;
	h->nargs = nslots;
	h->pad = 0;
	s->off = sizeof(*h) + 8 * nslots;
	s->slot = 0;
	return h;
}

static __always_inline struct gyre_header *begin(struct scratch *s, u32 kind, u32 nslots, s64 ret)
{
	struct gyre_header *h = begin_task(s, (void *)bpf_get_current_task(), kind, nslots, ret);
	u64 ids = bpf_get_current_uid_gid();

	h->uid = ids;
	h->gid = ids >> 32;
	h->cgroup = bpf_get_current_cgroup_id();
	bpf_get_current_comm(h->comm, sizeof(h->comm));
	return h;
}

static __always_inline void flag(struct scratch *s, u32 f)
{
	((struct gyre_header *)s->rec)->flags |= f;
}

#define SLOT_MAX 48

static __always_inline void put(struct scratch *s, u64 v)
{
	u32 i = s->slot++;

	if (i < SLOT_MAX)
		*(u64 *)(s->rec + sizeof(struct gyre_header) + 8 * i) = v;
}

/* Notes that n bytes were written at the end of the record as the next slot's string. */
static __always_inline void put_span(struct scratch *s, u32 n)
{
	put(s, (u64)n << 32 | s->off);
	s->off += n;
}

static __always_inline void put_none(struct scratch *s)
{
	put(s, 0);
}

static __always_inline u8 *end(struct scratch *s)
{
	return s->rec + (s->off & (REC_BODY - 1));
}

static __always_inline bool room(struct scratch *s)
{
	return s->off < REC_BODY - PATH_MAX;
}

/* A terminated string of user or kernel memory, at most 4 KiB. */
static __always_inline void put_str(struct scratch *s, const void *p, bool user)
{
	long n = 0;

	if (p && room(s))
		n = user ? bpf_probe_read_user_str(end(s), PATH_MAX, p) : bpf_probe_read_kernel_str(end(s), PATH_MAX, p);
	if (n <= 1) {
		put_none(s);
		return;
	}
	if (n >= PATH_MAX)
		flag(s, GYRE_F_TRUNCATED);
	put_span(s, (n - 1) & (PATH_MAX - 1));
}

/* n bytes of user or kernel memory, at most 4095. */
static __always_inline void put_bytes(struct scratch *s, const void *p, u32 n, bool user)
{
	n &= PATH_MAX - 1;
	if (!p || !n || !room(s) || (user ? bpf_probe_read_user(end(s), n, p) : bpf_probe_read_kernel(end(s), n, p))) {
		put_none(s);
		return;
	}
	put_span(s, n);
}

/* Sends the record and frees the scratch. The reader is woken when enough is waiting; it looks by itself after a while. */
static __always_inline void send(struct scratch *s)
{
	struct gyre_header *h = (void *)s->rec;
	struct counters *c = counters();
	u32 kind = h->kind;
	u32 size = s->off;

	if (size > REC_BODY)
		size = REC_BODY;
	h->size = size;
	u64 flags = bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA) >= wake_bytes ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP;
	long err = bpf_ringbuf_output(&events, s->rec, size, flags);

	if (c && kind < GYRE_KINDS) {
		if (err)
			c->full[kind]++;
		else
			c->sent[kind]++;
	}
	give(s);
}

/*
 * A handler is written once:
 *
 *	HANDLER(openat) { ... regs, ret ... }
 *
 * It becomes a program on the exit of the syscall (trampoline mode) and one that the
 * dispatcher on sys_exit tail-calls (tracepoint mode).
 */
#define HANDLER(name)                                                             \
	static __always_inline int on_##name(struct pt_regs *regs, s64 ret);      \
	SEC("fexit/__x64_sys_" #name)                                             \
	int BPF_PROG(t_##name, struct pt_regs *regs, long ret)                    \
	{                                                                         \
		return on_##name(regs, ret);                                      \
	}                                                                         \
	SEC("tp_btf/sys_exit")                                                    \
	int BPF_PROG(d_##name, struct pt_regs *regs, long ret)                    \
	{                                                                         \
		return on_##name(regs, ret);                                      \
	}                                                                         \
	static __always_inline int on_##name(struct pt_regs *regs, s64 ret)

/*
 * The same for a syscall whose entry point BTF has twice (those that a kernel may be built
 * without), so that it cannot be attached to: the function that the entry point calls
 * is hooked, and the registers are taken from the task.
 */
#define HANDLER_INNER(name, target)                                               \
	static __always_inline int on_##name(struct pt_regs *regs, s64 ret);      \
	SEC("fexit/" target)                                                      \
	int t_##name(unsigned long long *ctx)                                     \
	{                                                                         \
		struct task_struct *task = bpf_get_current_task_btf();            \
		u64 ret = 0;                                                      \
                                                                                  \
		if (is_compat(task))                                              \
			return 0;                                                 \
		bpf_get_func_ret(ctx, &ret);                                      \
		return on_##name((void *)bpf_task_pt_regs(task), (s32)ret);       \
	}                                                                         \
	SEC("tp_btf/sys_exit")                                                    \
	int BPF_PROG(d_##name, struct pt_regs *regs, long ret)                    \
	{                                                                         \
		return on_##name(regs, ret);                                      \
	}                                                                         \
	static __always_inline int on_##name(struct pt_regs *regs, s64 ret)

#define ARG1(regs) BPF_CORE_READ(regs, di)
#define ARG2(regs) BPF_CORE_READ(regs, si)
#define ARG3(regs) BPF_CORE_READ(regs, dx)
#define ARG4(regs) BPF_CORE_READ(regs, r10)
#define ARG5(regs) BPF_CORE_READ(regs, r8)

#endif
