/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Paths of files and control groups, walked in the kernel from the leaf up. */
#ifndef GYRE_PATH_H
#define GYRE_PATH_H

#include "common.h"

#define MAX_PARTS (PATH_MAX / 2 + 512) /* as many names as there is room for, and mounts on the way */
#define OVERLAYFS_MAGIC 0x794c7630
#define TMPFS_MAGIC 0x01021994

struct walk {
	struct scratch *s;
	struct dentry *dentry, *root_dentry;
	struct vfsmount *mnt, *root_mnt;
	struct kernfs_node *kn;
	u64 nameless;
};

/*
 * Where the path so far starts is kept in the scratch (path_at), not in struct walk on
 * the stack: the verifier tracks values on the stack, and would follow each round of the
 * loop with another one.
 */

/* Puts "/name" before the path so far; false if there is no room. */
static __always_inline bool prepend(struct walk *w, const void *name, u32 len)
{
	struct scratch *s = w->s;
	u32 at = s->path_at;

	len &= 255;
	if (at <= len + 1) {
		flag(s, GYRE_F_TRUNCATED);
		return false;
	}
	at -= len;
	if (len)
		bpf_probe_read_kernel(&s->path[at & (PATH_MAX - 1)], len, name);
	at -= 1;
	s->path[at & (PATH_MAX - 1)] = '/';
	s->path_at = at;
	return true;
}

static long walk_part(u32 i, struct walk *w)
{
	struct dentry *d = w->dentry;
	struct vfsmount *m = w->mnt;

	if (d == w->root_dentry && m == w->root_mnt)
		return 1;
	struct dentry *parent = BPF_CORE_READ(d, d_parent);

	if (d == BPF_CORE_READ(m, mnt_root) || d == parent) {
		struct mount *mount = (void *)m - bpf_core_field_offset(struct mount, mnt);
		struct mount *up = BPF_CORE_READ(mount, mnt_parent);

		if (up == mount) { /* no way up: a file system that is mounted nowhere */
			const unsigned char *name = BPF_CORE_READ(d, d_name.name);
			u8 first = 0;

			if (w->s->path_at != PATH_MAX)
				return 1;
			bpf_probe_read_kernel(&first, 1, name);
			w->nameless = !first || first == '/'; /* a pipe, a namespace */
			if (!w->nameless)
				prepend(w, name, BPF_CORE_READ(d, d_name.len));
			return 1;
		}
		w->dentry = BPF_CORE_READ(mount, mnt_mountpoint);
		w->mnt = (void *)up + bpf_core_field_offset(struct mount, mnt);
		return 0;
	}
	if (!prepend(w, BPF_CORE_READ(d, d_name.name), BPF_CORE_READ(d, d_name.len)))
		return 1;
	w->dentry = parent;
	return 0;
}

/* Appends what was walked as the next slot. */
static __always_inline void put_walked(struct walk *w)
{
	struct scratch *s = w->s;

	u32 at = s->path_at, n = PATH_MAX - at;

	if (n == 0) {
		at = PATH_MAX - 1;
		s->path[PATH_MAX - 1] = '/';
		n = 1;
	}
	if (!room(s)) {
		flag(s, GYRE_F_TRUNCATED);
		put_none(s);
		return;
	}
	n &= PATH_MAX - 1;
	bpf_probe_read_kernel(end(s), n, &s->path[at & (PATH_MAX - 1)]);
	put_span(s, n);
}

/* Appends the path as task sees it: from its root directory, across mounts. False if it has none. */
static __always_inline bool put_path(struct scratch *s, struct task_struct *task, struct path *p)
{
	struct walk w = {.s = s};

	s->path_at = PATH_MAX;
	w.dentry = BPF_CORE_READ(p, dentry);
	w.mnt = BPF_CORE_READ(p, mnt);
	if (!w.dentry || !w.mnt) {
		put_none(s);
		return false;
	}
	w.root_dentry = BPF_CORE_READ(task, fs, root.dentry);
	w.root_mnt = BPF_CORE_READ(task, fs, root.mnt);
	if (bpf_loop(MAX_PARTS, walk_part, &w, 0) >= MAX_PARTS)
		flag(s, GYRE_F_TRUNCATED);
	if (w.nameless) {
		put_none(s);
		return false;
	}
	put_walked(&w);
	return true;
}

static long walk_cgroup(u32 i, struct walk *w)
{
	struct kernfs_node *kn = w->kn, *parent = kn_parent(kn);
	u8 *name = &w->s->path[PATH_MAX];

	if (!parent)
		return 1;
	long n = bpf_probe_read_kernel_str(name, 256, BPF_CORE_READ(kn, name));

	if (n <= 1 || !prepend(w, name, n - 1))
		return 1;
	w->kn = parent;
	return 0;
}

/* Appends the path of the task's control group. */
static __always_inline void put_cgroup(struct scratch *s, struct task_struct *task)
{
	u64 hierarchy;
	struct walk w = {.s = s, .kn = cgroup_of(task, &hierarchy)};

	s->path_at = PATH_MAX;
	if (!w.kn) {
		put_none(s);
		return;
	}
	bpf_loop(64, walk_cgroup, &w, 0);
	put_walked(&w);
}

/* Has the file lost its name? */
static __always_inline bool unlinked(struct dentry *d)
{
	return !BPF_CORE_READ(d, d_hash.pprev) && d != BPF_CORE_READ(d, d_parent);
}

static __always_inline bool is_memfd(struct dentry *d, struct inode *inode)
{
	char name[8] = {};

	if (BPF_CORE_READ(inode, i_sb, s_magic) != TMPFS_MAGIC || BPF_CORE_READ(d, d_hash.pprev))
		return false;
	bpf_probe_read_kernel(name, 6, BPF_CORE_READ(d, d_name.name));
	return name[0] == 'm' && name[1] == 'e' && name[2] == 'm' && name[3] == 'f' && name[4] == 'd' && name[5] == ':';
}

/* Does the file lie in the upper layer of an overlay? ovl_inode ends with vfs_inode and then the upper dentry (fs/overlayfs/ovl_entry.h). */
static __always_inline bool in_upper(struct inode *inode)
{
	struct dentry *upper = 0;

	if (BPF_CORE_READ(inode, i_sb, s_magic) != OVERLAYFS_MAGIC)
		return false;
	bpf_probe_read_kernel(&upper, sizeof(upper), (void *)inode + bpf_core_type_size(struct inode));
	return upper != 0;
}

static __always_inline u32 file_flags(struct file *f)
{
	struct dentry *d = BPF_CORE_READ(f, f_path.dentry);
	struct inode *inode = BPF_CORE_READ(f, f_inode);
	bool memfd = is_memfd(d, inode);

	return (in_upper(inode) ? GYRE_FILE_UPPER : 0) | (memfd ? GYRE_FILE_MEMFD : 0) | (memfd || unlinked(d) ? GYRE_FILE_DELETED : 0);
}

static __always_inline struct file *file_of(struct task_struct *task, s64 fd)
{
	struct fdtable *t = BPF_CORE_READ(task, files, fdt);
	struct file *f = 0;

	if (fd < 0 || fd >= BPF_CORE_READ(t, max_fds))
		return 0;
	bpf_probe_read_kernel(&f, sizeof(f), BPF_CORE_READ(t, fd) + fd);
	return f;
}

/* Appends the working directory. */
static __always_inline void put_cwd(struct scratch *s, struct task_struct *task)
{
	struct fs_struct *fs = BPF_CORE_READ(task, fs);

	if (fs)
		put_path(s, task, (void *)fs + bpf_core_field_offset(struct fs_struct, pwd));
	else
		put_none(s);
}

/* Appends the directory that name, a string of user or kernel memory, starts from: none for an absolute one. */
static __always_inline void put_base(struct scratch *s, struct task_struct *task, s64 dirfd, const void *name, bool user)
{
	char first = 0;

	if (user)
		bpf_probe_read_user(&first, 1, name);
	else
		bpf_probe_read_kernel(&first, 1, name);
	if (first == '/') {
		put_none(s);
		return;
	}
	if ((s32)dirfd == AT_FDCWD) {
		put_cwd(s, task);
		return;
	}
	struct file *f = file_of(task, (s32)dirfd);

	if (!f) {
		put_none(s);
		return;
	}
	put_path(s, task, (void *)f + bpf_core_field_offset(struct file, f_path));
}

#endif
