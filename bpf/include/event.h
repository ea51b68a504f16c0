/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The only interface between the kernel side and Go. bpf/event.go mirrors it and a
 * test compares the two through BTF.
 *
 * A record is a header, then nargs slots of 8 bytes, then bytes. A slot holds a
 * number, or a string as two u32: the offset from the start of the record and the
 * length, in that order. Strings are not terminated and may hold any bytes.
 */
#ifndef GYRE_EVENT_H
#define GYRE_EVENT_H

/* Kinds: the wire values of schemas/eventv1. Those that only the table of calls names (bpf/table.go) are not here. */
enum gyre_kind {
	GYRE_EXECVE = 1,
	GYRE_EXECVEAT = 2,
	GYRE_CLONE = 3,
	GYRE_CLONE3 = 4,
	GYRE_FORK = 5,
	GYRE_VFORK = 6,
	GYRE_PROCEXIT = 7,
	GYRE_OPEN = 8,
	GYRE_OPENAT = 9,
	GYRE_OPENAT2 = 10,
	GYRE_CREAT = 11,
	GYRE_CONNECT = 12,
	GYRE_UNLINK = 13,
	GYRE_UNLINKAT = 14,
	GYRE_RENAME = 15,
	GYRE_RENAMEAT = 16,
	GYRE_RENAMEAT2 = 17,
	GYRE_MKDIRAT = 19,
	GYRE_LINKAT = 22,
	GYRE_SYMLINKAT = 24,
	GYRE_FTRUNCATE = 34,
	GYRE_SOCKET = 53,
	GYRE_BIND = 54,
	GYRE_LISTEN = 55,
	GYRE_ACCEPT4 = 57,
	GYRE_SENDTO = 58,
	GYRE_SENDMSG = 59,
	GYRE_SENDMMSG = 60,
	GYRE_RECVFROM = 61,
	GYRE_RECVMSG = 62,
	GYRE_KINDS = 128, /* room in the tables indexed by kind */
};

/* Flags of a record. The first three are those of eventv1.EventFlag. */
enum gyre_flag {
	GYRE_F_COMPAT = 1,
	GYRE_F_IOURING = 2,
	GYRE_F_TRUNCATED = 4, /* a string was cut */
	GYRE_F_THREAD = 8,    /* clone: the new task is a thread */
	GYRE_F_SNAPSHOT = 16, /* the snapshot slots follow the kind's own */
	GYRE_F_KTHREAD = 32,  /* the task is a kernel thread */
	GYRE_F_SEED = 64,     /* from the iterator, not an event */
};

struct gyre_header {
	unsigned short kind;
	unsigned short flags;
	unsigned int size;		  /* of the whole record, bytes */
	unsigned long long time;	  /* ns since boot, CLOCK_BOOTTIME */
	unsigned int tgid;
	unsigned int tid;
	unsigned long long start;	  /* of the thread group leader, ns since boot */
	unsigned int execs;		  /* task_struct.self_exec_id of the leader */
	unsigned int uid;
	unsigned int gid;
	unsigned int cpu;
	long long ret;
	unsigned long long cgroup;	  /* id of the control group; where v2 has only its root, of a v1 one, with bit 63 (memory) or 62 (pids) set */
	char comm[16];
	unsigned int nargs;
	unsigned int pad;
	unsigned long long cap_eff;	  /* of the thread that acted */
	unsigned long long cap_perm;
};

/*
 * Slots by kind. (s) is a string. base is the directory that a relative name starts
 * from, empty for an absolute name. The path of an opened file is empty where it has
 * none (a pipe, a namespace); base and nameraw are all there is then.
 *
 * execve, execveat       dirfd, base(s), filename(s), flags; of a success dirfd and flags are not known (-100, 0): filename is /dev/fd/N/name where a dirfd counted
 * clone clone3 fork vfork  flags, child_tid, child_tgid, child_start, child_execs, child_vpid, child_pidns
 * procexit               status, last (1: the process is gone)
 * open openat openat2 creat  fd, dirfd, path(s), base(s), nameraw(s), flags, mode, resolve, dev, ino, file_flags, file_mode, folded
 * sendto sendmsg sendmmsg recvfrom recvmsg  fd, size, then those of GYRE_OP_SOCKET
 * all others             what the operations of their row append, in that order
 */

/*
 * A row says how the record of a system call is made: operations that append slots,
 * each with the argument that it reads (0 to 5; GYRE_A_RET is the result,
 * GYRE_A_CWD stands for AT_FDCWD, GYRE_A_ZERO for 0).
 */
enum gyre_operand {
	GYRE_A_RET = 6,
	GYRE_A_CWD = 7,
	GYRE_A_ZERO = 8,
};

enum gyre_op {
	GYRE_OP_NUM = 1,    /* a signed 32-bit number */
	GYRE_OP_U32 = 2,
	GYRE_OP_U64 = 3,
	GYRE_OP_U16 = 4,
	GYRE_OP_FD = 5,	    /* a descriptor that the call made, -1 if it failed */
	GYRE_OP_PATH = 6,   /* base(s), name(s) of the name in arg, relative to the descriptor in aux */
	GYRE_OP_FILE = 7,   /* path(s), mode, dev, ino, file_flags of a descriptor's file */
	GYRE_OP_STRING = 8, /* (s) */
	GYRE_OP_SOCKET = 9, /* family, type, protocol, local address(s), port, remote address(s), port, unix path(s), netns of a descriptor's socket; aux and its successor are the caller's address and its length, enum gyre_address */
	GYRE_OP_CAPS = 10,  /* effective, permitted, inheritable of capset's data */
	GYRE_OP_AT32 = 11,  /* a number in memory that arg points to, aux bytes on */
	GYRE_OP_AT64 = 12,
	GYRE_OP_PAIR = 13,  /* a 64-bit number in two registers of a 32-bit call */
};

/* Whose address the caller's one is: the low bits of the aux of GYRE_OP_SOCKET; the others are the argument. */
enum gyre_address {
	GYRE_ADDR_NONE = 0x40,
	GYRE_ADDR_LOCAL = 0x20,
	GYRE_ADDR_ARG = 0x07,
};

/* What must hold for the call to be reported. */
enum gyre_condition {
	GYRE_IF_ALWAYS = 0,
	GYRE_IF_OK = 1,	       /* it did not fail */
	GYRE_IF_IN = 2,	       /* the low 32 bits of arg are among values */
	GYRE_IF_NOT_IN = 3,
	GYRE_IF_SECURITY = 4,  /* the string in arg starts with "security." */
	GYRE_IF_SOCKET012 = 5, /* the result is descriptor 0, 1 or 2, and a socket */
	GYRE_IF_SIGNAL = 6,    /* arg is a signal, and the process in the argument before last, or the first, is another one */
	GYRE_IF_NEW_CODE = 7,  /* the file of arg is executable, and this process has not written to it yet */
};

/* Programs that make records of calls. */
enum gyre_handler {
	GYRE_H_ROW = 0,
	GYRE_H_OPEN = 1,
	GYRE_H_EXEC = 2,
	GYRE_H_MESSAGE = 3,
	GYRE_HANDLERS = 4,
};

enum gyre_row_limit {
	GYRE_ROW_OPS = 12,
	GYRE_ROW_VALUES = 6,
};

struct gyre_row_op {
	unsigned char op, arg, aux, pad;
};

struct gyre_row {
	unsigned short kind; /* 0: no row */
	unsigned char handler;
	unsigned char condition;
	unsigned char arg; /* of the condition */
	unsigned char nvalues;
	unsigned char nops;
	unsigned char nslots;
	unsigned int values[GYRE_ROW_VALUES];
	struct gyre_row_op ops[GYRE_ROW_OPS];
};

/* Rows are numbered by the call: a number of x86-64, or one of these plus a number. */
enum gyre_row_base {
	GYRE_ROW_IA32 = 512,	     /* 32-bit calls */
	GYRE_ROW_X32 = 1024,	     /* x32 calls from 512 on */
	GYRE_ROW_SOCKETCALL = 1088,  /* calls that socketcall(2) of 32-bit programs stands for */
	GYRE_ROWS = 1120,
};

/* The snapshot of a process, after the kind's own slots. */
enum gyre_snapshot {
	GYRE_S_PPID,	     /* tgid of the real parent */
	GYRE_S_PARENT_START, /* ns since boot */
	GYRE_S_PARENT_EXECS,
	GYRE_S_EXE,	     /* (s) path of the program */
	GYRE_S_ARGS,	     /* (s) argv, each argument ends with a NUL byte */
	GYRE_S_CWD,	     /* (s) */
	GYRE_S_CGROUP,	     /* (s) path of the control group */
	GYRE_S_UID,
	GYRE_S_EUID,
	GYRE_S_GID,
	GYRE_S_EGID,
	GYRE_S_LOGINUID,
	GYRE_S_SESSIONID,
	GYRE_S_CAP_EFF,
	GYRE_S_CAP_PERM,
	GYRE_S_CAP_INH,
	GYRE_S_TTY,	     /* (s) name such as pts0 */
	GYRE_S_TTY_NR,
	GYRE_S_SID,
	GYRE_S_PGID,
	GYRE_S_VPID,
	GYRE_S_VPGID,
	GYRE_S_VSID,
	GYRE_S_PIDNS,
	GYRE_S_MNTNS,
	GYRE_S_NETNS,
	GYRE_S_USERNS,
	GYRE_S_EXE_INO,
	GYRE_S_EXE_DEV,
	GYRE_S_EXE_CTIME,    /* ns since the Unix epoch */
	GYRE_S_EXE_MTIME,
	GYRE_S_EXE_FLAGS,    /* enum gyre_exe_flag */
	GYRE_S_ENV,	     /* (s) environment, each variable ends with a NUL byte; empty unless asked for */
	GYRE_S_COUNT,
};

/* The first bits are those of eventv1.ProcFlag. */
enum gyre_exe_flag {
	GYRE_X_WRITABLE = 1,
	GYRE_X_UPPER = 2,
	GYRE_X_MEMFD = 4,
	GYRE_X_DELETED = 8,
	GYRE_X_SETUID = 16,
	GYRE_X_SETGID = 32,
	GYRE_X_ARGS_CUT = 64,
	GYRE_X_KTHREAD = 128,
	GYRE_X_ENV_CUT = 256,
};

/* The same as eventv1.FileFlag. */
enum gyre_file_flag {
	GYRE_FILE_UPPER = 1,
	GYRE_FILE_MEMFD = 2,
	GYRE_FILE_DELETED = 4,
};

#endif
