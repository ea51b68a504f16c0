/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Processes: exec, clone, exit, and the iterator that finds those that run already. */
#ifndef GYRE_PROCESS_H
#define GYRE_PROCESS_H

#include "include/call.h"
#include "snapshot.bpf.h"

#define NR_clone 56
#define NR_fork 57
#define NR_vfork 58
#define NR_clone3 435 /* for 32-bit calls too */
#define NR32_fork 2
#define NR32_clone 120
#define NR32_vfork 190
#define SIGNAL_GROUP_EXIT 4

static __always_inline struct pt_regs *regs_of(struct task_struct *task)
{
	return (void *)bpf_task_pt_regs(task);
}

/* Takes a process that becomes another program onto or off the mute list. */
static __always_inline void mute_by_exe(struct task_struct *task)
{
	u32 tgid = bpf_get_current_pid_tgid() >> 32, old = exclusion(tgid), bits = old & ~MUTED;

	if (mute_exes) {
		struct scratch *s = take(GYRE_EXECVE);
		struct file *exe = BPF_CORE_READ(task, mm, exe_file);

		if (!s)
			return;
		s->off = sizeof(struct gyre_header);
		s->slot = SLOT_MAX;
		if (exe)
			put_path(s, task, (void *)exe + bpf_core_field_offset(struct file, f_path));
		u32 n = AT_MOST(s->off - sizeof(struct gyre_header), MUTE_PREFIX - 1);

		__builtin_memset(s->mute.path, 0, sizeof(s->mute.path));
		bpf_probe_read_kernel(s->mute.path, n, s->rec + sizeof(struct gyre_header));
		if (bpf_map_lookup_elem(&muted_exes, s->mute.path))
			bits |= MUTED;
		give(s);
	}
	if (bits == old)
		return;
	if (bits) {
		bpf_map_update_elem(&excluded, &tgid, &bits, BPF_ANY);
		exclusions = 1;
	} else
		bpf_map_delete_elem(&excluded, &tgid);
}

/* Success: the new image is in place, and current is its only thread. */
SEC("tp_btf/sched_process_exec")
int BPF_PROG(exec_done, struct task_struct *task, int old_pid, struct linux_binprm *bprm)
{
	/*
	 * x86 has reset orig_ax to execve by now (set_personality_64bit in
	 * arch/x86/kernel/process_64.c). The path that execveat with a directory's or a
	 * program's descriptor makes up tells it from execve.
	 */
	u32 kind = bpf_core_field_exists(bprm->fdpath) && BPF_CORE_READ(bprm, fdpath) ? GYRE_EXECVEAT : GYRE_EXECVE;
	const char *name = BPF_CORE_READ(bprm, filename);
	char first = 0;

	mute_by_exe(task);
	if (!life_wanted(kind))
		return 0;
	struct scratch *s = take(kind);

	if (!s)
		return 0;
	begin(s, kind, 4 + GYRE_S_COUNT, 0);
	put(s, AT_FDCWD);
	bpf_probe_read_kernel(&first, 1, name);
	if (first == '/')
		put_none(s);
	else
		put_cwd(s, task);
	put_str(s, name, false);
	put(s, 0);
	put_snapshot(s, task, true);
	send(s);
	return 0;
}

/* A program that could not be started; success is seen by exec_done. */
HANDLER(on_exec)
{
	struct call c;

	if (ret >= 0 || !load_call(&c, regs, ret))
		return 0;
	bool at = c.row->kind == GYRE_EXECVEAT;
	s64 dirfd = at ? (s32)c.a[0] : AT_FDCWD;
	const void *name = (void *)(at ? c.a[1] : c.a[0]);
	struct scratch *s = take(c.row->kind);

	if (!s)
		return 0;
	begin_call(s, &c);
	put(s, dirfd);
	put_base(s, bpf_get_current_task_btf(), dirfd, name, true);
	put_str(s, name, true);
	put(s, at ? c.a[4] : 0);
	send(s);
	return 0;
}

/* The kind and the flags of the call that current is making a task with. */
static __always_inline u32 clone_kind(struct task_struct *current, u64 *flags, bool *compat)
{
	struct pt_regs *regs = regs_of(current);
	u64 nr = BPF_CORE_READ(regs, orig_ax), arg = BPF_CORE_READ(regs, di);

	*flags = 0;
	*compat = false;
	if (BPF_CORE_READ(current, flags) & PF_KTHREAD)
		return GYRE_CLONE;
	if (in_compat_call(current)) {
		*compat = true;
		arg = (u32)BPF_CORE_READ(regs, bx);
		nr = nr == NR32_clone ? NR_clone : nr == NR32_fork ? NR_fork : nr == NR32_vfork ? NR_vfork : nr == NR_clone3 ? NR_clone3 : 0;
	}
	if (nr == NR_clone)
		*flags = arg;
	else if (nr == NR_clone3)
		bpf_probe_read_user(flags, sizeof(*flags), (void *)arg);
	return nr == NR_clone3 ? GYRE_CLONE3 : nr == NR_fork ? GYRE_FORK : nr == NR_vfork ? GYRE_VFORK : GYRE_CLONE;
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(fork_done, struct task_struct *parent, struct task_struct *child)
{
	u32 ptgid = BPF_CORE_READ(parent, tgid), tgid = BPF_CORE_READ(child, tgid);
	bool thread = ptgid == tgid;

	if (exclusions && !thread) {
		u32 x = exclusion(ptgid) & (EXCLUDED | CHILDREN | MUTED);

		if ((x & CHILDREN) || (x & MUTED)) /* a child is its parent's image until it execs */
			bpf_map_update_elem(&excluded, &tgid, &x, BPF_ANY);
	}
	if (thread && !threads_on)
		return 0;
	struct task_struct *current = bpf_get_current_task_btf();
	u64 flags;
	bool compat;
	u32 kind = clone_kind(current, &flags, &compat);

	if (!life_wanted(kind))
		return 0;
	struct scratch *s = take(kind);

	if (!s)
		return 0;
	struct pid *self = BPF_CORE_READ(child, thread_pid);
	u32 level = BPF_CORE_READ(self, level);
	u32 tid = BPF_CORE_READ(child, pid);

	begin(s, kind, 7, tid);
	if (thread)
		flag(s, GYRE_F_THREAD);
	if (compat)
		flag(s, GYRE_F_COMPAT);
	if (BPF_CORE_READ(child, flags) & PF_KTHREAD)
		flag(s, GYRE_F_KTHREAD);
	put(s, flags);
	put(s, tid);
	put(s, tgid);
	put(s, BPF_CORE_READ(child, start_boottime));
	put(s, execs_of(child));
	put(s, nr_in_ns(self, level));
	put(s, pidns_of(self, level));
	send(s);
	return 0;
}

struct ended {
	u64 start;
	u64 tgid;
};

/* Processes whose end was told: several of the last threads can find that they are the last. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct ended);
	__type(value, u8);
} ended SEC(".maps");

/* The status that the parent's wait gets (wait_task_zombie in kernel/exit.c). */
static __always_inline u32 exit_status(struct task_struct *task)
{
	if (BPF_CORE_READ(task, signal, flags) & SIGNAL_GROUP_EXIT)
		return BPF_CORE_READ(task, signal, group_exit_code);
	return BPF_CORE_READ(task, group_leader, exit_code);
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(exit_done, struct task_struct *task)
{
	u64 ids = bpf_get_current_pid_tgid();
	u32 tgid = ids >> 32;
	bool last = BPF_CORE_READ(task, signal, live.counter) == 0;

	if (!last)
		return 0; /* a thread; the process goes on */
	bool skip = !life_wanted(GYRE_PROCEXIT);

	if (exclusions)
		bpf_map_delete_elem(&excluded, &tgid);
	if (skip)
		return 0;
	struct ended key = {.start = BPF_CORE_READ(task, group_leader, start_boottime), .tgid = tgid};

	if (!IS_NEW(&ended, &key))
		return 0;
	struct scratch *s = take(GYRE_PROCEXIT);

	if (!s)
		return 0;
	begin(s, GYRE_PROCEXIT, 2, 0);
	put(s, exit_status(task));
	put(s, last);
	send(s);
	return 0;
}

/* Writes one record for each process that runs, to the iterator's file. */
SEC("iter/task")
int seed(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;

	if (!task || BPF_CORE_READ(task, pid) != BPF_CORE_READ(task, tgid))
		return 0;
	struct scratch *s = take(0);

	if (!s)
		return 0;
	struct gyre_header *h = begin_task(s, task, GYRE_EXECVE, 4 + GYRE_S_COUNT, 0);

	h->flags = GYRE_F_SEED;
	h->uid = BPF_CORE_READ(task, cred, uid.val);
	h->gid = BPF_CORE_READ(task, cred, gid.val);
	h->cgroup = cgroup_id_of(task);
	BPF_CORE_READ_INTO(&h->comm, task, comm);
	put(s, AT_FDCWD);
	put_none(s);
	put_none(s);
	put(s, 0);
	put_snapshot(s, task, false);
	u32 size = s->off;

	if (size > REC_BODY)
		size = REC_BODY;
	h->size = size;
	bpf_seq_write(ctx->meta->seq, s->rec, size);
	give(s);
	return 0;
}

#endif
