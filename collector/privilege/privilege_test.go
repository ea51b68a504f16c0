package privilege

import (
	"errors"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// TestMain runs the test program a second time as the process that gives up its privileges: they cannot be had back.
func TestMain(m *testing.M) {
	switch os.Getenv("GYRE_TEST_DROP") {
	case "":
	case "supervisor":
		say(DropHelper(true) == nil, "drop")
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "GYRE_TEST_DROP=worker")
		out, err := cmd.CombinedOutput()
		print(string(out))
		say(err == nil, "start the worker")
		return
	case "worker":
		say(DropHelper(false) == nil, "drop")
		status, err := os.ReadFile("/proc/self/status")
		say(err == nil, "read status")
		print(strings.ReplaceAll(string(status), "\t", ""))
		say(errors.Is(exec.Command("/bin/true").Run(), syscall.EPERM), "execve is refused")
		_, _, errno := syscall.Syscall(syscall.SYS_BIND, 0, 0, 0)
		say(errno == syscall.EPERM, "bind is refused")
		return
	default:
		dropped()
		return
	}
	os.Exit(m.Run())
}

func say(ok bool, what string) {
	if !ok {
		println("FAILED: " + what)
		os.Exit(1)
	}
}

func dropped() {
	// Threads that exist before must lose their capabilities too.
	var wait, release sync.WaitGroup
	release.Add(1)
	for range 4 {
		wait.Add(1)
		go func() {
			wait.Done()
			release.Wait()
		}()
	}
	wait.Wait()
	left, err := Drop(Options{Signal: os.Getenv("GYRE_TEST_DROP") == "signal"})
	say(err == nil, "drop")
	release.Done()
	println(strings.Join(left, " "))
	tasks, err := os.ReadDir("/proc/self/task")
	say(err == nil, "list threads")
	for _, t := range tasks {
		status, err := os.ReadFile("/proc/self/task/" + t.Name() + "/status")
		say(err == nil, "read the status of a thread")
		for line := range strings.SplitSeq(string(status), "\n") {
			for _, set := range []string{"CapPrm:", "CapEff:", "CapBnd:", "NoNewPrivs:", "Seccomp:"} {
				if strings.HasPrefix(line, set) {
					println(strings.ReplaceAll(line, "\t", ""))
				}
			}
		}
	}
	err = exec.Command("/bin/true").Run()
	say(errors.Is(err, syscall.EPERM), "execve is refused")
	say(errors.Is(syscall.Mount("x", "/tmp", "tmpfs", 0, ""), syscall.EPERM), "mount is refused")
	_, err = os.Readlink("/proc/" + strconv.Itoa(os.Getppid()) + "/exe")
	if err != nil {
		println(err.Error())
	}
	say(err == nil, "another process's program can be read")
	say(errors.Is(syscall.Setuid(1), syscall.EPERM), "setuid is refused")
}

func TestDrop(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("this test gives up privileges and needs root")
		}
		t.Skip("SKIPPED: this test gives up privileges and needs root")
	}
	for mode, want := range map[string]string{"plain": "000000c000080004", "signal": "000000c000080024"} {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "GYRE_TEST_DROP="+mode)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", mode, err, out)
		}
		lines := strings.Fields(string(out))
		lines = slices.DeleteFunc(lines, func(l string) bool { return !strings.Contains(l, ":") })
		seen := map[string]bool{}
		for _, l := range lines {
			seen[l] = true
		}
		for _, l := range []string{"CapPrm:" + want, "CapEff:" + want, "CapBnd:" + want, "NoNewPrivs:1", "Seccomp:2"} {
			if !seen[l] {
				t.Errorf("%s: no thread has %s", mode, l)
			}
			delete(seen, l)
		}
		if len(seen) > 0 {
			t.Errorf("%s: some threads have %v", mode, seen)
		}
	}
}

// TestDropHelper: the worker has what it needs, also when it runs as an ordinary user, and no more.
func TestDropHelper(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("this test gives up privileges and needs root")
		}
		t.Skip("SKIPPED: this test gives up privileges and needs root")
	}
	for _, uid := range []uint32{0, 65534} {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "GYRE_TEST_DROP=supervisor")
		// CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_SYS_PTRACE, CAP_BPF
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}, AmbientCaps: []uintptr{1, 2, 19, 39}}
		if bin, err := os.ReadFile(os.Args[0]); err == nil && uid != 0 { // where that user can read it
			path := t.TempDir() + "/test"
			if err := os.WriteFile(path, bin, 0o755); err != nil {
				t.Fatal(err)
			}
			for dir := path; dir != "/tmp" && dir != "/"; dir = dir[:max(1, strings.LastIndexByte(dir, '/'))] {
				if err := os.Chmod(dir, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			cmd.Path, cmd.Args = path, []string{path}
		}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("user %d: %v\n%s", uid, err, out)
		}
		for _, want := range []string{"CapEff:0000000000080006", "CapPrm:0000000000080006", "CapAmb:0000000000000000", "NoNewPrivs:1", "Seccomp:2"} {
			if !strings.Contains(string(out), want) {
				t.Errorf("user %d: no %s in\n%s", uid, want, out)
			}
		}
	}
}
