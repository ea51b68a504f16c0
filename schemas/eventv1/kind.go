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

	// KindCount is one more than the highest kind.
	KindCount = 18
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
)

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

var openArgs = []Arg{
	{"fd", FD, "the new descriptor, -1 if the call failed"},
	{"dirfd", DirFD, "directory that a relative name starts from"},
	{"name", Path, "the file that was opened, resolved by the kernel; what was asked for, made absolute, if the call failed"},
	{"nameraw", Text, "the name as the caller gave it"},
	{"flags", OpenFlags, "O_* flags"},
	{"mode", Mode, "permission bits for a new file"},
	{"resolve", Uint, "RESOLVE_* flags of openat2"},
	{"dev", Uint, "device number of the file"},
	{"ino", Uint, "inode number of the file"},
	{"file_flags", FileFlags, "what is known of the file"},
	{"file_mode", Mode, "type and permission bits of the file"},
}

var connectArgs = []Arg{
	{"fd", FD, "the socket's descriptor"},
	{"family", Family, "address family"},
	{"socktype", SockType, "socket type"},
	{"proto", L4Proto, "transport protocol"},
	{"saddr", Address, "local address"},
	{"sport", Uint, "local port"},
	{"daddr", Address, "remote address"},
	{"dport", Uint, "remote port"},
	{"sun_path", Text, "path of a Unix socket; abstract names start with @"},
	{"netns", Uint, "inode number of the network namespace"},
}

var unlinkArgs = []Arg{
	{"name", Path, "the name that was removed, made absolute"},
	{"nameraw", Text, "the name as the caller gave it"},
	{"dirfd", DirFD, "directory that a relative name starts from"},
	{"flags", AtFlags, "AT_REMOVEDIR"},
}

var renameArgs = []Arg{
	{"oldpath", Path, "the old name, made absolute"},
	{"newpath", Path, "the new name, made absolute"},
	{"oldpathraw", Text, "the old name as the caller gave it"},
	{"newpathraw", Text, "the new name as the caller gave it"},
	{"olddirfd", DirFD, "directory that a relative old name starts from"},
	{"newdirfd", DirFD, "directory that a relative new name starts from"},
	{"flags", RenameFlags, "RENAME_* flags"},
}

// kinds is the kind table: adding a kind is one constant and one row.
var kinds = [KindCount]Info{
	Execve:   {"execve", "process", "a program was started, or could not be", execArgs},
	Execveat: {"execveat", "process", "a program was started by descriptor or relative name, or could not be", execArgs},
	Clone:    {"clone", "process", "a process or thread was made", cloneArgs},
	Clone3:   {"clone3", "process", "a process or thread was made", cloneArgs},
	Fork:     {"fork", "process", "a process was made", cloneArgs},
	Vfork:    {"vfork", "process", "a process was made", cloneArgs},
	ProcExit: {"procexit", "process", "a process ended", []Arg{
		{"status", Int, "exit status as wait(2) reports it"},
		{"ret", Int, "exit code"},
		{"sig", Int, "signal that ended the process, 0 if none did"},
		{"core", Bool, "a core file was written"},
	}},
	Open:      {"open", "file", "a file was opened, or could not be", openArgs},
	Openat:    {"openat", "file", "a file was opened, or could not be", openArgs},
	Openat2:   {"openat2", "file", "a file was opened, or could not be", openArgs},
	Creat:     {"creat", "file", "a file was made and opened, or could not be", openArgs},
	Connect:   {"connect", "net", "a socket was connected, or could not be", connectArgs},
	Unlink:    {"unlink", "file", "a name was removed, or could not be", unlinkArgs},
	Unlinkat:  {"unlinkat", "file", "a name was removed, or could not be", unlinkArgs},
	Rename:    {"rename", "file", "a file was renamed, or could not be", renameArgs},
	Renameat:  {"renameat", "file", "a file was renamed, or could not be", renameArgs},
	Renameat2: {"renameat2", "file", "a file was renamed, or could not be", renameArgs},
}

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

// IsRename tells whether the kind renames a file.
func (k Kind) IsRename() bool { return k >= Rename && k <= Renameat2 }
