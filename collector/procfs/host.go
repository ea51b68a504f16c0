package procfs

import (
	"bufio"
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/gyre-sec/gyre/schemas/factv1"
)

// Host is where the files about the host lie; the zero value is the host itself.
type Host struct {
	// Proc is "/proc" if empty; Root is put before /etc.
	Proc, Root string
}

func (h Host) proc(name string) string { return filepath.Join(cmp.Or(h.Proc, "/proc"), name) }
func (h Host) etc(name string) string  { return filepath.Join(cmp.Or(h.Root, "/"), "etc", name) }

// AccountFiles are the files that [Host.Users] reads.
func (h Host) AccountFiles() []string { return []string{h.etc("passwd"), h.etc("group")} }

// BootID is the kernel's random id of this boot.
func (h Host) BootID() (string, error) {
	data, err := os.ReadFile(h.proc("sys/kernel/random/boot_id"))
	if err != nil {
		return "", fmt.Errorf("read boot id: %w", err)
	}
	return strings.TrimSpace(string(data)), nil
}

// BootTime is the time of the boot in nanoseconds since the Unix epoch: now, less what CLOCK_BOOTTIME shows. It moves
// when the wall clock is set.
func BootTime() int64 { return time.Now().UnixNano() - SinceBoot() }

// Facts gathers the host's facts. What cannot be read stays empty.
func (h Host) Facts() factv1.Host {
	f := factv1.Host{BootTime: BootTime()}
	f.BootID, _ = h.BootID()
	f.Hostname, _ = os.Hostname()
	var u syscall.Utsname
	if syscall.Uname(&u) == nil {
		f.Kernel, f.Machine = chars(u.Release[:]), chars(u.Machine[:])
	}
	f.CPUs = h.cpus()
	f.Memory = h.memory()
	if data, err := os.ReadFile(h.etc("machine-id")); err == nil {
		f.MachineID = strings.TrimSpace(string(data))
	}
	values := osRelease(h.etc("os-release"))
	f.OSID, f.OSVersion, f.OSName = values["ID"], values["VERSION_ID"], values["PRETTY_NAME"]
	return f
}

func chars[T int8 | uint8](s []T) string {
	b := make([]byte, 0, len(s))
	for _, c := range s {
		if c == 0 {
			break
		}
		b = append(b, byte(c))
	}
	return string(b)
}

// cpus counts the processors that are online, not those this process may use.
func (h Host) cpus() int {
	n := 0
	eachLine(h.proc("stat"), func(line string) {
		if len(line) > 3 && strings.HasPrefix(line, "cpu") && line[3] >= '0' && line[3] <= '9' {
			n++
		}
	})
	return n
}

func (h Host) memory() uint64 {
	var kb uint64
	eachLine(h.proc("meminfo"), func(line string) {
		if rest, ok := strings.CutPrefix(line, "MemTotal:"); ok {
			kb, _ = strconv.ParseUint(strings.TrimSpace(strings.TrimSuffix(rest, "kB")), 10, 64)
		}
	})
	return kb << 10
}

// osRelease reads os-release(5).
func osRelease(path string) map[string]string {
	values := map[string]string{}
	eachLine(path, func(line string) {
		key, value, ok := strings.Cut(line, "=")
		if !ok || strings.HasPrefix(key, "#") {
			return
		}
		if len(value) >= 2 && (value[0] == '"' || value[0] == '\'') && value[len(value)-1] == value[0] {
			value = value[1 : len(value)-1]
		}
		values[key] = value
	})
	return values
}

// Users reads the accounts, ordered by id; the first line of an id counts, as for getpwuid(3).
func (h Host) Users() factv1.Users {
	var out factv1.Users
	seen := map[uint32]bool{}
	eachLine(h.etc("passwd"), func(line string) {
		v := strings.Split(line, ":")
		if len(v) < 7 || v[0] == "" {
			return
		}
		uid, err1 := strconv.ParseUint(v[2], 10, 32)
		gid, err2 := strconv.ParseUint(v[3], 10, 32)
		if err1 != nil || err2 != nil || seen[uint32(uid)] {
			return
		}
		seen[uint32(uid)] = true
		out.Users = append(out.Users, factv1.User{UID: uint32(uid), GID: uint32(gid), Name: v[0], Home: v[5], Shell: v[6]})
	})
	clear(seen)
	eachLine(h.etc("group"), func(line string) {
		v := strings.Split(line, ":")
		if len(v) < 3 || v[0] == "" {
			return
		}
		gid, err := strconv.ParseUint(v[2], 10, 32)
		if err != nil || seen[uint32(gid)] {
			return
		}
		seen[uint32(gid)] = true
		out.Groups = append(out.Groups, factv1.Group{GID: uint32(gid), Name: v[0]})
	})
	slices.SortFunc(out.Users, func(a, b factv1.User) int { return cmp.Compare(a.UID, b.UID) })
	slices.SortFunc(out.Groups, func(a, b factv1.Group) int { return cmp.Compare(a.GID, b.GID) })
	if len(out.Users) > factv1.MaxAccounts {
		out.Users, out.Truncated = out.Users[:factv1.MaxAccounts], true
	}
	if len(out.Groups) > factv1.MaxAccounts {
		out.Groups, out.Truncated = out.Groups[:factv1.MaxAccounts], true
	}
	return out
}

func eachLine(path string, do func(string)) {
	f, err := os.Open(path)
	if err != nil {
		return
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		do(s.Text())
	}
}
