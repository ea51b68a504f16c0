package action

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/gyre-sec/gyre/collector/cgroup"
)

// hierarchy is a mounted hierarchy of control groups in which processes can be frozen.
type hierarchy struct {
	mount string
	v2    bool
}

// hierarchies lists them, the unified one first.
func hierarchies() ([]hierarchy, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("find control groups: %w", err)
	}
	defer func() { _ = f.Close() }()
	var list []hierarchy
	for s := bufio.NewScanner(f); s.Scan(); {
		if h, ok := parseMount(s.Text()); ok && !slices.Contains(list, h) {
			list = append(list, h)
		}
	}
	slices.SortStableFunc(list, func(a, b hierarchy) int {
		switch {
		case a.v2 == b.v2:
			return 0
		case a.v2:
			return -1
		default:
			return 1
		}
	})
	if len(list) == 0 {
		return nil, refuse(CodeUnsupported, "no hierarchy of control groups is mounted here that can freeze: mount cgroup2, or the freezer of version 1")
	}
	return list, nil
}

// parseMount reads a line of mountinfo, see proc_pid_mountinfo(5).
func parseMount(line string) (hierarchy, bool) {
	left, right, ok := strings.Cut(line, " - ")
	mount, super := strings.Fields(left), strings.Fields(right)
	if !ok || len(mount) < 5 || len(super) < 3 {
		return hierarchy{}, false
	}
	h := hierarchy{mount: unescapeMount(mount[4]), v2: super[0] == "cgroup2"}
	return h, h.v2 || super[0] == "cgroup" && slices.Contains(strings.Split(super[2], ","), "freezer")
}

// unescapeMount reverses the \ooo of blanks, tabs, line ends and backslashes.
func unescapeMount(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// group is a control group that is held open: another one under the same path is not it.
type group struct {
	hierarchy
	path string // from the mount
	dir  *os.Root
}

func (g *group) release() { _ = g.dir.Close() }

// find holds the topmost control groups of a container: its full id, or at least 12 digits of it. It returns the full id.
func (h hierarchy) find(id string) ([]*group, []string, error) {
	var found []*group
	var ids []string
	err := filepath.WalkDir(h.mount, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) { // removed meanwhile
				return nil
			}
			return err
		}
		if !d.IsDir() {
			return nil
		}
		rel := strings.TrimPrefix(path, h.mount)
		c, ok := cgroup.Parse(rel)
		short := len(id) >= 12 && len(c.ID) == 64 && strings.HasPrefix(c.ID, id)
		if !ok || c.ID != id && !short {
			return nil
		}
		dir, err := os.OpenRoot(path)
		if errors.Is(err, fs.ErrNotExist) {
			return fs.SkipDir
		}
		if err != nil {
			return err
		}
		found = append(found, &group{h, rel, dir})
		if !slices.Contains(ids, c.ID) {
			ids = append(ids, c.ID)
		}
		return fs.SkipDir
	})
	if err != nil {
		for _, g := range found {
			g.release()
		}
		return nil, nil, fmt.Errorf("search control groups below %s: %w", h.mount, err)
	}
	return found, ids, nil
}

// pids lists the processes in the group and in those below it.
func (g *group) pids() ([]uint32, error) {
	var list []uint32
	err := fs.WalkDir(g.dir.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		}
		data, err := g.dir.ReadFile(filepath.Join(path, "cgroup.procs"))
		if err != nil {
			return nil //nolint:nilerr // removed meanwhile, or threaded: then the group above lists its processes
		}
		for f := range strings.FieldsSeq(string(data)) {
			if pid, err := strconv.ParseUint(f, 10, 32); err == nil && pid > 0 {
				list = append(list, uint32(pid))
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list processes of %s: %w", g.path, err)
	}
	slices.Sort(list)
	return slices.Compact(list), nil
}

// write writes one of the group's files.
func (g *group) write(name, value string) error {
	f, err := g.dir.OpenFile(name, os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString(value)
		err = errors.Join(err, f.Close())
	}
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("write %s to %s of %s: %w: the collector needs CAP_DAC_OVERRIDE", value, name, g.path, err)
	}
	if err != nil {
		return fmt.Errorf("write %s to %s of %s: %w", value, name, g.path, err)
	}
	return nil
}

// frozen tells whether all processes of the group stand still.
func (g *group) frozen() (bool, error) {
	if !g.v2 {
		data, err := g.dir.ReadFile("freezer.state")
		return strings.TrimSpace(string(data)) == "FROZEN", err
	}
	data, err := g.dir.ReadFile("cgroup.events")
	return strings.Contains("\n"+string(data), "\nfrozen 1\n"), err
}

// setFrozen asks the kernel to let the group stand still, or go on.
func (g *group) setFrozen(on bool) error {
	switch {
	case g.v2 && on:
		return g.write("cgroup.freeze", "1")
	case g.v2:
		return g.write("cgroup.freeze", "0")
	case on:
		return g.write("freezer.state", "FROZEN")
	default:
		return g.write("freezer.state", "THAWED")
	}
}
