package container

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gyre-sec/gyre/schemas/factv1"
)

// maxAccountFile bounds passwd and group of a container, in bytes.
const maxAccountFile = 256 << 10

// accounts are those of a container. Early means that there are none to read yet: it has no process in its root.
type accounts struct {
	users  []factv1.User
	groups []factv1.Group
	early  bool
}

// readAccounts reads the accounts of a container: from the root directory in its bundle, which is there before its first
// process and until its last has ended, else from the root of one of its processes. The files are the container's: links
// that lead out of it are not followed, and nothing is waited for.
func readAccounts(ask Ask, bundleRoot func(id string) string) (a accounts) {
	if dir := bundleRoot(ask.ID); dir != "" {
		a.users, a.groups = parseAccounts(accountsBelow(dir))
	}
	if len(a.users) > 0 {
		return a
	}
	root := fmt.Sprintf("/proc/%d/root", ask.PID)
	switch {
	case ask.PID == 0:
		a.early = true
	case !alive(ask): // too late
	case isHostRoot(root):
		a.early = true
	default:
		passwd, group := accountsBelow(root)
		if alive(ask) { // else the number may have become another process's meanwhile
			a.users, a.groups = parseAccounts(passwd, group)
		}
	}
	return a
}

// isHostRoot tells whether a root directory is this process's: a runtime's child is in the container's group before it
// has gone into its root.
func isHostRoot(dir string) bool {
	of, err := os.Stat(dir + "/.")
	if err != nil {
		return true
	}
	own, err := os.Stat("/.")
	return err != nil || os.SameFile(of, own)
}

func accountsBelow(dir string) (passwd, group []byte) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, nil
	}
	defer root.Close()
	return within(root, "etc/passwd"), within(root, "etc/group")
}

func within(root *os.Root, name string) []byte {
	f, err := root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil
	}
	defer f.Close()
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &fs); err != nil || fs.Type == unix.FUSE_SUPER_MAGIC { // a program of the container would answer, or not
		return nil
	}
	data, err := readOpen(f, maxAccountFile)
	if err != nil {
		return nil
	}
	return data
}

// alive tells whether the process is there and in the container.
func alive(a Ask) bool {
	if a.PID == 0 {
		return false
	}
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", a.PID))
	return err == nil && strings.Contains(string(data), a.ID)
}

func number(s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	return uint32(n), err
}
