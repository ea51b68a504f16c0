package probe

import (
	"encoding/binary"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gyre-sec/gyre/schemas/eventv1"
)

// every is all kinds, without those that this process makes all the time.
func every() []uint16 {
	var out []uint16
	for _, k := range eventv1.Kinds() {
		out = append(out, uint16(k))
	}
	return out
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func touch(t *testing.T, name string, mode os.FileMode) string {
	t.Helper()
	must(t, os.WriteFile(name, []byte("x"), mode))
	return name
}

func TestFiles(t *testing.T) {
	c := start(t, Options{}, every()...)
	dir := t.TempDir()
	in := func(s string) string { return filepath.Join(dir, s) }
	for _, f := range []string{"a", "b", "c", "d", "e", "l", "m", "p", "tr", "x"} {
		touch(t, in(f), 0o600)
	}
	touch(t, in("code"), 0o600)
	must(t, os.Chmod(in("code"), 0o700))
	must(t, os.Mkdir(in("sub"), 0o700))
	must(t, os.Mkdir(in("gone"), 0o700))
	dfd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(dfd)
	xfd, err := unix.Open(in("x"), unix.O_RDWR|unix.O_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(xfd)
	code, err := unix.Open(in("code"), unix.O_RDWR|unix.O_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(code)
	var st unix.Stat_t
	must(t, unix.Fstat(xfd, &st))
	const cwd = -100
	isX := map[string]any{"fd": int64(xfd), "file_mode": unix.S_IFREG | 0o600, "ino": int(st.Ino)}
	plus := func(m map[string]any, more map[string]any) map[string]any {
		out := map[string]any{}
		maps.Copy(out, m)
		maps.Copy(out, more)
		return out
	}
	handle := make([]byte, 8+128)
	binary.LittleEndian.PutUint32(handle, 128)
	caps := make([]byte, 20) // struct vfs_cap_data, revision 2
	binary.LittleEndian.PutUint32(caps, 0x02000000)
	flags := make([]byte, 8)
	c.run(t, 0, []call{
		{eventv1.Unlink, func() int64 { return sys(unix.SYS_UNLINK, in("a")) }, []string{"name"}, map[string]any{"name": in("a"), "nameraw": in("a"), "dirfd": cwd, "flags": 0}},
		{eventv1.Unlinkat, func() int64 { return sys(unix.SYS_UNLINKAT, dfd, "sub/../b", 0) }, []string{"nameraw"}, map[string]any{"name": in("b"), "nameraw": "sub/../b", "dirfd": dfd, "flags": 0}},
		{eventv1.Rename, func() int64 { return sys(unix.SYS_RENAME, in("c"), in("c2")) }, []string{"oldpath"}, map[string]any{"oldpath": in("c"), "newpath": in("c2"), "olddirfd": cwd}},
		{eventv1.Renameat, func() int64 { return sys(unix.SYS_RENAMEAT, dfd, "d", cwd, in("d2")) }, []string{"newpath"}, map[string]any{"oldpath": in("d"), "oldpathraw": "d", "newpath": in("d2"), "olddirfd": dfd, "newdirfd": cwd}},
		{eventv1.Renameat2, func() int64 { return sys(unix.SYS_RENAMEAT2, dfd, "e", dfd, "e2", unix.RENAME_NOREPLACE) }, []string{"newpath"}, map[string]any{"oldpath": in("e"), "newpath": in("e2"), "newpathraw": "e2", "flags": 1}},
		{eventv1.Mkdir, func() int64 { return sys(unix.SYS_MKDIR, in("n1"), 0o750) }, []string{"path"}, map[string]any{"path": in("n1"), "mode": 0o750, "dirfd": cwd}},
		{eventv1.Mkdirat, func() int64 { return sys(unix.SYS_MKDIRAT, dfd, "n2", 0o700) }, []string{"path"}, map[string]any{"path": in("n2"), "mode": 0o700, "dirfd": dfd}},
		{eventv1.Rmdir, func() int64 { return sys(unix.SYS_RMDIR, in("gone")) }, []string{"path"}, map[string]any{"path": in("gone")}},
		{eventv1.Rmdir, func() int64 { return sys(unix.SYS_RMDIR, in("never")) }, []string{"path"}, map[string]any{"path": in("never")}},
		{eventv1.Link, func() int64 { return sys(unix.SYS_LINK, in("l"), in("l2")) }, []string{"newpath"}, map[string]any{"oldpath": in("l"), "newpath": in("l2"), "flags": 0}},
		{eventv1.Linkat, func() int64 { return sys(unix.SYS_LINKAT, dfd, "l", dfd, "l3", unix.AT_SYMLINK_FOLLOW) }, []string{"newpath"}, map[string]any{"oldpath": in("l"), "newpath": in("l3"), "olddirfd": dfd, "newdirfd": dfd, "flags": 0x400}},
		{eventv1.Symlink, func() int64 { return sys(unix.SYS_SYMLINK, "../l", in("s1")) }, []string{"linkpath"}, map[string]any{"target": "../l", "linkpath": in("s1"), "linkdirfd": cwd}},
		{eventv1.Symlinkat, func() int64 { return sys(unix.SYS_SYMLINKAT, "/etc/shadow", dfd, "s2") }, []string{"linkpath"}, map[string]any{"target": "/etc/shadow", "linkpath": in("s2"), "linkdirfd": dfd}},
		{eventv1.Chmod, func() int64 { return sys(unix.SYS_CHMOD, in("m"), 0o4755) }, []string{"filename"}, map[string]any{"filename": in("m"), "mode": 0o4755, "dirfd": cwd}},
		{eventv1.Fchmod, func() int64 { return sys(unix.SYS_FCHMOD, xfd, 0o600) }, []string{"filename"}, plus(isX, map[string]any{"filename": in("x"), "mode": 0o600})},
		{eventv1.Fchmodat, func() int64 { return sys(unix.SYS_FCHMODAT, dfd, "m", 0o711) }, []string{"mode"}, map[string]any{"filename": in("m"), "mode": 0o711, "dirfd": dfd}},
		{eventv1.Chown, func() int64 { return sys(unix.SYS_CHOWN, in("m"), 7, -1) }, []string{"path"}, map[string]any{"path": in("m"), "uid": 7, "gid": -1}},
		{eventv1.Lchown, func() int64 { return sys(unix.SYS_LCHOWN, in("s1"), 7, 8) }, []string{"path"}, map[string]any{"path": in("s1"), "uid": 7, "gid": 8}},
		{eventv1.Fchown, func() int64 { return sys(unix.SYS_FCHOWN, xfd, 0, 0) }, []string{"path"}, plus(isX, map[string]any{"path": in("x"), "uid": 0, "gid": 0})},
		{eventv1.Fchownat, func() int64 { return sys(unix.SYS_FCHOWNAT, dfd, "m", 9, 9, unix.AT_SYMLINK_NOFOLLOW) }, []string{"path"}, map[string]any{"path": in("m"), "uid": 9, "gid": 9, "dirfd": dfd, "flags": 0x100}},
		{eventv1.Truncate, func() int64 { return sys(unix.SYS_TRUNCATE, in("tr"), 1<<33) }, []string{"path"}, map[string]any{"path": in("tr"), "length": 1 << 33}},
		{eventv1.Ftruncate, func() int64 { return sys(unix.SYS_FTRUNCATE, xfd, 5) }, []string{"path"}, plus(isX, map[string]any{"path": in("x"), "length": 5})},
		{eventv1.Mknod, func() int64 { return sys(unix.SYS_MKNOD, in("fifo"), unix.S_IFIFO|0o600, 0) }, []string{"path"}, map[string]any{"path": in("fifo"), "mode": unix.S_IFIFO | 0o600, "nodedev": 0}},
		{eventv1.Mknodat, func() int64 { return sys(unix.SYS_MKNODAT, dfd, "null", unix.S_IFCHR|0o600, 0x103) }, []string{"path"}, map[string]any{"path": in("null"), "mode": unix.S_IFCHR | 0o600, "nodedev": 0x103, "dirfd": dfd}},
		{eventv1.Setxattr, func() int64 { return sys(unix.SYS_SETXATTR, in("m"), "security.capability", caps, len(caps), 0) }, []string{"path"}, map[string]any{"path": in("m"), "name": "security.capability", "flags": 0}},
		{eventv1.Lsetxattr, func() int64 { return sys(unix.SYS_LSETXATTR, in("m"), "security.gyre", "v", 1, 1) }, []string{"path"}, map[string]any{"path": in("m"), "name": "security.gyre", "flags": 1}},
		{eventv1.Fsetxattr, func() int64 { return sys(unix.SYS_FSETXATTR, xfd, "security.gyre", "v", 1, 0) }, []string{"path"}, plus(isX, map[string]any{"path": in("x"), "name": "security.gyre"})},
		{eventv1.MemfdCreate, func() int64 { return sys(unix.SYS_MEMFD_CREATE, "payload", unix.MFD_CLOEXEC) }, []string{"name"}, map[string]any{"fd": fresh, "name": "payload", "flags": 1}},
		{eventv1.Write, func() int64 { return sys(unix.SYS_WRITE, code, "hello", 5) }, []string{"name"}, map[string]any{"fd": code, "name": in("code"), "size": 5}},
		{eventv1.Ioctl, func() int64 { return sys(unix.SYS_IOCTL, xfd, unix.FS_IOC_SETFLAGS, flags) }, []string{"name"}, plus(isX, map[string]any{"name": in("x"), "request": unix.FS_IOC_SETFLAGS, "value": 0})},
		{eventv1.OpenByHandleAt, func() int64 { return sys(unix.SYS_OPEN_BY_HANDLE_AT, dfd, handle, unix.O_RDONLY) }, nil, map[string]any{"fd": -1, "mountfd": dfd, "flags": 0, "name": ""}},
	})
	// The second write to the same file is none: only the first one is told.
	sys(unix.SYS_WRITE, code, "again", 5)
	sys(unix.SYS_MKDIR, in("mark"), 0o700)
	c.event(t, eventv1.Mkdir, map[string]any{"path": in("mark")})
	c.mu.Lock()
	defer c.mu.Unlock()
	writes := 0
	for i := range c.recs {
		if e, err := decoded(&c.recs[i]); err == nil && e.kind == eventv1.Write && e.args["name"] == in("code") {
			writes++
		}
	}
	if writes != 1 {
		t.Errorf("%d events for two writes to an executable file, want 1", writes)
	}
}

func TestMounts(t *testing.T) {
	c := start(t, Options{}, every()...)
	dir := t.TempDir()
	mnt := filepath.Join(dir, "mnt")
	must(t, os.Mkdir(mnt, 0o700))
	t.Cleanup(func() { _ = unix.Unmount(mnt, unix.MNT_DETACH) })
	dfd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(dfd)
	attr := make([]byte, 32)
	attr[0] = 1 // MOUNT_ATTR_RDONLY
	var tree, fs, made int64
	c.run(t, 0, []call{
		{eventv1.Mount, func() int64 { return sys(unix.SYS_MOUNT, "gyre", mnt, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, 0) }, []string{"dir"}, map[string]any{"dev": "gyre", "dir": mnt, "type": "tmpfs", "flags": 6}},
		{eventv1.MountSetattr, func() int64 { return sys(unix.SYS_MOUNT_SETATTR, dfd, "mnt", 0, attr, len(attr)) }, []string{"path"}, map[string]any{"path": mnt, "dirfd": dfd, "attr_set": 1, "attr_clr": 0}},
		{eventv1.Fspick, func() int64 { return sys(unix.SYS_FSPICK, dfd, "mnt", 0) }, []string{"path"}, map[string]any{"path": mnt, "dirfd": dfd, "fd": fresh}},
		{eventv1.Umount2, func() int64 { return sys(unix.SYS_UMOUNT2, mnt, unix.MNT_DETACH) }, []string{"name"}, map[string]any{"name": mnt, "flags": 2}},
		{eventv1.OpenTree, func() int64 { return sys(unix.SYS_OPEN_TREE, dfd, "mnt", 1) }, []string{"path"}, map[string]any{"path": mnt, "dirfd": dfd, "flags": 1, "fd": fresh}},
	})
	// The new mount calls need each other's descriptors.
	tree = sys(unix.SYS_OPEN_TREE, dfd, "mnt", 1)
	fs = sys(unix.SYS_FSOPEN, "tmpfs", 1)
	if tree < 0 || fs < 0 {
		t.Fatalf("open_tree %d, fsopen %d", tree, fs)
	}
	defer unix.Close(int(tree))
	defer unix.Close(int(fs))
	c.event(t, eventv1.Fsopen, map[string]any{"type": "tmpfs", "flags": int64(1), "fd": fs})
	sys(unix.SYS_FSCONFIG, int(fs), 1, "size", "1m", 0)
	c.event(t, eventv1.Fsconfig, map[string]any{"fd": fs, "cmd": int64(1), "key": "size", "value": "1m"})
	sys(unix.SYS_FSCONFIG, int(fs), 6, 0, 0, 0)
	if made = sys(unix.SYS_FSMOUNT, int(fs), 1, 2); made < 0 {
		t.Fatalf("fsmount %d", made)
	}
	defer unix.Close(int(made))
	c.event(t, eventv1.Fsmount, map[string]any{"fd": made, "fsfd": fs, "flags": int64(1), "attr_flags": int64(2)})
	ret := sys(unix.SYS_MOVE_MOUNT, int(made), "", -100, mnt, 4)
	if e := c.event(t, eventv1.MoveMount, map[string]any{"to": mnt, "fromdirfd": made, "flags": int64(4)}); e.ret != ret {
		t.Errorf("move_mount %d, want %d", e.ret, ret)
	}
}
