package procfs

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gyre-sec/gyre/collector/proctable"
	"github.com/gyre-sec/gyre/schemas/eventv1"
	"github.com/gyre-sec/gyre/schemas/factv1"
)

func TestSelf(t *testing.T) {
	fs := New("/proc")
	pid := uint32(os.Getpid())
	f, err := fs.Process(proctable.Key{PID: pid})
	if err != nil {
		t.Fatal(err)
	}
	exe, _ := os.Executable()
	cwd, _ := os.Getwd()
	if f.Exe != exe || f.Cwd != cwd || f.Row.PPID != uint32(os.Getppid()) || f.Row.UID != uint32(os.Getuid()) {
		t.Errorf("facts %+v", f)
	}
	if diff := cmp.Diff(os.Args, f.Args); diff != "" {
		t.Errorf("args (-want +got):\n%s", diff)
	}
	if f.Row.PidNS == 0 || f.Row.MntNS == 0 || f.Row.VPID == 0 || f.Row.ExeIno == 0 || f.Row.Start <= 0 {
		t.Errorf("row %+v", f.Row)
	}
	if _, err := fs.Process(proctable.Key{PID: pid, Start: f.Row.Start + 5}); err != nil {
		t.Errorf("within the grain: %v", err)
	}
	if _, err := fs.Process(proctable.Key{PID: pid, Start: f.Row.Start + 2*tick}); !errors.Is(err, ErrGone) {
		t.Errorf("another start: %v, want ErrGone", err)
	}
}

func TestEndedProcess(t *testing.T) {
	c := exec.Command("true")
	if err := c.Run(); err != nil {
		t.Fatal(err)
	}
	if _, err := New("/proc").Process(proctable.Key{PID: uint32(c.ProcessState.Pid())}); !errors.Is(err, ErrGone) {
		t.Errorf("%v, want ErrGone", err)
	}
}

func TestAll(t *testing.T) {
	all, err := New("/proc").All()
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, f := range all {
		found = found || f.Row.PID == uint32(os.Getpid())
	}
	if !found {
		t.Errorf("this process is not among %d", len(all))
	}
	if _, err := New(t.TempDir() + "/none").All(); err == nil {
		t.Error("no error without a proc file system")
	}
}

// tree writes files below a new directory.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		p := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestMadeUpProcess(t *testing.T) {
	id := strings.Repeat("ab", 32)
	root := tree(t, map[string]string{
		"42/stat": "42 (a) b (c) S 7 40 41 34817 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 12345 1 2",
		"42/status": "Name:\ta) b (c\nUid:\t1000\t0\t0\t0\nGid:\t100\t101\t0\t0\nNStgid:\t42\t3\nNSpgid:\t40\t2\nNSsid:\t41\t1\n" +
			"CapInh:\t0000000000000000\nCapPrm:\t000001ffffffffff\nCapEff:\t0000000000000400\n",
		"42/cmdline":   "nginx\x00-g\x00\x00last\x00",
		"42/cgroup":    "0::/system.slice/docker-" + id + ".scope\n",
		"42/loginuid":  "4294967295",
		"42/sessionid": "7\n",
	})
	for name, to := range map[string]string{"exe": "/usr/bin/x (deleted)", "cwd": "/gone (deleted)"} {
		if err := os.Symlink(to, filepath.Join(root, "42", name)); err != nil {
			t.Fatal(err)
		}
	}
	got, err := New(root).Process(proctable.Key{PID: 42, Start: 123_450_000_123})
	if err != nil {
		t.Fatal(err)
	}
	want := proctable.Facts{
		Row: eventv1.Proc{
			PID: 42, PPID: 7, Start: 123_450_000_123, UID: 1000, GID: 100, EGID: 101, LoginUID: eventv1.NoUID, SessionID: 7,
			CapPermitted: 0x1ffffffffff, CapEffective: 0x400, TTYNr: 34817, SID: 41, PGID: 40, VPID: 3, VPGID: 2, VSID: 1, Flags: eventv1.ProcExeDeleted,
		},
		Exe: "/usr/bin/x", Comm: "a) b (c", Cwd: "/gone", TTY: "pts1", Cgroup: "/system.slice/docker-" + id + ".scope",
		Args: []string{"nginx", "-g", "", "last"}, ContainerID: id, Runtime: "docker",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("facts (-want +got):\n%s", diff)
	}
}

func TestTTYName(t *testing.T) {
	for nr, want := range map[uint32]string{0: "", 34816: "pts0", 34817: "pts1", 137<<8 | 1: "pts257", 4<<8 | 1: "tty1", 4<<8 | 64: "ttyS0", 5<<8 | 1: "console", 204<<8 | 64: "tty204:64"} {
		if got := TTYName(nr); got != want {
			t.Errorf("TTYName(%d) = %q, want %q", nr, got, want)
		}
	}
}

func TestHostFacts(t *testing.T) {
	root := tree(t, map[string]string{
		"etc/os-release": "# x\nID=debian\nVERSION_ID=\"12\"\nPRETTY_NAME='Debian 12 (x=y)'\n",
		"etc/machine-id": "abc\n",
		"etc/passwd":     "ada:x:1000:1000:Ada,,:/home/ada:/bin/bash\nroot:x:0:0:root:/root:/bin/sh\ntoor:x:0:0::/root:/bin/sh\n+nis\nbad:x:a:0::/:/\n",
		"etc/group":      "root:x:0:\nwheel:x:10:ada,bob\n\n",
	})
	h := Host{Root: root}
	f := h.Facts()
	if f.OSID != "debian" || f.OSVersion != "12" || f.OSName != "Debian 12 (x=y)" || f.MachineID != "abc" {
		t.Errorf("facts %+v", f)
	}
	if f.BootID == "" || f.Kernel == "" || f.Machine == "" || f.CPUs < 1 || f.Memory < 1<<20 || f.BootTime < 1e18 {
		t.Errorf("facts %+v", f)
	}
	want := factv1.Users{
		Users:  []factv1.User{{UID: 0, Name: "root", Home: "/root", Shell: "/bin/sh"}, {UID: 1000, GID: 1000, Name: "ada", Home: "/home/ada", Shell: "/bin/bash"}},
		Groups: []factv1.Group{{GID: 0, Name: "root"}, {GID: 10, Name: "wheel"}},
	}
	if diff := cmp.Diff(want, h.Users()); diff != "" {
		t.Errorf("users (-want +got):\n%s", diff)
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("42 (a) b (c) S 7 40 41 34817 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 12345 1 2"))
	f.Add([]byte(")("))
	f.Fuzz(func(_ *testing.T, data []byte) {
		_, _ = parseStat(1, data)
		SplitArgs(data)
	})
}
