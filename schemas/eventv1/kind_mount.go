package eventv1

var treeArgs = []Arg{{"path", Path, "the directory, made absolute"}, {"dirfd", DirFD, "directory that a relative name starts from"}, {"flags", Hex, "flags"}}

var mountKinds = map[Kind]Info{
	Mount: {"mount", "file", "a file system was mounted, or could not be", []Arg{
		{"dev", Text, "the device or source, as the caller named it"}, {"dir", Path, "the mount point, made absolute"}, {"type", Text, "type of the file system"}, {"flags", MountFlags, "MS_* flags"},
	}},
	Umount:  {"umount", "file", "a file system was unmounted, or could not be; the old call of 32-bit programs", []Arg{{"name", Path, "the mount point, made absolute"}}},
	Umount2: {"umount2", "file", "a file system was unmounted, or could not be", []Arg{{"name", Path, "the mount point, made absolute"}, {"flags", UmountFlags, "MNT_* and UMOUNT_* flags"}}},

	OpenTree: {"open_tree", "file", "a mounted tree was opened or copied, or could not be", args(treeArgs[:3:3], []Arg{{"fd", FD, "its descriptor, -1 if the call failed"}})},
	MoveMount: {"move_mount", "file", "a mounted tree was attached or moved, or could not be", []Arg{
		{"from", Path, "where it was, made absolute; empty if a descriptor names it"},
		{"to", Path, "where it went, made absolute"},
		{"fromdirfd", DirFD, "directory or tree that from starts from"},
		{"todirfd", DirFD, "directory that to starts from"},
		{"flags", Hex, "MOVE_MOUNT_* flags"},
	}},
	Fsopen:   {"fsopen", "file", "the making of a file system was begun", []Arg{{"fd", FD, "its descriptor, -1 if the call failed"}, {"type", Text, "type of the file system"}, {"flags", Hex, "FSOPEN_* flags"}}},
	Fspick:   {"fspick", "file", "the changing of a file system was begun", args(treeArgs[:3:3], []Arg{{"fd", FD, "its descriptor, -1 if the call failed"}})},
	Fsconfig: {"fsconfig", "file", "a file system's option was set, or it was made", []Arg{{"fd", FD, "descriptor of the file system"}, {"cmd", FsconfigCmd, "FSCONFIG_* command"}, {"key", Text, "the option"}, {"value", Text, "its value, if that is text"}, {"aux", Int, "number that goes with the command"}}},
	Fsmount:  {"fsmount", "file", "a file system got a mount, attached nowhere yet", []Arg{{"fd", FD, "descriptor of the mount, -1 if the call failed"}, {"fsfd", FD, "descriptor of the file system"}, {"flags", Hex, "FSMOUNT_* flags"}, {"attr_flags", Hex, "MOUNT_ATTR_* flags"}}},
	MountSetattr: {"mount_setattr", "file", "a mount's attributes were changed, or could not be", args(treeArgs[:3:3], []Arg{
		{"attr_set", Hex, "MOUNT_ATTR_* flags that were set"}, {"attr_clr", Hex, "MOUNT_ATTR_* flags that were taken away"},
	})},
}
