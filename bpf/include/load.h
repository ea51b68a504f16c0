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

#endif
