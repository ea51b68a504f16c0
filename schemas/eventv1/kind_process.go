package eventv1

var execArgs = []Arg{
	{"filename", Text, "the program as the caller named it"},
	{"dirfd", DirFD, "directory that a relative name starts from"},
	{"flags", AtFlags, "AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW"},
}

var cloneArgs = []Arg{
	{"flags", CloneFlags, "CLONE_* flags"},
	{"child_tid", Int, "thread id of the new task"},
	{"child_pid", Int, "process id of the new task; the caller's own for a new thread"},
	{"child_proc", Int, "row of the new process in the batch's process table, -1 for a thread"},
}

var processKinds = map[Kind]Info{
	Execve:   {"execve", "process", "a program was started, or could not be", execArgs},
	Execveat: {"execveat", "process", "a program was started by descriptor or relative name, or could not be", execArgs},
	Clone:    {"clone", "process", "a process or thread was made", cloneArgs},
	Clone3:   {"clone3", "process", "a process or thread was made", cloneArgs},
	Fork:     {"fork", "process", "a process was made", cloneArgs},
	Vfork:    {"vfork", "process", "a process was made", cloneArgs},
	ProcExit: {"procexit", "process", "a process ended", []Arg{
		{"status", Int, "exit status as wait(2) reports it"},
		{"ret", Int, "exit code"},
		{"sig", Signal, "signal that ended the process, 0 if none did"},
		{"core", Bool, "a core file was written"},
	}},

	Ptrace: {"ptrace", "process", "another process was traced or changed; reading its memory and letting it run on are not told", []Arg{
		{"request", PtraceRequest, "PTRACE_* request"}, {"pid", Int, "the other process, in the caller's namespace"}, {"addr", Hex, "address in the other process"}, {"data", Hex, "data or its address"},
	}},
	ProcessVMReadv:  {"process_vm_readv", "process", "another process's memory was read", otherMemory},
	ProcessVMWritev: {"process_vm_writev", "process", "another process's memory was written", otherMemory},
	Kill: {"kill", "signal", "a signal was sent to another process", []Arg{
		{"pid", Int, "the process, or -1 for all, or the negative process group, in the caller's namespace"}, {"sig", Signal, "the signal"},
	}},
	Tkill: {"tkill", "signal", "a signal was sent to another thread", []Arg{{"tid", Int, "the thread, in the caller's namespace"}, {"sig", Signal, "the signal"}}},
	Tgkill: {"tgkill", "signal", "a signal was sent to a thread of another process", []Arg{
		{"pid", Int, "the process, in the caller's namespace"}, {"tid", Int, "the thread, in the caller's namespace"}, {"sig", Signal, "the signal"},
	}},
	PidfdSendSignal: {"pidfd_send_signal", "signal", "a signal was sent through a process descriptor", []Arg{{"pidfd", FD, "descriptor of the process"}, {"sig", Signal, "the signal"}}},
	PidfdGetfd: {"pidfd_getfd", "process", "a descriptor was taken from another process", args([]Arg{
		{"fd", FD, "the new descriptor, -1 if the call failed"}, {"pidfd", FD, "descriptor of the other process"}, {"targetfd", FD, "the descriptor in the other process"},
	}, file("name", "path of the file"))},

	Setns: {"setns", "process", "another namespace was entered", args([]Arg{{"fd", FD, "descriptor of the namespace or process"}, {"nstype", CloneFlags, "kinds of namespace, CLONE_NEW*"}},
		file("name", "path of the descriptor's file, if it has one; ino is the number of the namespace"))},
	Unshare:   {"unshare", "process", "new namespaces were made", []Arg{{"flags", CloneFlags, "CLONE_* flags"}}},
	Chroot:    {"chroot", "process", "the root directory was changed", []Arg{{"path", Path, "the new root, made absolute"}}},
	PivotRoot: {"pivot_root", "process", "the root file system was changed", []Arg{{"new_root", Path, "the new root, made absolute"}, {"put_old", Path, "where the old one went"}}},
	Personality: {"personality", "process", "the execution domain was changed, which can turn off address randomisation", []Arg{
		{"persona", Hex, "new domain and flags; 0x40000 is ADDR_NO_RANDOMIZE"},
	}},
	Prctl: {"prctl", "process", "the process's name, seccomp filter or memory map was changed", []Arg{
		{"option", PrctlOption, "PR_SET_NAME, PR_SET_SECCOMP or PR_SET_MM"}, {"arg2_str", Text, "the new name"}, {"arg2_int", Int, "the argument as a number"},
	}},
	Setsid: {"setsid", "process", "a new session was made", []Arg{{"sid", Int, "the new session, in the caller's namespace"}}},
	Chdir:  {"chdir", "file", "the working directory was changed", []Arg{{"path", Path, "the new directory, made absolute"}}},
	Fchdir: {"fchdir", "file", "the working directory was changed", args([]Arg{{"fd", FD, "descriptor of the directory"}}, file("path", "the new directory"))},
}

var otherMemory = []Arg{{"pid", Int, "the other process, in the caller's namespace"}, {"size", Int, "bytes that were copied"}}
