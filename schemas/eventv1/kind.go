package eventv1

// Kind says what an event is: a syscall that ended, or a change of a process. The
// values are on the wire for ever; bpf/include/event.h has the same ones.
type Kind uint16

// The kinds. Names are those of the syscalls; [ProcExit] is Falco's procexit.
const (
	Execve   Kind = 1
	Execveat Kind = 2
	Clone    Kind = 3
	Clone3   Kind = 4
	Fork     Kind = 5
	Vfork    Kind = 6
	ProcExit Kind = 7
	Open     Kind = 8
	Openat   Kind = 9
	Openat2  Kind = 10
	Creat    Kind = 11
	Connect  Kind = 12
	Unlink   Kind = 13
	Unlinkat Kind = 14
	Rename   Kind = 15
	Renameat Kind = 16
	// Renameat2 is renameat with flags.
	Renameat2 Kind = 17

	// Directories and links.
	Mkdir     Kind = 18
	Mkdirat   Kind = 19
	Rmdir     Kind = 20
	Link      Kind = 21
	Linkat    Kind = 22
	Symlink   Kind = 23
	Symlinkat Kind = 24

	// Owners, modes and attributes.
	Chmod     Kind = 25
	Fchmod    Kind = 26
	Fchmodat  Kind = 27
	Fchmodat2 Kind = 28
	Chown     Kind = 29
	Fchown    Kind = 30
	Lchown    Kind = 31
	Fchownat  Kind = 32
	Truncate  Kind = 33
	Ftruncate Kind = 34
	Mknod     Kind = 35
	Mknodat   Kind = 36
	Setxattr  Kind = 37
	Lsetxattr Kind = 38
	Fsetxattr Kind = 39

	// Mounts.
	Mount        Kind = 40
	Umount       Kind = 41
	Umount2      Kind = 42
	OpenTree     Kind = 43
	MoveMount    Kind = 44
	Fsopen       Kind = 45
	Fsconfig     Kind = 46
	Fsmount      Kind = 47
	Fspick       Kind = 48
	MountSetattr Kind = 49

	// Other files. [Write] is the first write of a process to an executable file, not each one.
	MemfdCreate Kind = 50
	Write       Kind = 51
	Ioctl       Kind = 52

	// Sockets. Those for messages are the first one with each peer, not each one.
	Socket   Kind = 53
	Bind     Kind = 54
	Listen   Kind = 55
	Accept   Kind = 56
	Accept4  Kind = 57
	Sendto   Kind = 58
	Sendmsg  Kind = 59
	Sendmmsg Kind = 60
	Recvfrom Kind = 61
	Recvmsg  Kind = 62

	// A socket that becomes descriptor 0, 1 or 2.
	Dup   Kind = 63
	Dup2  Kind = 64
	Dup3  Kind = 65
	Fcntl Kind = 66

	// Credentials.
	Setuid    Kind = 67
	Setgid    Kind = 68
	Setreuid  Kind = 69
	Setregid  Kind = 70
	Setresuid Kind = 71
	Setresgid Kind = 72
	Setfsuid  Kind = 73
	Setfsgid  Kind = 74
	Setgroups Kind = 75
	Capset    Kind = 76
	Keyctl    Kind = 77
	Seccomp   Kind = 78

	// The kernel.
	InitModule    Kind = 79
	FinitModule   Kind = 80
	DeleteModule  Kind = 81
	Bpf           Kind = 82
	PerfEventOpen Kind = 83
	KexecLoad     Kind = 84
	KexecFileLoad Kind = 85
	Userfaultfd   Kind = 86
	IoUringSetup  Kind = 87

	// Other processes.
	Ptrace          Kind = 88
	ProcessVMReadv  Kind = 89
	ProcessVMWritev Kind = 90
	Kill            Kind = 91
	Tkill           Kind = 92
	Tgkill          Kind = 93
	PidfdSendSignal Kind = 94
	PidfdGetfd      Kind = 95

	// The process's own surroundings.
	Setns          Kind = 96
	Unshare        Kind = 97
	Chroot         Kind = 98
	PivotRoot      Kind = 99
	Personality    Kind = 100
	Prctl          Kind = 101
	Setsid         Kind = 102
	Chdir          Kind = 103
	Fchdir         Kind = 104
	OpenByHandleAt Kind = 105

	// [ResponseAction] is no syscall: a response action was executed or refused on the node.
	ResponseAction Kind = 106

	// [ExeHash] is no syscall: the SHA-256 of a program file became known after a batch with a process that runs it had gone.
	ExeHash Kind = 107

	// KindCount is one more than the highest kind.
	KindCount = 108
)

// ArgType says how an argument's integer is to be read.
type ArgType uint8

// The argument types.
const (
	// Int is a signed number.
	Int ArgType = iota
	// Uint is an unsigned number, stored as the int64 of the same bits.
	Uint
	// FD is a file descriptor, or -1.
	FD
	// DirFD is a directory's file descriptor, or AT_FDCWD (-100).
	DirFD
	// Text is a string of the batch's string table.
	Text
	// Path is an absolute path of the string table, as seen from the task's root.
	Path
	// Address is an IP address of 4 or 16 bytes in the string table; empty for none.
	Address
	// OpenFlags are O_* bits, CloneFlags CLONE_*, AtFlags AT_*, RenameFlags RENAME_*, FileFlags [FileFlag] bits.
	OpenFlags
	CloneFlags
	AtFlags
	RenameFlags
	FileFlags
	// Mode is a file mode.
	Mode
	// Bool is 0 or 1.
	Bool
	// Family is an AF_* number, SockType a SOCK_* number, L4Proto an IPPROTO_* number.
	Family
	SockType
	L4Proto
	// ModeBits is a file mode told bit by bit, S_*.
	ModeBits
	// Hex is a number told in hexadecimal: addresses, and flags without names.
	Hex
	// Caps is a set of capabilities, CAP_*.
	Caps
	// Signal is a signal's number, told as SIG*.
	Signal
	// The rest are numbers told by the names of the constants: MS_*, MNT_* and UMOUNT_*, FSCONFIG_*, MFD_*, SOCK_*, F_*,
	// PR_*, PTRACE_*, BPF_*, KEYCTL_*, SECCOMP_*, MODULE_INIT_*, request codes of ioctl(2).
	MountFlags
	UmountFlags
	FsconfigCmd
	MemfdFlags
	SockFlags
	FcntlCmd
	PrctlOption
	PtraceRequest
	BpfCmd
	KeyctlOperation
	SeccompOperation
	ModuleFlags
	IoctlRequest
	// UID is a user id, of which [Batch.Users] has a row; -1 means no change.
	UID
)

// IsString tells whether the argument is an index into the string table.
func (t ArgType) IsString() bool { return t == Text || t == Path || t == Address }

// Arg is one kind-specific argument.
type Arg struct {
	// Name is the last part of the field evt.arg.<Name>.
	Name string
	Type ArgType
	Doc  string
}

// Info describes a kind.
type Info struct {
	// Name is the value of evt.type.
	Name string
	// Category is the value of evt.category, as Falco groups event types.
	Category string
	Doc      string
	// Args are the arguments in wire order. New ones are added at the end.
	Args []Arg
}

// MaxArgs bounds the number of arguments of any kind.
const MaxArgs = 16

// Positions of arguments in [Event.Args], for the kinds that share a shape.
const (
	// execve, execveat.
	ExecFilename = 0
	ExecDirFD    = 1
	ExecFlags    = 2

	// clone, clone3, fork, vfork.
	CloneFlagsArg = 0
	CloneChildTID = 1
	CloneChildPID = 2
	// CloneChildProc is the row of the new process in the process table, -1 for a thread.
	CloneChildProc = 3

	// procexit.
	ExitStatus   = 0
	ExitCode     = 1
	ExitSignal   = 2
	ExitCoreDump = 3

	// open, openat, openat2, creat.
	OpenFD        = 0
	OpenDirFD     = 1
	OpenName      = 2
	OpenNameRaw   = 3
	OpenFlagsArg  = 4
	OpenMode      = 5
	OpenResolve   = 6
	OpenDev       = 7
	OpenIno       = 8
	OpenFileFlags = 9
	OpenFileMode  = 10
	OpenFolded    = 11

	// connect.
	ConnectFD       = 0
	ConnectFamily   = 1
	ConnectSockType = 2
	ConnectProto    = 3
	ConnectSAddr    = 4
	ConnectSPort    = 5
	ConnectDAddr    = 6
	ConnectDPort    = 7
	ConnectPath     = 8
	ConnectNetNS    = 9

	// unlink, unlinkat.
	UnlinkName    = 0
	UnlinkNameRaw = 1
	UnlinkDirFD   = 2
	UnlinkFlags   = 3

	// rename, renameat, renameat2.
	RenameOldPath    = 0
	RenameNewPath    = 1
	RenameOldPathRaw = 2
	RenameNewPathRaw = 3
	RenameOldDirFD   = 4
	RenameNewDirFD   = 5
	RenameFlagsArg   = 6

	// chdir; fchdir.
	ChdirPath  = 0
	FchdirPath = 1
)

// Kinds lists all kinds in ascending order.
func Kinds() []Kind {
	k := make([]Kind, 0, KindCount-1)
	for i := Kind(1); i < KindCount; i++ {
		k = append(k, i)
	}
	return k
}

// ParseKind finds a kind by its name.
func ParseKind(name string) (Kind, bool) {
	for i := Kind(1); i < KindCount; i++ {
		if kinds[i].Name == name {
			return i, true
		}
	}
	return 0, false
}

// Known tells whether this release knows the kind.
func (k Kind) Known() bool { return k > 0 && k < KindCount }

// Info describes the kind; the result is zero for an unknown one. The slice in it must not be changed.
func (k Kind) Info() Info {
	if !k.Known() {
		return Info{Name: "unknown"}
	}
	return kinds[k]
}

// String returns the name, "unknown" for a kind of a newer release.
func (k Kind) String() string {
	if !k.Known() {
		return "unknown"
	}
	return kinds[k].Name
}

// IsOpen tells whether the kind opens a file.
func (k Kind) IsOpen() bool { return k >= Open && k <= Creat }

// IsExec tells whether the kind starts a program.
func (k Kind) IsExec() bool { return k == Execve || k == Execveat }

// IsClone tells whether the kind makes a task.
func (k Kind) IsClone() bool { return k >= Clone && k <= Vfork }

// IsUnlink tells whether the kind removes a name.
func (k Kind) IsUnlink() bool { return k == Unlink || k == Unlinkat }

// IsMessage tells whether the kind sends or receives a message.
func (k Kind) IsMessage() bool { return k >= Sendto && k <= Recvmsg }

// IsAccept tells whether the kind takes a connection.
func (k Kind) IsAccept() bool { return k == Accept || k == Accept4 }

// IsSynthetic tells whether the collector makes the event itself, so that there is nothing to capture.
func (k Kind) IsSynthetic() bool { return k == ResponseAction || k == ExeHash }

// IsRename tells whether the kind renames a file.
func (k Kind) IsRename() bool { return k >= Rename && k <= Renameat2 }
