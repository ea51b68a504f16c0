package eventv1

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
	{"folded", Uint, "identical opens before this one that were not told"},
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

var (
	mkdirArgs = []Arg{{"path", Path, "the new directory, made absolute"}, {"mode", Mode, "its permission bits"}, {"dirfd", DirFD, "directory that a relative name starts from"}}
	linkArgs  = []Arg{
		{"oldpath", Path, "the existing name, made absolute"},
		{"newpath", Path, "the new name, made absolute"},
		{"olddirfd", DirFD, "directory that a relative old name starts from"},
		{"newdirfd", DirFD, "directory that a relative new name starts from"},
		{"flags", AtFlags, "AT_* flags"},
	}
	symlinkArgs = []Arg{{"target", Text, "what the link says, as it says it"}, {"linkpath", Path, "the link, made absolute"}, {"linkdirfd", DirFD, "directory that a relative name starts from"}}
	chmodArgs   = []Arg{
		{"filename", Path, "the file, made absolute; symbolic links are not followed"},
		{"mode", ModeBits, "the new permission bits"},
		{"dirfd", DirFD, "directory that a relative name starts from"},
		{"flags", AtFlags, "AT_* flags"},
	}
	chownArgs = []Arg{
		{"path", Path, "the file, made absolute; symbolic links are not followed"},
		{"uid", Int, "the new owner, -1 for no change"},
		{"gid", Int, "the new group, -1 for no change"},
		{"dirfd", DirFD, "directory that a relative name starts from"},
		{"flags", AtFlags, "AT_* flags"},
	}
	mknodArgs = []Arg{
		{"path", Path, "the new file, made absolute"}, {"mode", ModeBits, "type and permission bits"}, {"nodedev", Uint, "number of the device"}, {"dirfd", DirFD, "directory that a relative name starts from"},
	}
	setxattrArgs = []Arg{{"path", Path, "the file, made absolute; symbolic links are not followed"}, {"name", Text, "name of the attribute; only those of security.* are told"}, {"flags", Hex, "XATTR_* flags"}}
)

var fileKinds = map[Kind]Info{
	Open:      {"open", "file", "a file was opened, or could not be", openArgs},
	Openat:    {"openat", "file", "a file was opened, or could not be", openArgs},
	Openat2:   {"openat2", "file", "a file was opened, or could not be", openArgs},
	Creat:     {"creat", "file", "a file was made and opened, or could not be", openArgs},
	Unlink:    {"unlink", "file", "a name was removed, or could not be", unlinkArgs},
	Unlinkat:  {"unlinkat", "file", "a name was removed, or could not be", unlinkArgs},
	Rename:    {"rename", "file", "a file was renamed, or could not be", renameArgs},
	Renameat:  {"renameat", "file", "a file was renamed, or could not be", renameArgs},
	Renameat2: {"renameat2", "file", "a file was renamed, or could not be", renameArgs},

	OpenByHandleAt: {"open_by_handle_at", "file", "a file was opened by its handle, which passes over paths", args([]Arg{
		{"fd", FD, "the new descriptor, -1 if the call failed"}, {"mountfd", FD, "descriptor of any file in the file system"}, {"flags", OpenFlags, "O_* flags"},
	}, file("name", "the file that was opened"))},

	Mkdir:     {"mkdir", "file", "a directory was made, or could not be", mkdirArgs},
	Mkdirat:   {"mkdirat", "file", "a directory was made, or could not be", mkdirArgs},
	Rmdir:     {"rmdir", "file", "a directory was removed, or could not be", []Arg{{"path", Path, "the directory, made absolute"}}},
	Link:      {"link", "file", "a file got another name, or could not", linkArgs},
	Linkat:    {"linkat", "file", "a file got another name, or could not", linkArgs},
	Symlink:   {"symlink", "file", "a symbolic link was made, or could not be", symlinkArgs},
	Symlinkat: {"symlinkat", "file", "a symbolic link was made, or could not be", symlinkArgs},
	Chmod:     {"chmod", "file", "permissions were changed, or could not be", chmodArgs},
	Fchmodat:  {"fchmodat", "file", "permissions were changed, or could not be", chmodArgs},
	Fchmodat2: {"fchmodat2", "file", "permissions were changed, or could not be", chmodArgs},
	Fchmod: {"fchmod", "file", "permissions were changed, or could not be", args([]Arg{{"fd", FD, "descriptor of the file"}, {"mode", ModeBits, "the new permission bits"}},
		file("filename", "the file"))},
	Chown:    {"chown", "file", "a file's owner was changed, or could not be", chownArgs},
	Lchown:   {"lchown", "file", "a file's owner was changed, or could not be", chownArgs},
	Fchownat: {"fchownat", "file", "a file's owner was changed, or could not be", chownArgs},
	Fchown: {"fchown", "file", "a file's owner was changed, or could not be", args([]Arg{
		{"fd", FD, "descriptor of the file"}, {"uid", Int, "the new owner, -1 for no change"}, {"gid", Int, "the new group, -1 for no change"},
	}, file("path", "the file"))},
	Truncate:  {"truncate", "file", "a file was cut or made longer, or could not be", []Arg{{"path", Path, "the file, made absolute"}, {"length", Int, "the new length, bytes"}}},
	Ftruncate: {"ftruncate", "file", "a file was cut or made longer, or could not be", args([]Arg{{"fd", FD, "descriptor of the file"}, {"length", Int, "the new length, bytes"}}, file("path", "the file"))},
	Mknod:     {"mknod", "file", "a device, pipe or plain file was made, or could not be", mknodArgs},
	Mknodat:   {"mknodat", "file", "a device, pipe or plain file was made, or could not be", mknodArgs},
	Setxattr:  {"setxattr", "file", "a security attribute such as file capabilities was set, or could not be", setxattrArgs},
	Lsetxattr: {"lsetxattr", "file", "a security attribute such as file capabilities was set, or could not be", setxattrArgs},
	Fsetxattr: {"fsetxattr", "file", "a security attribute such as file capabilities was set, or could not be", args([]Arg{
		{"fd", FD, "descriptor of the file"}, {"name", Text, "name of the attribute; only those of security.* are told"}, {"flags", Hex, "XATTR_* flags"},
	}, file("path", "the file"))},
	MemfdCreate: {"memfd_create", "memory", "a file in memory was made", []Arg{{"fd", FD, "the new descriptor, -1 if the call failed"}, {"name", Text, "its name, for people"}, {"flags", MemfdFlags, "MFD_* flags"}}},
	Write:       {"write", "file", "a process wrote to an executable file for the first time", args([]Arg{{"fd", FD, "descriptor of the file"}, {"size", Int, "bytes that were written"}}, file("name", "the file"))},
	Ioctl: {"ioctl", "file", "a file's attributes such as immutable were set, or input was put into a terminal", args([]Arg{
		{"fd", FD, "descriptor of the file"},
		{"request", IoctlRequest, "FS_IOC_SETFLAGS, FS_IOC_FSSETXATTR, TIOCSTI or TIOCLINUX"},
		{"argument", Hex, "the argument as a number"},
		{"value", Hex, "the first 32 bits that it points to: for FS_IOC_SETFLAGS FS_*_FL (0x10 is immutable, 0x20 append only), for FS_IOC_FSSETXATTR FS_XFLAG_* (0x8 and 0x10)"},
	}, file("name", "the file"))},
}
