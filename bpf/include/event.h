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

/* Kinds: the wire values of schemas/eventv1. */
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
	GYRE_KINDS = 64, /* room in the tables indexed by kind */
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
	unsigned long long cgroup;	  /* id in the cgroup v2 hierarchy */
	char comm[16];
	unsigned int nargs;
	unsigned int pad;
};

/*
 * Slots by kind. (s) is a string. base is the directory that a relative name starts
 * from, empty for an absolute name.
 *
 * execve, execveat       dirfd, base(s), filename(s), flags
 * clone clone3 fork vfork  flags, child_tid, child_tgid, child_start, child_execs, child_vpid, child_pidns
 * procexit               status, last (1: the process is gone)
 * open openat openat2 creat  fd, dirfd, path(s), base(s), nameraw(s), flags, mode, resolve, dev, ino, file_flags, file_mode
 * connect                fd, family, socktype, proto, saddr(s), sport, daddr(s), dport, sun_path(s), netns
 * unlink unlinkat        dirfd, base(s), name(s), flags
 * rename*                olddirfd, oldbase(s), oldname(s), newdirfd, newbase(s), newname(s), flags
 */

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
};

/* The same as eventv1.FileFlag. */
enum gyre_file_flag {
	GYRE_FILE_UPPER = 1,
	GYRE_FILE_MEMFD = 2,
	GYRE_FILE_DELETED = 4,
};

#endif
