/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Maps, switches, the record under construction, and the two attach modes. */
#ifndef GYRE_COMMON_H
#define GYRE_COMMON_H

#include "kernel.h"
#include "load.h"
#include <bpf/bpf_tracing.h>
#include "event.h"
#include "cgroup.h"

#define PATH_MAX 4096
#define SYSCALLS 512
#define X32_BIT 0x40000000
#define SLOTS_PER_CPU 3
#define AT_FDCWD -100
#define EINTR 4
#define EAGAIN 11
#define EEXIST 17
#define PF_KTHREAD 0x00200000
#define TS_COMPAT 0x0002
#define MUTE_PREFIX 252
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
	u64 a[8];	/* arguments of the call, then enum gyre_operand */
	u8 rec[REC_SIZE];
	u8 path[2 * PATH_MAX];
	struct {
		u32 bits;
		u8 path[MUTE_PREFIX];
	} mute;
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
	u64 muted[GYRE_KINDS];	/* a mute list has the process, its group or the path */
	u64 folded[GYRE_KINDS]; /* repetitions */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct counters);
} counts SEC(".maps");

/* tgid -> bits: excluded, with its children, muted. */
enum { EXCLUDED = 1, CHILDREN = 2, MUTED = 4 };
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, u32);
	__type(value, u32);
} excluded SEC(".maps");

/* Mute lists. A program by its path, a group by the id of its directory, files by the start of their path. */
struct exe_path {
	u8 path[MUTE_PREFIX];
};
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct exe_path);
	__type(value, u8);
} muted_exes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, u64);
	__type(value, u8);
} muted_groups SEC(".maps");

struct mute_key {
	u32 bits;
	u8 path[MUTE_PREFIX];
};
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 4096);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct mute_key);
	__type(value, u8);
} muted_paths SEC(".maps");

/* Handlers of calls, by enum gyre_handler. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, GYRE_HANDLERS);
	__type(key, u32);
	__type(value, u32);
} handlers SEC(".maps");

/* How to report each call; the loader fills it from bpf/table.go. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, GYRE_ROWS);
	__type(key, u32);
	__type(value, struct gyre_row);
} rows SEC(".maps");

/* Switches, changed while running. kind_on is by kind, syscall_on by number. */
u8 kind_on[GYRE_KINDS] = {};
u8 syscall_on[SYSCALLS] = {}; /* bit 0: the 64-bit call of this number is wanted, bit 1: the 32-bit one */
u32 threads_on = 0;	   /* report new threads */
u32 env_on = 0;		   /* read the environment of new programs */
u32 exclusions = 0;	   /* excluded has entries */
u32 mute_exes = 0, mute_groups = 0, mute_paths = 0; /* the lists have entries */
u64 fold_window = 0;	   /* ns in which identical opens are folded, 0: never */
u32 fold_kinds = 0;	   /* 1 << kind for those that may be */
u32 reader_sleeps = 0;	   /* the reader wants to be woken by the next record */

static __always_inline struct counters *counters(void)
{
	u32 zero = 0;

	return bpf_map_lookup_elem(&counts, &zero);
}

/* v, or max if that is less: in one register, where the compiler cannot hide the bound from the verifier. */
#define AT_MOST(v, max)                                                             \
	({                                                                          \
		u64 v_ = (v);                                                       \
		asm volatile("if %0 <= %1 goto +1\n%0 = %1" : "+r"(v_) : "i"(max)); \
		v_;                                                                 \
	})

/* Atomic: what runs on the exit of a syscall can be preempted by another task that counts on this CPU. */
#define BUMP(counter) ((void)__sync_fetch_and_add(&(counter), 1))

/* Counts one of a kind in a table of struct counters. */
#define COUNT(table, kind)                                                 \
	({                                                                 \
		struct counters *c_ = counters();                          \
                                                                           \
		if (c_)                                                    \
			BUMP(c_->table[AT_MOST((u32)(kind), GYRE_KINDS - 1)]); \
	})

/* Was the system call that task is in made with 32-bit conventions? */
static __always_inline bool in_compat_call(struct task_struct *task)
{
	return task->thread_info.status & TS_COMPAT;
}

static __always_inline u32 exclusion(u32 tgid)
{
	if (!exclusions)
		return 0;
	u32 *bits = bpf_map_lookup_elem(&excluded, &tgid);

	return bits ? *bits : 0;
}

static __always_inline bool kind_wanted(u32 kind)
{
	return kind < GYRE_KINDS && kind_on[kind];
}

/* Is an event of a process's life wanted? The process table lives on these, so mute lists do not count. */
static __always_inline bool life_wanted(u32 kind)
{
	return kind_wanted(kind) && !(exclusion(bpf_get_current_pid_tgid() >> 32) & EXCLUDED);
}

static __always_inline bool wanted(u32 kind)
{
	if (!kind_wanted(kind))
		return false;
	u32 x = exclusion(bpf_get_current_pid_tgid() >> 32);

	if (x & EXCLUDED)
		return false;
	if (x & MUTED) {
		COUNT(muted, kind);
		return false;
	}
	if (mute_groups) {
		u64 id = bpf_get_current_cgroup_id();

		if (id <= ROOT_CGROUP_ID)
			id = cgroup_id_of(bpf_get_current_task_btf());
		if (bpf_map_lookup_elem(&muted_groups, &id)) {
			COUNT(muted, kind);
			return false;
		}
	}
	return true;
}

/* Puts what was not there. Before Linux 6.4 the kernel's functions return an int, whose upper half in the register is not set. */
#define IS_NEW(map, key)                                                           \
	({                                                                         \
		u8 one_ = 1;                                                       \
		(s32)bpf_map_update_elem(map, key, &one_, BPF_NOEXIST) != -EEXIST; \
	})

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
	COUNT(busy, kind);
	return 0;
}

static __always_inline void give(struct scratch *s)
{
	__sync_lock_test_and_set(&s->busy, 0);
}

/*
 * Starts a record about task, which must be the current one unless seeding. The verifier knows the type of
 * pointers that come from the kernel, and lets them be followed by plain loads, at a tenth of a call's cost.
 */
static __always_inline struct gyre_header *begin_task(struct scratch *s, struct task_struct *task, u32 kind, u32 nslots, s64 ret)
{
	struct gyre_header *h = (void *)s->rec;
	struct task_struct *leader = task->group_leader;

	h->kind = kind;
	h->flags = 0;
	h->time = bpf_ktime_get_boot_ns();
	h->tgid = task->tgid;
	h->tid = task->pid;
	h->start = leader->start_boottime;
	h->execs = leader->self_exec_id;
	h->cpu = bpf_get_smp_processor_id();
	h->ret = ret;
	h->cgroup = 0; /* a caller that has it fills it in */
	h->nargs = nslots;
	h->pad = 0;
	u64 caps[2] = {}; /* permitted, effective: neighbours in struct cred */

	bpf_probe_read_kernel(caps, sizeof(caps), (void *)task->cred + bpf_core_field_offset(struct cred, cap_permitted));
	h->cap_perm = caps[0];
	h->cap_eff = caps[1];
	s->off = sizeof(*h) + 8 * nslots;
	s->slot = 0;
	return h;
}

static __always_inline struct gyre_header *begin(struct scratch *s, u32 kind, u32 nslots, s64 ret)
{
	struct gyre_header *h = begin_task(s, bpf_get_current_task_btf(), kind, nslots, ret);
	u64 ids = bpf_get_current_uid_gid();

	h->uid = ids;
	h->gid = ids >> 32;
	h->cgroup = bpf_get_current_cgroup_id();
	if (h->cgroup <= ROOT_CGROUP_ID)
		h->cgroup = cgroup_id_of(bpf_get_current_task_btf());
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

	if (!room(s))
		flag(s, GYRE_F_TRUNCATED);
	else if (p)
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

/*
 * Sends the record and frees the scratch. A reader that has had nothing to do for a while sleeps, and is woken; one
 * that is busy looks by itself every few milliseconds, and no system call pays for waking it.
 */
static __always_inline void send(struct scratch *s)
{
	struct gyre_header *h = (void *)s->rec;
	u32 kind = h->kind;
	u32 size = s->off;

	if (size > REC_BODY)
		size = REC_BODY;
	h->size = size;
	u64 flags = BPF_RB_NO_WAKEUP;

	if (reader_sleeps) {
		reader_sleeps = 0;
		flags = BPF_RB_FORCE_WAKEUP;
	}
	long err = bpf_ringbuf_output(&events, s->rec, size, flags);

	if (err)
		COUNT(full, kind);
	else
		COUNT(sent, kind);
	give(s);
}

/* A program that makes records of calls: see bpf.go for how each attach mode runs it. */
#define HANDLER(name)        \
	SEC("tp_btf/sys_exit") \
	int BPF_PROG(name, struct pt_regs *regs, long ret)

#endif
