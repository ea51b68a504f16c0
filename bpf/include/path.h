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
	struct dentry *dentry, *root_dentry, *mnt_root;
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
	struct head head;

	read_head(&head, d);
	struct dentry *parent = LOAD_OF(&head, struct dentry, d, d_parent);

	if (!parent)
		return 1;
	if (d == w->mnt_root || d == parent) {
		struct mount *mount = (void *)m - bpf_core_field_offset(struct mount, mnt);
		struct mount *up = LOAD(struct mount, mount, mnt_parent);

		if (up == mount) { /* no way up: a file system that is mounted nowhere */
			const unsigned char *name = LOAD(struct dentry, d, d_name.name);
			u8 first = 0;

			if (w->s->path_at != PATH_MAX)
				return 1;
			bpf_probe_read_kernel(&first, 1, name);
			w->nameless = !first || first == '/'; /* a pipe, a namespace */
			if (!w->nameless)
				prepend(w, name, LOAD(struct dentry, d, d_name.len));
			return 1;
		}
		w->dentry = LOAD(struct mount, mount, mnt_mountpoint);
		m = (void *)up + bpf_core_field_offset(struct mount, mnt);
		w->mnt = m;
		w->mnt_root = LOAD(struct vfsmount, m, mnt_root);
		return 0;
	}
	if (!prepend(w, LOAD_OF(&head, struct dentry, d, d_name.name), LOAD_OF(&head, struct dentry, d, d_name.len)))
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

/* Appends the path of a name in a mount as task sees it: from its root directory, across mounts. False if it has none. */
static __always_inline bool put_at(struct scratch *s, struct task_struct *task, struct dentry *d, struct vfsmount *m)
{
	struct walk w = {.s = s};

	s->path_at = PATH_MAX;
	if (!d || !m) {
		put_none(s);
		return false;
	}
	w.dentry = d;
	w.mnt = m;
	w.mnt_root = LOAD(struct vfsmount, m, mnt_root);
	w.root_dentry = task->fs->root.dentry;
	w.root_mnt = task->fs->root.mnt;
	if (bpf_loop(MAX_PARTS, walk_part, &w, 0) >= MAX_PARTS)
		flag(s, GYRE_F_TRUNCATED);
	if (w.nameless) {
		put_none(s);
		return false;
	}
	put_walked(&w);
	return true;
}

static __always_inline bool put_path(struct scratch *s, struct task_struct *task, struct path *p)
{
	struct path leaf = {};

	leaf.mnt = LOAD(struct path, p, mnt);
	leaf.dentry = LOAD(struct path, p, dentry);
	return put_at(s, task, leaf.dentry, leaf.mnt);
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

/* What is told of an open file. */
struct node {
	struct path path;
	struct inode *inode; /* 0: there is none, and nothing of those behind it */
	u64 ino;
	u32 dev, flags; /* enum gyre_file_flag */
	u16 mode;
};

/* Does the file lie in the upper layer of an overlay? ovl_inode ends with vfs_inode and then the upper dentry (fs/overlayfs/ovl_entry.h). */
static __always_inline bool in_upper(struct inode *inode)
{
	struct dentry *upper = 0;

	bpf_probe_read_kernel(&upper, sizeof(upper), (void *)inode + bpf_core_type_size(struct inode));
	return upper != 0;
}

static __always_inline bool is_memfd(const unsigned char *dentry_name)
{
	char name[8] = {};

	bpf_probe_read_kernel(name, 6, dentry_name);
	return name[0] == 'm' && name[1] == 'e' && name[2] == 'm' && name[3] == 'f' && name[4] == 'd' && name[5] == ':';
}

static __always_inline void load_node(struct node *n, struct file *f)
{
	struct head head;

	__builtin_memset(n, 0, sizeof(*n));
	n->path.mnt = LOAD(struct file, f, f_path.mnt);
	n->path.dentry = LOAD(struct file, f, f_path.dentry);
	struct dentry *d = n->path.dentry;

	n->inode = LOAD(struct file, f, f_inode);
	if (!n->inode)
		return;
	read_head(&head, n->inode);
	n->ino = LOAD_OF(&head, struct inode, n->inode, i_ino);
	n->mode = LOAD_OF(&head, struct inode, n->inode, i_mode);
	struct super_block *sb = LOAD_OF(&head, struct inode, n->inode, i_sb);

	n->dev = LOAD(struct super_block, sb, s_dev);
	u64 magic = LOAD(struct super_block, sb, s_magic);

	if (magic == OVERLAYFS_MAGIC && in_upper(n->inode))
		n->flags |= GYRE_FILE_UPPER;
	if (!d)
		return;
	read_head(&head, d);
	if (LOAD_OF(&head, struct dentry, d, d_hash.pprev))
		return; /* it has its name */
	if (magic == TMPFS_MAGIC && is_memfd(LOAD_OF(&head, struct dentry, d, d_name.name)))
		n->flags |= GYRE_FILE_MEMFD | GYRE_FILE_DELETED;
	else if (d != LOAD_OF(&head, struct dentry, d, d_parent))
		n->flags |= GYRE_FILE_DELETED;
}

static __always_inline struct file *file_of(struct task_struct *task, s64 fd)
{
	struct fdtable *t = task->files->fdt;
	struct file *f = 0;

	if (fd < 0 || fd >= t->max_fds)
		return 0;
	bpf_probe_read_kernel(&f, sizeof(f), t->fd + fd);
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
