/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The open family, whose records tell what the kernel opened. */
#ifndef GYRE_FILE_H
#define GYRE_FILE_H

#include "include/call.h"
#include "include/path.h"

#define O_CREAT_WRONLY_TRUNC 01101

/* What was asked for. */
struct open_args {
	s64 dirfd;
	const void *name;
	u64 flags, mode, resolve;
	bool user; /* name is in user memory */
};

/* An open that may be folded: the same file, in the same way, by the same process. */
struct fold_key {
	u64 start, ino;
	u32 tgid, dev, flags, kind;
};
struct fold {
	u64 since;
	u32 count;
	u32 pad;
};
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct fold_key);
	__type(value, struct fold);
} folds SEC(".maps");

/* Is the open a repetition within the window? If not, before is how many were since the last one that was told. */
static __always_inline bool folded(struct task_struct *task, u32 kind, struct node *n, u64 flags, u32 *before)
{
	*before = 0;
	if (!fold_window || !(fold_kinds >> (kind & 31) & 1))
		return false;
	u64 now = bpf_ktime_get_boot_ns();
	struct fold_key key = {
		.start = task->group_leader->start_boottime, .ino = n->ino,
		.tgid = bpf_get_current_pid_tgid() >> 32, .dev = n->dev, .flags = flags, .kind = kind,
	};
	struct fold *f = bpf_map_lookup_elem(&folds, &key);

	if (f && now - f->since < fold_window) {
		BUMP(f->count);
		COUNT(folded, kind);
		return true;
	}
	struct fold fresh = {.since = now};

	if (f)
		*before = f->count;
	bpf_map_update_elem(&folds, &key, &fresh, BPF_ANY);
	return false;
}

/* Does a mute list have the n bytes of a path at p, in the scratch? */
static __always_inline bool path_muted(struct scratch *s, const void *p, u32 n)
{
	if (!mute_paths)
		return false;
	n = AT_MOST(n, MUTE_PREFIX - 1);
	s->mute.bits = 8 * n;
	bpf_probe_read_kernel(s->mute.path, n, p);
	return bpf_map_lookup_elem(&muted_paths, &s->mute) != 0;
}

/* Appends the slots of an open and sends the record, or drops it. */
static __always_inline void put_open(struct scratch *s, u32 kind, struct open_args *o, s64 ret)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct file *f = ret >= 0 ? file_of(task, ret) : 0;
	struct node n = {};
	u32 before = 0, at;
	bool walked = false;

	if (f)
		load_node(&n, f);
	if (n.inode && folded(task, kind, &n, o->flags, &before)) {
		give(s);
		return;
	}
	put(s, ret >= 0 ? ret : -1);
	put(s, (s32)o->dirfd);
	at = s->off;
	if (f)
		walked = put_at(s, task, n.path.dentry, n.path.mnt);
	else
		put_none(s);
	if (walked) {
		if (path_muted(s, s->rec + (at & (REC_BODY - 1)), s->off - at)) {
			COUNT(muted, kind);
			give(s);
			return;
		}
		put_none(s); /* the path says it all */
	} else
		put_base(s, task, o->dirfd, o->name, o->user);
	at = s->off;
	put_str(s, o->name, o->user);
	if (!walked && path_muted(s, s->rec + (at & (REC_BODY - 1)), s->off - at)) {
		COUNT(muted, kind);
		give(s);
		return;
	}
	put(s, o->flags);
	put(s, o->mode);
	put(s, o->resolve);
	put(s, n.dev);
	put(s, n.ino);
	put(s, n.flags);
	put(s, n.mode);
	put(s, before);
	send(s);
}

HANDLER(on_open)
{
	struct call c;
	struct open_args o = {.dirfd = AT_FDCWD, .user = true};

	if (!load_call(&c, regs, ret))
		return 0;
	switch (c.row->kind) {
	case GYRE_OPEN:
		o.name = (void *)c.a[0];
		o.flags = (u32)c.a[1];
		o.mode = (u16)c.a[2];
		break;
	case GYRE_CREAT:
		o.name = (void *)c.a[0];
		o.flags = O_CREAT_WRONLY_TRUNC;
		o.mode = (u16)c.a[1];
		break;
	case GYRE_OPENAT2: {
		u64 how[3] = {};

		bpf_probe_read_user(how, sizeof(how), (void *)c.a[2]);
		o.dirfd = (s32)c.a[0];
		o.name = (void *)c.a[1];
		o.flags = how[0];
		o.mode = how[1];
		o.resolve = how[2];
		break;
	}
	default:
		o.dirfd = (s32)c.a[0];
		o.name = (void *)c.a[1];
		o.flags = (u32)c.a[2];
		o.mode = (u16)c.a[3];
	}
	struct scratch *s = take(c.row->kind);

	if (!s)
		return 0;
	begin_call(s, &c);
	put_open(s, c.row->kind, &o, c.ret);
	return 0;
}

#endif
