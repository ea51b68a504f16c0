/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Files: open, unlink, rename. */
#ifndef GYRE_FILE_H
#define GYRE_FILE_H

#include "include/path.h"

struct open_how_user {
	u64 flags, mode, resolve;
};

static __always_inline int opened(u32 kind, s64 dirfd, const void *name, u64 flags, u64 mode, u64 resolve, s64 ret)
{
	if (!wanted(kind))
		return 0;
	struct scratch *s = take(kind);

	if (!s)
		return 0;
	struct task_struct *task = (void *)bpf_get_current_task();
	struct file *f = ret >= 0 ? file_of(task, ret) : 0;
	struct inode *inode = f ? BPF_CORE_READ(f, f_inode) : 0;

	begin(s, kind, 12, ret);
	put(s, ret >= 0 ? ret : -1);
	put(s, (s32)dirfd);
	if (f)
		put_path(s, task, (void *)f + bpf_core_field_offset(struct file, f_path));
	else
		put_none(s);
	if (f)
		put_none(s); /* the path says it all */
	else
		put_base(s, task, dirfd, name);
	put_str(s, name, true);
	put(s, flags);
	put(s, mode);
	put(s, resolve);
	put(s, inode ? BPF_CORE_READ(inode, i_sb, s_dev) : 0);
	put(s, inode ? BPF_CORE_READ(inode, i_ino) : 0);
	put(s, inode ? file_flags(f) : 0);
	put(s, inode ? BPF_CORE_READ(inode, i_mode) : 0);
	send(s);
	return 0;
}

HANDLER(open)
{
	return opened(GYRE_OPEN, AT_FDCWD, (void *)ARG1(regs), (u32)ARG2(regs), (u16)ARG3(regs), 0, ret);
}

HANDLER(openat)
{
	return opened(GYRE_OPENAT, ARG1(regs), (void *)ARG2(regs), (u32)ARG3(regs), (u16)ARG4(regs), 0, ret);
}

HANDLER(openat2)
{
	struct open_how_user how = {};

	bpf_probe_read_user(&how, sizeof(how), (void *)ARG3(regs));
	return opened(GYRE_OPENAT2, ARG1(regs), (void *)ARG2(regs), how.flags, how.mode, how.resolve, ret);
}

HANDLER(creat)
{
	return opened(GYRE_CREAT, AT_FDCWD, (void *)ARG1(regs), 01101, (u16)ARG2(regs), 0, ret);
}

static __always_inline int unlinked_name(u32 kind, s64 dirfd, const void *name, u64 flags, s64 ret)
{
	if (!wanted(kind))
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

HANDLER(unlink)
{
	return unlinked_name(GYRE_UNLINK, AT_FDCWD, (void *)ARG1(regs), 0, ret);
}

HANDLER(unlinkat)
{
	return unlinked_name(GYRE_UNLINKAT, ARG1(regs), (void *)ARG2(regs), (u32)ARG3(regs), ret);
}

static __always_inline int renamed(u32 kind, s64 olddir, const void *old, s64 newdir, const void *new, u64 flags, s64 ret)
{
	if (!wanted(kind))
		return 0;
	struct scratch *s = take(kind);

	if (!s)
		return 0;
	struct task_struct *task = (void *)bpf_get_current_task();

	begin(s, kind, 7, ret);
	put(s, (s32)olddir);
	put_base(s, task, olddir, old);
	put_str(s, old, true);
	put(s, (s32)newdir);
	put_base(s, task, newdir, new);
	put_str(s, new, true);
	put(s, flags);
	send(s);
	return 0;
}

HANDLER(rename)
{
	return renamed(GYRE_RENAME, AT_FDCWD, (void *)ARG1(regs), AT_FDCWD, (void *)ARG2(regs), 0, ret);
}

HANDLER(renameat)
{
	return renamed(GYRE_RENAMEAT, ARG1(regs), (void *)ARG2(regs), ARG3(regs), (void *)ARG4(regs), 0, ret);
}

HANDLER(renameat2)
{
	return renamed(GYRE_RENAMEAT2, ARG1(regs), (void *)ARG2(regs), ARG3(regs), (void *)ARG4(regs), (u32)ARG5(regs), ret);
}

#endif
