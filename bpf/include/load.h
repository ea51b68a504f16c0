/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* How fields of the kernel's structures are read. */
#ifndef GYRE_LOAD_H
#define GYRE_LOAD_H

#include "kernel.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

/*
 * Since Linux 6.2 (kernel/bpf/helpers.c) a program can tell the verifier the type of a pointer, and read its fields with plain
 * loads, which fault to zero: some instructions, where bpf_probe_read_kernel is a call that takes twenty times as long. The
 * loader puts zero for the address of a function that this kernel has not; the verifier then drops the branch.
 */
extern void *bpf_rdonly_cast(const void *obj, u32 btf_id) __ksym __attribute__((weak));

#define AS(type, p) ((type *)bpf_rdonly_cast((const void *)(p), bpf_core_type_id_kernel(type)))

/* A field of a structure at p; zero if it cannot be read. */
#define LOAD(type, p, field)                                     \
	({                                                       \
		const void *p_ = (const void *)(p);              \
		typeof(((type *)0)->field) v_;                   \
                                                                 \
		if (bpf_rdonly_cast)                             \
			v_ = AS(type, p_)->field;                \
		else                                             \
			v_ = BPF_CORE_READ((type *)p_, field);   \
		v_;                                              \
	})

/*
 * Several fields near the start of a structure, where there are no plain loads: one read of its first bytes instead of one for each
 * field. A field that another kernel has further behind is read by itself.
 */
#define HEAD 80
struct head {
	u64 words[HEAD / 8];
};

/* Reads the first bytes of what is at p, if LOAD_OF will want them. */
static __always_inline void read_head(struct head *h, const void *p)
{
	if (!bpf_rdonly_cast && bpf_probe_read_kernel(h, sizeof(*h), p))
		__builtin_memset(h, 0, sizeof(*h));
}

#define LOAD_OF(head, type, p, field)                                           \
	({                                                                      \
		u32 at_ = bpf_core_field_offset(type, field);                   \
		typeof(((type *)0)->field) w_;                                  \
                                                                                \
		if (!bpf_rdonly_cast && at_ <= HEAD - sizeof(w_))               \
			w_ = *(typeof(w_) *)((void *)(head)->words + at_);      \
		else                                                            \
			w_ = LOAD(type, p, field);                              \
		w_;                                                             \
	})

#endif
