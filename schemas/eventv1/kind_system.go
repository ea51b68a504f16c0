package eventv1

var (
	uidArg, gidArg = Arg{"uid", UID, "user id"}, Arg{"gid", Int, "group id"}
	euid, egid     = Arg{"euid", UID, "effective user id, -1 for no change"}, Arg{"egid", Int, "effective group id, -1 for no change"}
	ruid, rgid     = Arg{"ruid", UID, "real user id, -1 for no change"}, Arg{"rgid", Int, "real group id, -1 for no change"}
)

var credentialKinds = map[Kind]Info{
	Setuid:    {"setuid", "user", "the user was changed, or could not be", []Arg{uidArg}},
	Setgid:    {"setgid", "user", "the group was changed, or could not be", []Arg{gidArg}},
	Setreuid:  {"setreuid", "user", "the user was changed, or could not be", []Arg{ruid, euid}},
	Setregid:  {"setregid", "user", "the group was changed, or could not be", []Arg{rgid, egid}},
	Setresuid: {"setresuid", "user", "the user was changed, or could not be", []Arg{ruid, euid, {"suid", UID, "saved user id, -1 for no change"}}},
	Setresgid: {"setresgid", "user", "the group was changed, or could not be", []Arg{rgid, egid, {"sgid", Int, "saved group id, -1 for no change"}}},
	Setfsuid:  {"setfsuid", "user", "the user for access to files was changed", []Arg{uidArg}},
	Setfsgid:  {"setfsgid", "user", "the group for access to files was changed", []Arg{gidArg}},
	Setgroups: {"setgroups", "user", "the further groups were changed, or could not be", []Arg{{"count", Int, "how many groups"}}},
	Capset: {"capset", "process", "capabilities were changed, or could not be", []Arg{
		{"cap_effective", Caps, "the new effective set"}, {"cap_permitted", Caps, "the new permitted set"}, {"cap_inheritable", Caps, "the new inheritable set"},
	}},
	Keyctl: {"keyctl", "system", "a key of the kernel's keyrings was used or changed", []Arg{
		{"operation", KeyctlOperation, "KEYCTL_* operation"}, {"arg2", Hex, "its arguments, which depend on it"}, {"arg3", Hex, ""}, {"arg4", Hex, ""}, {"arg5", Hex, ""},
	}},
	Seccomp: {"seccomp", "process", "a seccomp filter was set, or could not be", []Arg{{"op", SeccompOperation, "SECCOMP_* operation"}, {"flags", Hex, "SECCOMP_FILTER_FLAG_* flags"}}},
}

var systemKinds = map[Kind]Info{
	InitModule: {"init_module", "system", "a kernel module was loaded from memory, or could not be", []Arg{{"length", Int, "bytes of the module"}, {"uargs", Text, "its parameters"}}},
	FinitModule: {"finit_module", "system", "a kernel module was loaded from a file, or could not be", args([]Arg{
		{"fd", FD, "descriptor of the file"}, {"uargs", Text, "the module's parameters"}, {"flags", ModuleFlags, "MODULE_INIT_* flags"},
	}, file("name", "the file"))},
	DeleteModule: {"delete_module", "system", "a kernel module was unloaded, or could not be", []Arg{{"name", Text, "name of the module"}, {"flags", OpenFlags, "O_NONBLOCK, O_TRUNC"}}},
	Bpf: {"bpf", "system", "an eBPF program or map was made, attached or pinned, or could not be; use of maps is not told", []Arg{
		{"cmd", BpfCmd, "BPF_* command"}, {"fd", FD, "the new descriptor, -1 if the call failed, 0 if there is none"}, {"attr_type", Int, "the first number of the attributes: the type of the program or map for those that make one"},
	}},
	PerfEventOpen: {"perf_event_open", "system", "performance monitoring was opened, or could not be", []Arg{
		{"fd", FD, "the new descriptor, -1 if the call failed"}, {"perf_type", Int, "PERF_TYPE_* number"}, {"config", Hex, "what of that type"}, {"pid", Int, "the process, -1 for all"}, {"cpu", Int, "the CPU, -1 for all"}, {"flags", Hex, "PERF_FLAG_* flags"},
	}},
	KexecLoad: {"kexec_load", "system", "another kernel was loaded, or could not be", []Arg{{"entry", Hex, "entry point"}, {"segments", Int, "how many segments"}, {"flags", Hex, "KEXEC_* flags"}}},
	KexecFileLoad: {"kexec_file_load", "system", "another kernel was loaded from a file, or could not be", args([]Arg{
		{"fd", FD, "descriptor of the kernel's file"}, {"initrdfd", FD, "descriptor of the initial RAM disk"}, {"cmdline", Text, "the kernel's command line"}, {"flags", Hex, "KEXEC_FILE_* flags"},
	}, file("name", "the kernel's file"))},
	Userfaultfd:  {"userfaultfd", "memory", "handling of page faults in user space was begun", []Arg{{"fd", FD, "the new descriptor, -1 if the call failed"}, {"flags", OpenFlags, "O_CLOEXEC, O_NONBLOCK, and UFFD_USER_MODE_ONLY, which is 1"}}},
	IoUringSetup: {"io_uring_setup", "system", "an io_uring was made, or could not be", []Arg{{"fd", FD, "the new descriptor, -1 if the call failed"}, {"entries", Int, "size of the submission queue"}, {"flags", Hex, "IORING_SETUP_* flags"}}},

	ExeHash: {"exehash", "process", "the SHA-256 of a program file became known, after the first events of the process", []Arg{
		{"sha256", Text, "the sum in hexadecimal"}, {"path", Path, "path of the program file"}, {"size", Int, "bytes of the file"},
	}},
	ResponseAction: {"response_action", "response", "a response action was executed on the node, or refused", []Arg{
		{"action", Text, "what was asked for"}, {"status", Text, "executed, refused or failed"}, {"reason", Text, "why"}, {"request", Text, "id of the request"}, {"target", Text, "exec id or container id of the target"}, {"key", Text, "name of the key that signed the request"},
	}},
}
