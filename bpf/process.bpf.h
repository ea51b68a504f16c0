/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Processes: exec, clone, exit, and the iterator that finds those that run already. */
#ifndef GYRE_PROCESS_H
#define GYRE_PROCESS_H

#include "snapshot.bpf.h"

#define NR_clone 56
#define NR_fork 57
#define NR_vfork 58
#define NR_execve 59
#define NR_execveat 322
#define NR_clone3 435

static __always_inline struct pt_regs *regs_of(struct task_struct *task)
{
	return (void *)bpf_task_pt_regs(task);
}

/* Success: the new image is in place, and current is its only thread. */
SEC("tp_btf/sched_process_exec")
int BPF_PROG(exec_done, struct task_struct *task, int old_pid, struct linux_binprm *bprm)
{
	struct pt_regs *regs = regs_of(bpf_get_current_task_btf());
	u32 kind = BPF_CORE_READ(regs, orig_ax) == NR_execveat ? GYRE_EXECVEAT : GYRE_EXECVE;

	if (!wanted(kind))
		return 0;
	struct scratch *s = take(kind);

	if (!s)
		return 0;
	begin(s, kind, 4 + GYRE_S_COUNT, 0);
	put(s, AT_FDCWD);
	put_none(s);
	put_str(s, BPF_CORE_READ(bprm, filename), false);
	put(s, 0);
	put_snapshot(s, task, true);
	send(s);
	return 0;
}

static __always_inline int exec_failed(u32 kind, s64 dirfd, const void *name, u64 flags, s64 ret)
{
	if (ret >= 0 || !wanted(kind))
		return 0;
	struct scratch *s = take(kind);

	if (!s)
		return 0;
	begin(s, kind, 4, ret);
	put(s, (s32)dirfd);
	put_base(s, (void *)bpf_get_current_task(), dirfd, name);
	put_str(s, name, true);
	put(s, flags);
	send(s);
	return 0;
}

HANDLER(execve)
{
	return exec_failed(GYRE_EXECVE, AT_FDCWD, (void *)ARG1(regs), 0, ret);
}

HANDLER(execveat)
{
	return exec_failed(GYRE_EXECVEAT, ARG1(regs), (void *)ARG2(regs), ARG5(regs), ret);
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(fork_done, struct task_struct *parent, struct task_struct *child)
{
	u32 ptgid = BPF_CORE_READ(parent, tgid), tgid = BPF_CORE_READ(child, tgid);
	bool thread = ptgid == tgid;

	if (exclusions && !thread) {
		u32 *x = bpf_map_lookup_elem(&excluded, &ptgid);

		if (x && *x == 3) {
			u32 v = *x;

			bpf_map_update_elem(&excluded, &tgid, &v, BPF_ANY);
		}
	}
	if (thread && !threads_on)
		return 0;
	struct task_struct *current = bpf_get_current_task_btf();
	struct pt_regs *regs = regs_of(current);
	u64 nr = BPF_CORE_READ(regs, orig_ax), flags = 0;
	u32 kind = GYRE_CLONE;

	if (BPF_CORE_READ(current, flags) & PF_KTHREAD)
		nr = 0;
	else if (nr == NR_clone)
		flags = ARG1(regs);
	else if (nr == NR_clone3) {
		kind = GYRE_CLONE3;
		bpf_probe_read_user(&flags, sizeof(flags), (void *)ARG1(regs));
	} else if (nr == NR_fork)
		kind = GYRE_FORK;
	else if (nr == NR_vfork)
		kind = GYRE_VFORK;
	if (!wanted(kind))
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

SEC("tp_btf/sched_process_exit")
int BPF_PROG(exit_done, struct task_struct *task)
{
	u64 ids = bpf_get_current_pid_tgid();
	u32 tgid = ids >> 32;
	bool last = BPF_CORE_READ(task, signal, live.counter) == 0;

	if (!last)
		return 0; /* a thread; the process goes on */
	bool skip = !wanted(GYRE_PROCEXIT);

	if (exclusions)
		bpf_map_delete_elem(&excluded, &tgid);
	if (skip)
		return 0;
	struct scratch *s = take(GYRE_PROCEXIT);

	if (!s)
		return 0;
	begin(s, GYRE_PROCEXIT, 2, 0);
	put(s, BPF_CORE_READ(task, exit_code));
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
