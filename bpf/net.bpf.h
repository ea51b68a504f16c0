/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Network: connect. */
#ifndef GYRE_NET_H
#define GYRE_NET_H

#include "include/path.h"

#define AF_UNIX 1
#define AF_INET 2
#define AF_INET6 10
#define SUN_PATH_MAX 108

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

static __always_inline struct socket *socket_of(struct task_struct *task, s64 fd)
{
	struct file *f = file_of(task, fd);

	if (!f || (BPF_CORE_READ(f, f_inode, i_mode) & S_IFMT) != S_IFSOCK)
		return 0;
	return BPF_CORE_READ(f, private_data);
}

/* The path of a Unix address in user memory; an abstract name keeps its leading NUL byte. */
static __always_inline void put_unix(struct scratch *s, const void *addr, s64 len)
{
	u8 first = 0;
	s64 n = len - 2;

	if (n <= 0) {
		put_none(s);
		return;
	}
	bpf_probe_read_user(&first, 1, addr + 2);
	if (first) {
		put_str(s, addr + 2, true);
		return;
	}
	if (n > SUN_PATH_MAX)
		n = SUN_PATH_MAX;
	put_bytes(s, addr + 2, n, true);
}

static __always_inline u16 swap16(u16 v)
{
	return v << 8 | v >> 8;
}

/* Local address and port, then the remote ones, of the socket or, where it has none yet, of the caller's address. */
static __always_inline void put_inet(struct scratch *s, struct sock *sk, u16 family, const struct user_addr *ua)
{
	u32 n = family == AF_INET ? 4 : 16;
	void *local, *remote;
	u16 dport = sk ? swap16(BPF_CORE_READ(sk, __sk_common.skc_dport)) : 0;

	if (family == AF_INET) {
		local = (void *)sk + bpf_core_field_offset(struct sock, __sk_common.skc_rcv_saddr);
		remote = (void *)sk + bpf_core_field_offset(struct sock, __sk_common.skc_daddr);
	} else {
		local = (void *)sk + bpf_core_field_offset(struct sock, __sk_common.skc_v6_rcv_saddr);
		remote = (void *)sk + bpf_core_field_offset(struct sock, __sk_common.skc_v6_daddr);
	}
	put_bytes(s, sk ? local : 0, n, false);
	put(s, sk ? BPF_CORE_READ(sk, __sk_common.skc_num) : 0);
	if (dport) {
		put_bytes(s, remote, n, false);
		put(s, dport);
	} else {
		put_bytes(s, ua->family != family ? 0 : family == AF_INET ? ua->v4 : ua->v6, n, false);
		put(s, swap16(ua->port));
	}
}

HANDLER_INNER(connect, "__sys_connect")
{
	if (!wanted(GYRE_CONNECT))
		return 0;
	struct scratch *s = take(GYRE_CONNECT);

	if (!s)
		return 0;
	struct task_struct *task = (void *)bpf_get_current_task();
	struct socket *sock = socket_of(task, (s32)ARG1(regs));
	struct sock *sk = sock ? BPF_CORE_READ(sock, sk) : 0;
	const void *addr = (void *)ARG2(regs);
	struct user_addr ua = {};
	u16 family;

	bpf_probe_read_user(&ua, sizeof(ua), addr);
	family = sk ? BPF_CORE_READ(sk, __sk_common.skc_family) : ua.family;
	begin(s, GYRE_CONNECT, 10, ret);
	put(s, (s32)ARG1(regs));
	put(s, family);
	put(s, sock ? BPF_CORE_READ(sock, type) : 0);
	put(s, sk ? BPF_CORE_READ(sk, sk_protocol) : 0);
	if (family == AF_INET || family == AF_INET6) {
		put_inet(s, sk, family, &ua);
	} else {
		put_none(s);
		put(s, 0);
		put_none(s);
		put(s, 0);
	}
	if (family == AF_UNIX)
		put_unix(s, addr, (s32)ARG3(regs));
	else
		put_none(s);
	put(s, BPF_CORE_READ(task, nsproxy, net_ns, ns.inum));
	send(s);
	return 0;
}

#endif
