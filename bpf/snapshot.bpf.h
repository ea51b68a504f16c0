/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What is known of a process: enum gyre_snapshot of event.h, in that order. */
#ifndef GYRE_SNAPSHOT_H
#define GYRE_SNAPSHOT_H

#include "include/path.h"

#define ARGS_MAX 4095

static __always_inline u32 nr_in_ns(struct pid *pid, u32 level)
{
	struct upid u = {};

	if (!pid || level > 32)
		return 0;
	bpf_probe_read_kernel(&u, sizeof(u), (void *)pid + bpf_core_field_offset(struct pid, numbers) + level * bpf_core_type_size(struct upid));
	return u.nr;
}

static __always_inline u32 pidns_of(struct pid *pid, u32 level)
{
	struct upid u = {};

	if (!pid || level > 32)
		return 0;
	bpf_probe_read_kernel(&u, sizeof(u), (void *)pid + bpf_core_field_offset(struct pid, numbers) + level * bpf_core_type_size(struct upid));
	return BPF_CORE_READ(u.ns, ns.inum);
}

#define NS_PER_S 1000000000ULL
#define NSEC_MASK 0x3fffffff /* Linux 6.13 keeps a flag in the highest bit of i_ctime_nsec */

static __always_inline u64 ctime_of(struct inode *i)
{
	struct inode___v66 *mid = (void *)i;
	struct inode___old *old = (void *)i;

	if (bpf_core_field_exists(i->i_ctime_sec))
		return BPF_CORE_READ(i, i_ctime_sec) * NS_PER_S + (BPF_CORE_READ(i, i_ctime_nsec) & NSEC_MASK);
	if (bpf_core_field_exists(mid->__i_ctime))
		return BPF_CORE_READ(mid, __i_ctime.tv_sec) * NS_PER_S + BPF_CORE_READ(mid, __i_ctime.tv_nsec);
	return BPF_CORE_READ(old, i_ctime.tv_sec) * NS_PER_S + BPF_CORE_READ(old, i_ctime.tv_nsec);
}

static __always_inline u64 mtime_of(struct inode *i)
{
	struct inode___v66 *mid = (void *)i;
	struct inode___old *old = (void *)i;

	if (bpf_core_field_exists(i->i_mtime_sec))
		return BPF_CORE_READ(i, i_mtime_sec) * NS_PER_S + (BPF_CORE_READ(i, i_mtime_nsec) & NSEC_MASK);
	if (bpf_core_field_exists(mid->__i_mtime))
		return BPF_CORE_READ(mid, __i_mtime.tv_sec) * NS_PER_S + BPF_CORE_READ(mid, __i_mtime.tv_nsec);
	return BPF_CORE_READ(old, i_mtime.tv_sec) * NS_PER_S + BPF_CORE_READ(old, i_mtime.tv_nsec);
}

/* May the process write its own program, by owner, group and mode? Access lists and capabilities are not looked at. */
static __always_inline bool exe_writable(const struct cred *cred, struct inode *inode)
{
	u16 mode = BPF_CORE_READ(inode, i_mode);

	if (mode & 0002)
		return true;
	if ((mode & 0200) && BPF_CORE_READ(cred, fsuid.val) == BPF_CORE_READ(inode, i_uid.val))
		return true;
	return (mode & 0020) && BPF_CORE_READ(cred, fsgid.val) == BPF_CORE_READ(inode, i_gid.val);
}

static __always_inline void put_cap(struct scratch *s, const void *p)
{
	u64 v = 0;

	bpf_probe_read_kernel(&v, sizeof(v), p);
	put(s, v);
}

static __always_inline u32 put_args(struct scratch *s, struct mm_struct *mm, bool current)
{
	unsigned long from = BPF_CORE_READ(mm, arg_start), to = BPF_CORE_READ(mm, arg_end);
	u64 n = to - from;
	u32 cut = 0;

	if (!mm || !current || to <= from) {
		put_none(s);
		return 0;
	}
	if (n > ARGS_MAX) {
		n = ARGS_MAX;
		cut = GYRE_X_ARGS_CUT;
	}
	put_bytes(s, (void *)from, n, true);
	return cut;
}

#define ENV_PARTS 3

/* The start of the environment, 12 KiB at most: only if asked for, and of the current task. */
static __always_inline u32 put_env(struct scratch *s, struct mm_struct *mm, bool current)
{
	unsigned long from = BPF_CORE_READ(mm, env_start), to = BPF_CORE_READ(mm, env_end);
	u32 at = s->off;

	if (!env_on || !mm || !current || to <= from) {
		put_none(s);
		return 0;
	}
	for (int i = 0; i < ENV_PARTS && from < to; i++) {
		u32 n = AT_MOST(to - from, ARGS_MAX);

		if (!room(s) || bpf_probe_read_user(end(s), n, (void *)from))
			break;
		s->off += n;
		from += n;
	}
	put(s, (u64)(s->off - at) << 32 | at);
	return from < to ? GYRE_X_ENV_CUT : 0;
}

static __always_inline void put_tty(struct scratch *s, struct signal_struct *signal)
{
	struct tty_struct *tty = BPF_CORE_READ(signal, tty);

	if (!tty) {
		put_none(s);
		put(s, 0);
		return;
	}
	struct tty_driver *driver = BPF_CORE_READ(tty, driver);
	u32 minor = BPF_CORE_READ(driver, minor_start) + BPF_CORE_READ(tty, index);

	put_str(s, (void *)tty + bpf_core_field_offset(struct tty_struct, name), false);
	put(s, (minor & 0xff) | BPF_CORE_READ(driver, major) << 8 | (minor & ~0xffU) << 12);
}

static __always_inline void put_cred(struct scratch *s, struct task_struct *task, const struct cred *cred)
{
	put(s, BPF_CORE_READ(cred, uid.val));
	put(s, BPF_CORE_READ(cred, euid.val));
	put(s, BPF_CORE_READ(cred, gid.val));
	put(s, BPF_CORE_READ(cred, egid.val));
	put(s, bpf_core_field_exists(task->loginuid) ? BPF_CORE_READ(task, loginuid.val) : ~0U);
	put(s, bpf_core_field_exists(task->sessionid) ? BPF_CORE_READ(task, sessionid) : ~0U);
	put_cap(s, (void *)cred + bpf_core_field_offset(struct cred, cap_effective));
	put_cap(s, (void *)cred + bpf_core_field_offset(struct cred, cap_permitted));
	put_cap(s, (void *)cred + bpf_core_field_offset(struct cred, cap_inheritable));
}

static __always_inline void put_ids(struct scratch *s, struct task_struct *task, struct signal_struct *signal)
{
	struct pid *self = BPF_CORE_READ(task, thread_pid);
	struct pid *pgrp = BPF_CORE_READ(signal, pids[2]), *session = BPF_CORE_READ(signal, pids[3]);
	u32 level = BPF_CORE_READ(self, level);

	put(s, nr_in_ns(session, 0));
	put(s, nr_in_ns(pgrp, 0));
	put(s, nr_in_ns(self, level));
	put(s, BPF_CORE_READ(pgrp, level) >= level ? nr_in_ns(pgrp, level) : 0);
	put(s, BPF_CORE_READ(session, level) >= level ? nr_in_ns(session, level) : 0);
	put(s, pidns_of(self, level));
	put(s, BPF_CORE_READ(task, nsproxy, mnt_ns, ns.inum));
	put(s, BPF_CORE_READ(task, nsproxy, net_ns, ns.inum));
}

/*
 * Appends the snapshot of the process that task leads. Its arguments are in user
 * memory, which can be read only when it is the current task.
 */
static __always_inline void put_snapshot(struct scratch *s, struct task_struct *task, bool current)
{
	struct task_struct *parent = BPF_CORE_READ(task, real_parent, group_leader);
	struct mm_struct *mm = BPF_CORE_READ(task, mm);
	struct file *exe = mm ? BPF_CORE_READ(mm, exe_file) : 0;
	struct inode *inode = exe ? BPF_CORE_READ(exe, f_inode) : 0;
	const struct cred *cred = BPF_CORE_READ(task, cred);
	struct signal_struct *signal = BPF_CORE_READ(task, signal);
	u32 x = 0;

	flag(s, GYRE_F_SNAPSHOT);
	put(s, BPF_CORE_READ(parent, tgid));
	put(s, BPF_CORE_READ(parent, start_boottime));
	put(s, execs_of(parent));
	if (exe)
		put_path(s, task, (void *)exe + bpf_core_field_offset(struct file, f_path));
	else
		put_none(s);
	x |= put_args(s, mm, current);
	put_cwd(s, task);
	put_cgroup(s, task);
	put_cred(s, task, cred);
	put_tty(s, signal);
	put_ids(s, task, signal);
	put(s, BPF_CORE_READ(cred, user_ns, ns.inum));
	if (BPF_CORE_READ(task, flags) & PF_KTHREAD)
		x |= GYRE_X_KTHREAD;
	if (!inode) {
		put(s, 0);
		put(s, 0);
		put(s, 0);
		put(s, 0);
		put(s, x);
		put_none(s);
		return;
	}
	u16 mode = BPF_CORE_READ(inode, i_mode);
	struct node n;

	load_node(&n, exe);
	u32 f = n.flags;

	x |= (f & GYRE_FILE_UPPER ? GYRE_X_UPPER : 0) | (f & GYRE_FILE_MEMFD ? GYRE_X_MEMFD : 0) | (f & GYRE_FILE_DELETED ? GYRE_X_DELETED : 0);
	x |= (mode & 04000 ? GYRE_X_SETUID : 0) | (mode & 02000 ? GYRE_X_SETGID : 0) | (exe_writable(cred, inode) ? GYRE_X_WRITABLE : 0);
	put(s, BPF_CORE_READ(inode, i_ino));
	put(s, BPF_CORE_READ(inode, i_sb, s_dev));
	put(s, ctime_of(inode));
	put(s, mtime_of(inode));
	u32 at = s->slot;

	s->slot++; /* the flags, when the environment has told whether it was cut */
	x |= put_env(s, mm, current);
	s->slot = at;
	put(s, x);
	s->slot++;
}

#endif
