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

// readAccounts adds the accounts of a container: from the root of one of its processes, or, if that has ended, from
// the root directory in its bundle. The files are the container's: links that lead out of it are not followed, and
// nothing is waited for.
func readAccounts(c *factv1.Container, pid uint32, bundleRoot func(id string) string) {
	ask := Ask{ID: c.ID, PID: pid}
	if alive(ask) {
		passwd, group := accountsBelow(fmt.Sprintf("/proc/%d/root", pid))
		if alive(ask) { // else the number may have become another process's meanwhile
			c.Users, c.Groups = parseAccounts(passwd, group)
		}
	}
	if dir := bundleRoot(c.ID); len(c.Users) == 0 && dir != "" {
		c.Users, c.Groups = parseAccounts(accountsBelow(dir))
	}
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
