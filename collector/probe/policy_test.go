package probe

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gyre-sec/gyre/bpf"
	"github.com/gyre-sec/gyre/schemas/eventv1"
)

// count is how many records of a kind there are for which ok holds.
func (c *capture) count(kind eventv1.Kind, ok func(*bpf.Record) bool) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for i := range c.recs {
		if c.recs[i].Kind == uint16(kind) && ok(&c.recs[i]) {
			n++
		}
	}
	return n
}

// mark makes an event and waits for it: all before it have come.
func (c *capture) mark(t *testing.T) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "mark")
	sys(unix.SYS_MKDIR, name, 0o700)
	c.event(t, eventv1.Mkdir, map[string]any{"path": name})
}

func (c *capture) counters(t *testing.T) bpf.Counters {
	t.Helper()
	k, err := c.Counters()
	must(t, err)
	return k
}

func TestMutes(t *testing.T) {
	c := start(t, Options{}, every()...)
	dir := t.TempDir()
	muted, other := filepath.Join(dir, "muted"), filepath.Join(dir, "mut")
	for _, d := range []string{muted, other} {
		must(t, os.Mkdir(d, 0o700))
		touch(t, filepath.Join(d, "f"), 0o600)
	}
	cat, err := exec.LookPath("cat")
	must(t, err)
	program, err := filepath.EvalSymlinks(cat)
	must(t, err)
	opened := func(name string) int { // for reading
		return c.count(eventv1.Openat, func(r *bpf.Record) bool {
			return string(r.Bytes(bpf.OpenNameRaw)) == name && r.Int(bpf.OpenFlags)&unix.O_CREAT == 0
		})
	}
	before := c.counters(t)
	must(t, c.SetMutes(bpf.Mutes{Prefixes: []string{muted}}))
	for _, d := range []string{muted, other} {
		f, err := os.Open(filepath.Join(d, "f"))
		must(t, err)
		must(t, f.Close())
		_, _ = os.Open(filepath.Join(d, "none"))
	}
	c.mark(t)
	if n := opened(filepath.Join(muted, "f")) + opened(filepath.Join(muted, "none")); n != 0 {
		t.Errorf("%d opens below a muted path were told", n)
	}
	if opened(filepath.Join(other, "f")) != 1 || opened(filepath.Join(other, "none")) != 1 {
		t.Error("an open of another path was not told")
	}
	if n := c.counters(t).Muted[eventv1.Openat] - before.Muted[eventv1.Openat]; n < 2 {
		t.Errorf("%d muted opens were counted, want 2", n)
	}

	// By program: its files are not told, its start and end are.
	must(t, c.SetMutes(bpf.Mutes{Exes: []string{program}}))
	file := filepath.Join(other, "f")
	cmd := exec.Command(cat, file)
	must(t, cmd.Run())
	c.find(t, "end of a muted process", func(r *bpf.Record) bool { return r.Kind == kExit && r.TGID == uint32(cmd.Process.Pid) })
	if n := opened(file); n != 1 {
		t.Errorf("%d opens, want the first one only", n)
	}
	must(t, c.SetMutes(bpf.Mutes{}))
	must(t, exec.Command(cat, file).Run())
	c.mark(t)
	if n := opened(file); n != 2 {
		t.Errorf("%d opens after the list was emptied, want 2", n)
	}

	// A process that runs already.
	must(t, c.MuteProcess(uint32(os.Getpid()), true))
	_, _ = os.Open(filepath.Join(dir, "while muted"))
	must(t, c.MuteProcess(uint32(os.Getpid()), false))
	c.mark(t)
	if opened(filepath.Join(dir, "while muted")) != 0 {
		t.Error("a muted process's open was told")
	}
	if err := c.SetMutes(bpf.Mutes{Prefixes: []string{"relative"}}); err == nil {
		t.Error("a relative path was accepted")
	}
}

func TestMutedGroup(t *testing.T) {
	c := start(t, Options{}, every()...)
	// The group of this process, as its own events tell it.
	name := filepath.Join(t.TempDir(), "x")
	_, _ = os.Open(name)
	group := c.mine(t, kOpenat, bpf.OpenNameRaw, name).Cgroup
	must(t, c.SetMutes(bpf.Mutes{Groups: []uint64{group}}))
	hidden := filepath.Join(t.TempDir(), "hidden")
	_, _ = os.Open(hidden)
	must(t, c.SetMutes(bpf.Mutes{}))
	c.mark(t)
	if c.count(eventv1.Openat, func(r *bpf.Record) bool { return string(r.Bytes(bpf.OpenNameRaw)) == hidden }) != 0 {
		t.Error("an open of a muted group was told")
	}
}

func TestFolding(t *testing.T) {
	c := start(t, Options{}, every()...)
	must(t, c.SetFolding(time.Hour, []uint16{kOpenat}))
	name := touch(t, filepath.Join(t.TempDir(), "f"), 0o600)
	before := c.counters(t)
	open := func(flags int) {
		fd, err := unix.Open(name, flags|unix.O_CLOEXEC, 0)
		must(t, err)
		must(t, unix.Close(fd))
	}
	for range 10 {
		open(unix.O_RDONLY)
	}
	open(unix.O_RDWR) // in another way: told
	c.mark(t)
	told := func() int {
		return c.count(eventv1.Openat, func(r *bpf.Record) bool {
			return string(r.Bytes(bpf.OpenNameRaw)) == name && r.Int(bpf.OpenFlags)&unix.O_CREAT == 0
		})
	}
	if n := told(); n != 2 {
		t.Errorf("%d opens were told, want 2 of 11", n)
	}
	if n := c.counters(t).Folded[kOpenat] - before.Folded[kOpenat]; n < 9 {
		t.Errorf("%d folded opens were counted, want 9", n)
	}
	must(t, c.SetFolding(1, []uint16{kOpenat})) // every window is over
	open(unix.O_RDONLY)
	c.find(t, "the open after the window, with the count", func(r *bpf.Record) bool {
		return r.Kind == kOpenat && string(r.Bytes(bpf.OpenNameRaw)) == name && r.Int(bpf.OpenFolded) == 9
	})
	must(t, c.SetFolding(0, nil))
	open(unix.O_RDONLY)
	open(unix.O_RDONLY)
	c.mark(t)
	if n := told(); n != 5 {
		t.Errorf("%d opens were told, want 5", n)
	}
}

func TestEnvironment(t *testing.T) {
	c := start(t, Options{}, every()...)
	run := func() *bpf.Record {
		cmd := exec.Command("/bin/true")
		cmd.Env = []string{"LD_PRELOAD=/tmp/x.so", "LONG=" + strings.Repeat("y", 6000), "LAST=z"}
		_ = cmd.Run() // a loader may dislike the preload
		return c.find(t, "exec", func(r *bpf.Record) bool { return r.Kind == kExecve && r.TGID == uint32(cmd.Process.Pid) && r.Ret == 0 })
	}
	if env := run().Bytes(bpf.ExecSlots + bpf.SnapEnv); len(env) != 0 {
		t.Errorf("the environment was read unasked: %.40q", env)
	}
	must(t, c.SetEnv(true))
	r := run()
	env := strings.Split(string(r.Bytes(bpf.ExecSlots+bpf.SnapEnv)), "\x00")
	if len(env) < 3 || env[0] != "LD_PRELOAD=/tmp/x.so" || env[2] != "LAST=z" {
		t.Errorf("environment %.60q", env)
	}
	if r.Int(bpf.ExecSlots+bpf.SnapExeFlags)&bpf.ExeEnvCut != 0 {
		t.Error("marked as cut")
	}
}

// TestSwitches switches a kind off and on again while events flow.
func TestSwitches(t *testing.T) {
	c := start(t, Options{}, every()...)
	without := slices.DeleteFunc(every(), func(k uint16) bool { return k == uint16(eventv1.Mkdir) })
	dir := t.TempDir()
	at := func(s string) string { return filepath.Join(dir, s) }
	make := func(s string) { sys(unix.SYS_MKDIR, at(s), 0o700) }
	told := func(s string) bool {
		return c.count(eventv1.Mkdir, func(r *bpf.Record) bool { return string(r.Bytes(1)) == at(s) }) > 0
	}
	make("a")
	must(t, c.SetKinds(without))
	make("b")
	must(t, c.SetKinds(every()))
	make("c")
	c.event(t, eventv1.Mkdir, map[string]any{"path": at("c")})
	if !told("a") || told("b") {
		t.Errorf("told a: %v, b: %v, want true, false", told("a"), told("b"))
	}
}
