/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Sockets, and messages of those that need no connection. */
#ifndef GYRE_NET_H
#define GYRE_NET_H

#include "include/call.h"
#include "include/path.h"

#define AF_UNIX 1
#define AF_INET 2
#define AF_INET6 10
#define AF_PACKET 17
#define SOCK_DGRAM 2
#define SOCK_RAW 3


#define SUN_PATH_MAX 108
#define SUN_PATH_AT 2

struct user_addr {
	u16 family;
	__be16 port;
	union {
		u8 v4[4];
		struct {
			u32 flow;
			u8 v6[16];
		};
	};
};

static __always_inline struct socket *socket_at(struct file *f)
{
	if (!f || (LOAD(struct inode, LOAD(struct file, f, f_inode), i_mode) & S_IFMT) != S_IFSOCK)
		return 0;
	return LOAD(struct file, f, private_data);
}

static __always_inline struct socket *socket_of(struct task_struct *task, s64 fd)
{
	return socket_at(file_of(task, fd));
}

/* n bytes of a Unix address's path: up to its end or a zero byte; all of an abstract name, which starts with one. */
static __always_inline void put_unix(struct scratch *s, const void *path, u32 n, bool user)
{
	u8 first = 0;
	long len;

	n = AT_MOST(n, SUN_PATH_MAX);
	if (n == 0 || !room(s)) {
		put_none(s);
		return;
	}
	if (user)
		bpf_probe_read_user(&first, 1, path);
	else
		bpf_probe_read_kernel(&first, 1, path);
	if (!first) {
		put_bytes(s, path, n, user);
		return;
	}
	u64 size = AT_MOST(n + 1, SUN_PATH_MAX + 1);

	len = user ? bpf_probe_read_user_str(end(s), size, path) : bpf_probe_read_kernel_str(end(s), size, path);
	if (len <= 1)
		put_none(s);
	else
		put_span(s, (len - 1) & (PATH_MAX - 1));
}

/*
 * The name of a Unix socket: its own if local is set, else that of the one it was connected
 * to. What the kernel has bound cannot be changed by the caller under our eyes; where there
 * is none, or it is relative to another process's directory, the caller's word stands.
 */
static __always_inline void put_unix_name(struct scratch *s, struct sock *sk, const void *addr, s32 len, bool local, s64 ret)
{
	struct unix_sock *u = (void *)sk;

	if (u && !local)
		u = ret >= 0 ? (void *)LOAD(struct unix_sock, u, peer) : 0;
	struct unix_address *bound = u && ret >= 0 ? LOAD(struct unix_sock, u, addr) : 0;

	if (bound) {
		const void *path = (void *)bound + bpf_core_field_offset(struct unix_address, name) + SUN_PATH_AT;
		s32 n = LOAD(struct unix_address, bound, len) - SUN_PATH_AT;
		u8 first = '.';

		bpf_probe_read_kernel(&first, 1, path);
		if (n > 0 && (!first || first == '/' || !addr)) {
			put_unix(s, path, n, false);
			return;
		}
	}
	put_unix(s, addr + SUN_PATH_AT, addr && len > SUN_PATH_AT ? len - SUN_PATH_AT : 0, true);
}

static __always_inline u16 swap16(u16 v)
{
	return v << 8 | v >> 8;
}

/* The caller's address: no more of it than the caller gave, as what follows may be no memory at all. */
static __always_inline void load_addr(struct user_addr *ua, const void *addr, u32 len)
{
	if (addr)
		bpf_probe_read_user(ua, AT_MOST(len, sizeof(*ua)), addr);
}

#define KERNEL_IP(sk, field) ((void *)(sk) + bpf_core_field_offset(struct sock, __sk_common.field))

/* An address and a port: of the socket, or, where it has none and say is set, what the caller says. */
static __always_inline void put_end(struct scratch *s, u16 family, const void *kernel, u16 port, struct user_addr *ua, bool say)
{
	if (!kernel && say && ua->family == family) {
		if (family == AF_INET)
			put_bytes(s, ua->v4, 4, false);
		else
			put_bytes(s, ua->v6, 16, false);
		put(s, swap16(ua->port));
		return;
	}
	put_bytes(s, kernel, family == AF_INET ? 4 : 16, false);
	put(s, kernel ? port : 0);
}

/*
 * Appends the slots of GYRE_OP_SOCKET. addr is the address that the caller gave, if any: the
 * socket's own if local is set, else the other end's. The kernel's word counts for more
 * where it has one, unless each is set: then the address is that of one message.
 */
static __always_inline void put_socket(struct scratch *s, struct file *f, const void *addr, s32 len, bool local, bool each, s64 ret)
{
	struct socket *sock = socket_at(f);
	struct sock *sk = sock ? LOAD(struct socket, sock, sk) : 0;
	struct user_addr ua = {};
	u16 family;

	load_addr(&ua, addr, len);
	family = sk ? LOAD(struct sock, sk, __sk_common.skc_family) : ua.family;
	put(s, family);
	put(s, sock ? LOAD(struct socket, sock, type) : 0);
	put(s, sk ? LOAD(struct sock, sk, sk_protocol) : 0);
	if (family == AF_INET || family == AF_INET6) {
		bool v4 = family == AF_INET;
		u16 lport = sk ? LOAD(struct sock, sk, __sk_common.skc_num) : 0;
		u16 rport = sk ? swap16(LOAD(struct sock, sk, __sk_common.skc_dport)) : 0;
		const void *mine = sk ? (v4 ? KERNEL_IP(sk, skc_rcv_saddr) : KERNEL_IP(sk, skc_v6_rcv_saddr)) : 0;
		const void *other = sk ? (v4 ? KERNEL_IP(sk, skc_daddr) : KERNEL_IP(sk, skc_v6_daddr)) : 0;

		put_end(s, family, local && !lport ? 0 : mine, lport, &ua, local);
		put_end(s, family, !rport || (each && ua.family == family) ? 0 : other, rport, &ua, !local);
	} else {
		put_none(s);
		put(s, 0);
		put_none(s);
		put(s, 0);
	}
	if (family == AF_UNIX)
		put_unix_name(s, sk, addr, len, local, ret);
	else
		put_none(s);
	put(s, sk ? LOAD(struct net, LOAD(struct sock, sk, __sk_common.skc_net.net), ns.inum) : 0);
}

/* Peers that messages were exchanged with: each is told once, not each message. */
struct peer_key {
	u64 socket; /* inode */
	u8 addr[16];
	u32 tgid;
	u16 port, kind;
};
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct peer_key);
	__type(value, u8);
} peers SEC(".maps");

struct message {
	const void *addr;
	s32 len;
};

/* Where a message call has the other end's address. */
static __always_inline void message_addr(struct call *c, struct message *m)
{
	u64 name = 0;
	u32 len = 0;

	switch (c->row->kind) {
	case GYRE_SENDTO:
		m->addr = (void *)c->a[4];
		m->len = c->a[5];
		return;
	case GYRE_RECVFROM:
		m->addr = (void *)c->a[4];
		if (m->addr)
			bpf_probe_read_user(&len, sizeof(len), (void *)c->a[5]);
		m->len = len;
		return;
	}
	/* struct user_msghdr, or the first of a struct mmsghdr; the pointer and then the length */
	if (c->narrow) {
		u32 narrow[2] = {};

		bpf_probe_read_user(narrow, sizeof(narrow), (void *)c->a[1]);
		name = narrow[0];
		len = narrow[1];
	} else {
		u64 wide[2] = {};

		bpf_probe_read_user(wide, sizeof(wide), (void *)c->a[1]);
		name = wide[0];
		len = wide[1];
	}
	m->addr = (void *)name;
	m->len = len;
}

/* Is this the first message of the kind with its peer? */
static __always_inline bool first_of_peer(struct file *f, struct sock *sk, u16 family, u32 kind, struct message *m)
{
	struct peer_key key = {.socket = LOAD(struct inode, LOAD(struct file, f, f_inode), i_ino), .tgid = bpf_get_current_pid_tgid() >> 32, .kind = kind};
	struct user_addr ua = {};

	load_addr(&ua, m->addr, m->len);
	if (ua.family == AF_INET) {
		__builtin_memcpy(key.addr, ua.v4, 4);
		key.port = ua.port;
	} else if (ua.family == AF_INET6) {
		__builtin_memcpy(key.addr, ua.v6, 16);
		key.port = ua.port;
	} else {
		key.port = LOAD(struct sock, sk, __sk_common.skc_dport);
		if (family == AF_INET)
			bpf_probe_read_kernel(key.addr, 4, KERNEL_IP(sk, skc_daddr));
		else if (family == AF_INET6)
			bpf_probe_read_kernel(key.addr, 16, KERNEL_IP(sk, skc_v6_daddr));
	}
	return IS_NEW(&peers, &key);
}

HANDLER(on_message)
{
	struct call c;
	struct message m = {};

	if (!load_call(&c, regs, ret) || c.ret == -EAGAIN)
		return 0;
	struct file *f = file_of(bpf_get_current_task_btf(), (s32)c.a[0]);
	struct socket *sock = socket_at(f);
	struct sock *sk = sock ? LOAD(struct socket, sock, sk) : 0;

	if (!sk)
		return 0;
	u16 type = LOAD(struct socket, sock, type), family = LOAD(struct sock, sk, __sk_common.skc_family);

	if (type != SOCK_DGRAM && type != SOCK_RAW)
		return 0;
	if (family != AF_INET && family != AF_INET6 && family != AF_PACKET)
		return 0;
	message_addr(&c, &m);
	if (!first_of_peer(f, sk, family, c.row->kind, &m))
		return 0;
	struct scratch *s = take(c.row->kind);

	if (!s)
		return 0;
	begin_call(s, &c);
	put(s, (s32)c.a[0]);
	put(s, c.ret < 0 ? 0 : c.ret);
	put_socket(s, f, m.addr, m.len, false, true, c.ret);
	send(s);
	return 0;
}

#endif
