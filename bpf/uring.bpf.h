/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Operations of io_uring, which are no system calls of their own. What is asked for is
 * kept at the submission, when names have been copied from user memory; the record is
 * made at the completion, when the result is known. A request that asked for no
 * completion, or found no room, is told at once, with the result 0.
 */
#ifndef GYRE_URING_H
#define GYRE_URING_H

#include "file.bpf.h"
#include "call.bpf.h"

/* enum io_uring_op of include/uapi/linux/io_uring.h */
enum {
	URING_ACCEPT = 13,
	URING_CONNECT = 16,
	URING_OPENAT = 18,
	URING_OPENAT2 = 28,
	URING_RENAMEAT = 35,
	URING_UNLINKAT = 36,
	URING_MKDIRAT = 37,
	URING_SYMLINKAT = 38,
	URING_LINKAT = 39,
	URING_SOCKET = 45,
	URING_FTRUNCATE = 55,
	URING_BIND = 56,
	URING_LISTEN = 57,
};

/* Is the result of a completion in a completion queue entry? Set by the loader. */
const volatile u32 uring_cqe = 0;

struct request {
	u32 kind;
	s32 fd, other_fd;
	u32 addr_len;
	u64 flags, mode, resolve, addr;
	u8 name[PATH_MAX];
	u8 other[PATH_MAX];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 512);
	__type(key, u64);
	__type(value, struct request);
} requests SEC(".maps");

static __always_inline void keep_name(u8 *to, struct filename *f)
{
	const char *name = f ? BPF_CORE_READ(f, name) : 0;

	to[0] = 0;
	if (name)
		bpf_probe_read_kernel_str(to, PATH_MAX, name);
}

/* Fills r from a request; false if nobody wants to know of such ones. */
static __always_inline bool read_request(struct request *r, struct io_kiocb *req)
{
	r->fd = BPF_CORE_READ(req, cqe.fd);
	r->other_fd = 0;
	r->flags = r->mode = r->resolve = r->addr = r->addr_len = 0;
	r->name[0] = r->other[0] = 0;
	switch (BPF_CORE_READ(req, opcode)) {
	case URING_OPENAT:
	case URING_OPENAT2: {
		struct io_open *o = (void *)req;

		r->kind = BPF_CORE_READ(req, opcode) == URING_OPENAT ? GYRE_OPENAT : GYRE_OPENAT2;
		r->fd = BPF_CORE_READ(o, dfd);
		r->flags = BPF_CORE_READ(o, how.flags);
		r->mode = BPF_CORE_READ(o, how.mode);
		r->resolve = BPF_CORE_READ(o, how.resolve);
		keep_name(r->name, BPF_CORE_READ(o, filename));
		return true;
	}
	case URING_UNLINKAT: {
		struct io_unlink *o = (void *)req;

		r->kind = GYRE_UNLINKAT;
		r->fd = BPF_CORE_READ(o, dfd);
		r->flags = (u32)BPF_CORE_READ(o, flags);
		keep_name(r->name, BPF_CORE_READ(o, filename));
		return true;
	}
	case URING_MKDIRAT: {
		struct io_mkdir *o = (void *)req;

		r->kind = GYRE_MKDIRAT;
		r->fd = BPF_CORE_READ(o, dfd);
		r->mode = BPF_CORE_READ(o, mode);
		keep_name(r->name, BPF_CORE_READ(o, filename));
		return true;
	}
	case URING_RENAMEAT: {
		struct io_rename *o = (void *)req;

		r->kind = GYRE_RENAMEAT2;
		r->fd = BPF_CORE_READ(o, old_dfd);
		r->other_fd = BPF_CORE_READ(o, new_dfd);
		r->flags = (u32)BPF_CORE_READ(o, flags);
		keep_name(r->name, BPF_CORE_READ(o, oldpath));
		keep_name(r->other, BPF_CORE_READ(o, newpath));
		return true;
	}
	case URING_SYMLINKAT:
	case URING_LINKAT: {
		struct io_link *o = (void *)req;

		r->kind = BPF_CORE_READ(req, opcode) == URING_LINKAT ? GYRE_LINKAT : GYRE_SYMLINKAT;
		r->fd = BPF_CORE_READ(o, old_dfd);
		r->other_fd = BPF_CORE_READ(o, new_dfd);
		r->flags = (u32)BPF_CORE_READ(o, flags);
		keep_name(r->name, BPF_CORE_READ(o, oldpath));
		keep_name(r->other, BPF_CORE_READ(o, newpath));
		return true;
	}
	case URING_CONNECT: {
		struct io_connect *o = (void *)req;

		r->kind = GYRE_CONNECT;
		r->addr = (u64)BPF_CORE_READ(o, addr);
		r->addr_len = BPF_CORE_READ(o, addr_len);
		return true;
	}
	case URING_ACCEPT: {
		struct io_accept *o = (void *)req;

		r->kind = GYRE_ACCEPT4;
		r->flags = (u32)BPF_CORE_READ(o, flags);
		return true;
	}
	case URING_SOCKET: {
		struct io_socket *o = (void *)req;

		r->kind = GYRE_SOCKET;
		if (!bpf_core_type_exists(struct io_socket))
			return false;
		r->flags = (u32)BPF_CORE_READ(o, domain);
		r->mode = (u32)(BPF_CORE_READ(o, type) | BPF_CORE_READ(o, flags));
		r->resolve = BPF_CORE_READ(o, protocol);
		return true;
	}
	case URING_BIND:
		r->kind = GYRE_BIND;
		return true;
	case URING_LISTEN: {
		struct io_listen *o = (void *)req;

		r->kind = GYRE_LISTEN;
		if (!bpf_core_type_exists(struct io_listen))
			return false;
		r->flags = BPF_CORE_READ(o, backlog);
		return true;
	}
	case URING_FTRUNCATE: {
		struct io_ftrunc *o = (void *)req;

		r->kind = GYRE_FTRUNCATE;
		if (!bpf_core_type_exists(struct io_ftrunc))
			return false;
		r->flags = BPF_CORE_READ(o, len);
		return true;
	}
	}
	return false;
}

static __always_inline u32 slots_of(u32 kind)
{
	switch (kind) {
	case GYRE_OPENAT:
	case GYRE_OPENAT2:
		return 13;
	case GYRE_RENAMEAT2:
	case GYRE_LINKAT:
	case GYRE_FTRUNCATE:
		return 7;
	case GYRE_UNLINKAT:
	case GYRE_MKDIRAT:
	case GYRE_SYMLINKAT:
	case GYRE_SOCKET:
		return 4;
	case GYRE_LISTEN:
		return 11;
	case GYRE_ACCEPT4:
		return 12;
	}
	return 10;
}

static __always_inline void put_name(struct scratch *s, struct task_struct *task, s32 dirfd, const u8 *name)
{
	put_base(s, task, dirfd, name, false);
	put_str(s, name, false);
}

/* Makes the record of a request; it is the same as that of the system call. */
static __always_inline void tell_request(struct request *r, struct io_kiocb *req, s64 res)
{
	struct task_struct *task = bpf_get_current_task_btf();
	u32 kind = r->kind;

	if (!wanted(kind))
		return;
	struct scratch *s = take(kind);

	if (!s)
		return;
	begin(s, kind, slots_of(kind), res);
	flag(s, GYRE_F_IOURING);
	switch (kind) {
	case GYRE_OPENAT:
	case GYRE_OPENAT2: {
		struct open_args o = {.dirfd = r->fd, .name = r->name, .flags = r->flags, .mode = r->mode, .resolve = r->resolve};

		put_open(s, kind, &o, res);
		return;
	}
	case GYRE_UNLINKAT:
		put_name(s, task, r->fd, r->name);
		put(s, r->fd);
		put(s, r->flags);
		break;
	case GYRE_MKDIRAT:
		put_name(s, task, r->fd, r->name);
		put(s, r->mode);
		put(s, r->fd);
		break;
	case GYRE_RENAMEAT2:
	case GYRE_LINKAT:
		put_name(s, task, r->fd, r->name);
		put_name(s, task, r->other_fd, r->other);
		put(s, r->fd);
		put(s, r->other_fd);
		put(s, r->flags);
		break;
	case GYRE_SYMLINKAT:
		put_str(s, r->name, false);
		put_name(s, task, r->other_fd, r->other);
		put(s, r->other_fd);
		break;
	case GYRE_SOCKET:
		put(s, res >= 0 ? res : -1);
		put(s, r->flags);
		put(s, r->mode);
		put(s, r->resolve);
		break;
	case GYRE_ACCEPT4:
		put(s, res >= 0 ? res : -1);
		put(s, r->fd);
		put(s, r->flags);
		put_socket(s, file_of(task, res), 0, 0, false, false, res);
		break;
	case GYRE_FTRUNCATE:
		put(s, r->fd);
		put(s, r->flags);
		put_file(s, task, BPF_CORE_READ(req, file));
		break;
	case GYRE_LISTEN:
		put(s, r->fd);
		put(s, r->flags);
		put_socket(s, BPF_CORE_READ(req, file), 0, 0, false, false, res);
		break;
	default:
		put(s, r->fd);
		put_socket(s, BPF_CORE_READ(req, file), (void *)r->addr, r->addr_len, kind == GYRE_BIND, false, res);
	}
	send(s);
}

/* IOSQE_CQE_SKIP_SUCCESS: the first flags of a request are those of its submission. */
#define NO_COMPLETION (1 << 6)

static __always_inline bool no_completion(struct io_kiocb *req)
{
	if (bpf_core_field_size(req->flags) == 8)
		return BPF_CORE_READ(req, flags) & NO_COMPLETION;
	return BPF_CORE_READ((struct io_kiocb___u32 *)req, flags) & NO_COMPLETION;
}

SEC("tp_btf/io_uring_submit_req")
int BPF_PROG(uring_submit, struct io_kiocb *req)
{
	u64 key = (u64)req;
	struct scratch *s = take(0);

	if (!s)
		return 0;
	struct request *r = (void *)s->rec;

	if (read_request(r, req) && kind_wanted(r->kind) && (no_completion(req) || (s32)bpf_map_update_elem(&requests, &key, r, BPF_ANY)))
		tell_request(r, req, 0);
	give(s);
	return 0;
}

SEC("tp_btf/io_uring_complete")
int uring_complete(u64 *ctx)
{
	u64 key = ctx[1];
	struct request *r = bpf_map_lookup_elem(&requests, &key);
	s32 res;

	if (!r)
		return 0;
	if (uring_cqe)
		res = BPF_CORE_READ((struct io_uring_cqe *)ctx[2], res);
	else
		res = ctx[3];
	tell_request(r, (void *)key, res);
	bpf_map_delete_elem(&requests, &key);
	return 0;
}

#endif
