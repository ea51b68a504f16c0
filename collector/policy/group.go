package policy

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

// hierarchies are where control groups are mounted, and the bit that tells their ids from those of others: see CGROUP_V1_MEMORY
// and CGROUP_V1_PIDS of bpf/include/cgroup.h.
func hierarchies() map[string]uint64 {
	return map[string]uint64{"/sys/fs/cgroup": 0, "/sys/fs/cgroup/unified": 0, "/sys/fs/cgroup/memory": 1 << 63, "/sys/fs/cgroup/pids": 1 << 62}
}

const maxGroups = 60000

// Groups finds the ids of the control groups at and below these paths, sorted. Paths that are not there now have none. An id is
// the inode number of the group's directory, with the bits of its hierarchy.
func Groups(paths []string) []uint64 {
	var ids []uint64
	for _, p := range paths {
		for root, bits := range hierarchies() {
			_ = filepath.WalkDir(filepath.Join(root, p), func(name string, d fs.DirEntry, err error) error {
				if err != nil || !d.IsDir() {
					return nil // gone meanwhile, or a file of the group
				}
				if info, err := os.Stat(name); err == nil && len(ids) < maxGroups {
					if st, ok := info.Sys().(*syscall.Stat_t); ok {
						ids = append(ids, st.Ino|bits)
					}
				}
				return nil
			})
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}
