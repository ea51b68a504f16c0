package probe

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gyre-sec/gyre/bpf"
	"github.com/gyre-sec/gyre/schemas/eventv1"
)

// compatProgram builds the 32-bit program; in the virtual machine it is there.
func compatProgram(t *testing.T) string {
	t.Helper()
	if inVM {
		return "/bin/compat"
	}
	out := filepath.Join(t.TempDir(), "compat")
	buildCompat(t, out)
	return out
}

func buildCompat(t *testing.T, out string) {
	t.Helper()
	b, err := exec.Command("clang", "--target=i386-linux-gnu", "-O1", "-nostdlib", "-static", "-ffreestanding", "-fno-stack-protector", "-o", out, "testdata/compat.c").CombinedOutput()
	if err != nil {
		t.Fatalf("build a 32-bit program: %v\n%s", err, b)
	}
}

// TestCompat makes system calls through the 32-bit entry points.
func TestCompat(t *testing.T) {
	program := compatProgram(t)
	c := start(t, Options{}, every()...)
	cmd := exec.Command(program)
	cmd.Dir = t.TempDir()
	out, err := cmd.Output()
	must(t, err)
	in := func(s string) string { return filepath.Join(cmd.Dir, s) }
	results := strings.Fields(string(out))
	peer := map[string]any{"fd": 5, "family": 2, "daddr": "\x7f\x00\x00\x03", "dport": 9}
	calls := []struct {
		kind eventv1.Kind
		want map[string]any
	}{
		{eventv1.Open, map[string]any{"fd": 3, "name": in("f32"), "nameraw": "f32", "flags": 0o102, "mode": 0o600}},
		{eventv1.Openat, map[string]any{"fd": 4, "name": in("f32"), "dirfd": -100}},
		{eventv1.Mkdir, map[string]any{"path": in("d32"), "mode": 0o700}},
		{eventv1.Rmdir, map[string]any{"path": in("d32")}},
		{eventv1.Chmod, map[string]any{"filename": in("f32"), "mode": 0o4755}},
		{eventv1.Chown, map[string]any{"path": in("f32"), "uid": 7, "gid": 8}},
		{eventv1.Truncate, map[string]any{"path": in("f32"), "length": 1<<32 + 5}},
		{eventv1.Rename, map[string]any{"oldpath": in("f32"), "newpath": in("g32")}},
		{eventv1.Unlinkat, map[string]any{"name": in("g32"), "dirfd": -100}},
		{eventv1.Execve, map[string]any{"filename": "/nonexistent/32"}},
		{eventv1.Mount, map[string]any{"dev": "dev32", "dir": in("nowhere"), "type": "tmpfs", "flags": 2}},
		{eventv1.Umount, map[string]any{"name": in("nowhere")}},
		{eventv1.Setuid, map[string]any{"uid": 0}},
		{eventv1.Ptrace, map[string]any{"request": 16, "pid": 4194303}},
		{eventv1.Socket, map[string]any{"fd": 5, "domain": 2, "type": 2, "protocol": 17}},
		{eventv1.Sendto, peer},
		{eventv1.Sendmsg, peer},
		{eventv1.Connect, peer},
		{eventv1.Socket, map[string]any{"fd": 6, "domain": 1, "type": 1}},
	}
	if len(results) != len(calls) {
		t.Fatalf("%d results, want %d: %q", len(results), len(calls), out)
	}
	for i, x := range calls {
		want := map[string]any{}
		for k, v := range x.want {
			if n, ok := v.(int); ok {
				v = int64(n)
			}
			want[k] = v
		}
		ret, err := strconv.ParseInt(results[i], 10, 64)
		must(t, err)
		t.Run(x.kind.String(), func(t *testing.T) {
			r := c.find(t, "32-bit "+x.kind.String(), func(r *bpf.Record) bool {
				return r.TGID == uint32(cmd.Process.Pid) && r.Kind == uint16(x.kind) && r.Flags&bpf.FlagCompat != 0 && matches(r, want)
			})
			e, err := decoded(r)
			must(t, err)
			if e.ret != ret {
				t.Errorf("ret %d, the program saw %d", e.ret, ret)
			}
			for k := range e.args {
				if _, ok := want[k]; !ok {
					delete(e.args, k)
				}
			}
			if diff := cmp.Diff(want, e.args); diff != "" {
				t.Errorf("arguments (-want +got):\n%s", diff)
			}
		})
	}
	if _, err := os.Stat(in("g32")); err == nil {
		t.Error("the program did nothing")
	}
}

// matches tells whether the first wanted text or, without one, any number is that of the record.
func matches(r *bpf.Record, want map[string]any) bool {
	e, err := decoded(r)
	if err != nil {
		return false
	}
	for k, v := range want {
		if e.args[k] == v {
			return true
		}
	}
	return false
}
