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
	if os.Getenv("GYRE_TEST_DROP") != "" {
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
		for _, line := range strings.Split(string(status), "\n") {
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
