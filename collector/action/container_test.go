package action

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/gyre-sec/gyre/schemas/actionv1"
)

// containerID is a different one for each test.
func containerID(t *testing.T) string {
	t.Helper()
	id := actionv1.NewID().String() + actionv1.NewID().String()
	return strings.ReplaceAll(id, "-", "")
}

// box makes a control group as a runtime does, in a hierarchy of the wanted version, and returns its directory.
func box(t *testing.T, v2 bool, id string) string {
	t.Helper()
	root(t)
	list, err := hierarchies()
	if err != nil {
		skip(t, err.Error())
	}
	for _, h := range list {
		if h.v2 != v2 {
			continue
		}
		dir := filepath.Join(h.mount, "docker-"+id+".scope")
		if err := os.Mkdir(dir, 0o755); err != nil {
			skip(t, "control groups cannot be made here: "+err.Error())
		}
		t.Cleanup(func() {
			g := &group{hierarchy: h, path: dir}
			if g.dir, err = os.OpenRoot(dir); err == nil {
				_ = g.setFrozen(false)
				_ = g.kill()
				g.release()
			}
			eventually(t, "the control group is empty", func() bool {
				err := filepath.Walk(dir, func(string, os.FileInfo, error) error { return nil })
				for _, sub := range []string{"inner", ""} {
					if rm := os.Remove(filepath.Join(dir, sub)); rm != nil && !os.IsNotExist(rm) {
						err = rm
					}
				}
				return err == nil
			})
		})
		// A group of a root on tmpfs has no such file.
		file := map[bool]string{true: "cgroup.freeze", false: "freezer.state"}[v2]
		if _, err := os.Stat(filepath.Join(dir, file)); err != nil {
			skip(t, "this kernel cannot freeze control groups: "+err.Error())
		}
		return dir
	}
	skip(t, map[bool]string{true: "no unified hierarchy (version 2) is mounted here", false: "no freezer of version 1 is mounted here"}[v2])
	return ""
}

func move(t *testing.T, dir string, c *child) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(c.Process.Pid)), 0); err != nil {
		t.Fatal(err)
	}
}

// ticker is a process that writes a line each few milliseconds; next tells whether another one comes.
func ticker(t *testing.T) *child {
	t.Helper()
	return start(t, "sh", "-c", "while :; do echo x; sleep 0.005; done")
}

// TestContainer pauses, resumes and stops real control groups, of both versions.
func TestContainer(t *testing.T) {
	for name, v2 := range map[string]bool{"version 2": true, "version 1": false} {
		t.Run(name, func(t *testing.T) {
			id := containerID(t)
			dir := box(t, v2, id)
			inner := filepath.Join(dir, "inner")
			if err := os.Mkdir(inner, 0o755); err != nil {
				t.Fatal(err)
			}
			e, reports := newTest(t, policyText("    - actions: [pause_container, resume_container, stop_container]\n      containers_only: true\n", ""))
			wantResult(t, ask(t, e, request(actionv1.PauseContainer, id)), actionv1.Refused, CodeNoTarget) // nobody is in it
			bystander := start(t, "sleep", "1000")
			a, b := ticker(t), start(t, "sleep", "1000")
			move(t, inner, a)
			move(t, dir, b)
			r := ask(t, e, request(actionv1.PauseContainer, id))
			wantResult(t, r, actionv1.Executed, "")
			if r.HitCount < 2 {
				t.Errorf("hits %+v", r.Hits)
			}
			if on := isFrozen(t, dir, v2); !on {
				t.Error("it is not frozen")
			}
			// A frozen process does not act on a signal that it could ignore, nor write.
			wantResult(t, ask(t, e, request(actionv1.ResumeContainer, id[:12])), actionv1.Executed, "")
			if on := isFrozen(t, dir, v2); on {
				t.Error("it is still frozen")
			}
			for range 100 { // more than a pipe's first lines: it writes again
				if !a.lines.Scan() {
					t.Fatal("it does not go on")
				}
			}
			wantResult(t, ask(t, e, request(actionv1.PauseContainer, id)), actionv1.Executed, "")
			wantResult(t, ask(t, e, request(actionv1.StopContainer, id)), actionv1.Executed, "") // also what is paused
			<-a.done
			<-b.done
			if !bystander.running() || len(*reports) != 5 {
				t.Errorf("a bystander runs: %t; %d reports", bystander.running(), len(*reports))
			}
			wantResult(t, ask(t, e, request(actionv1.StopContainer, id)), actionv1.Refused, CodeNoTarget)
		})
	}
}

func isFrozen(t *testing.T, dir string, v2 bool) bool {
	t.Helper()
	g := &group{hierarchy: hierarchy{v2: v2}}
	var err error
	if g.dir, err = os.OpenRoot(dir); err != nil {
		t.Fatal(err)
	}
	defer g.release()
	on, err := g.frozen()
	if err != nil {
		t.Fatal(err)
	}
	return on
}

// TestStopWithoutKillFile: where the kernel has no cgroup.kill, each process is killed, also those that keep forking.
func TestStopWithoutKillFile(t *testing.T) {
	id := containerID(t)
	dir := box(t, false, id) // version 1 has none
	e, _ := newTest(t, policyText(everything, ""))
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c := forker(t, "read x; while :; do sleep 1000 & sleep 0.002; done", in)
	move(t, dir, c)
	if err := errors.Join(out.Close(), in.Close()); err != nil { // now it begins to fork
		t.Fatal(err)
	}
	eventually(t, "ten processes", func() bool { return len(inSession(t, c.pid())) >= 10 })
	wantResult(t, ask(t, e, request(actionv1.StopContainer, id)), actionv1.Executed, "")
	<-c.done
	if left := inSession(t, c.pid()); len(left) > 0 {
		t.Errorf("%d processes are left", len(left))
	}
}

// TestContainerIsWhole: a container with a process that is out of scope or protected is not touched.
func TestContainerIsWhole(t *testing.T) {
	id := containerID(t)
	dir := box(t, true, id)
	c := start(t, "sleep", "1000")
	move(t, dir, c)
	e, _ := newTest(t, policyText("    - actions: [stop_container]\n      exes: [/opt/**]\n", ""))
	wantResult(t, ask(t, e, request(actionv1.StopContainer, id)), actionv1.Refused, CodeOutOfScope)
	e, _ = newTest(t, policyText(everything, ""))
	e.cfg.Protect = []uint32{c.pid()}
	wantResult(t, ask(t, e, request(actionv1.StopContainer, id)), actionv1.Refused, CodeProtected)
	e, _ = newTest(t, policyText(everything, "  dry_run: true\n"))
	r := ask(t, e, request(actionv1.StopContainer, id))
	wantResult(t, r, actionv1.Refused, CodeDryRun)
	if !c.running() || r.HitCount != 1 || r.Hits[0].PID != c.pid() {
		t.Errorf("running: %t, %+v", c.running(), r)
	}
	wantResult(t, ask(t, e, request(actionv1.StopContainer, "nothing-of-that-name")), actionv1.Refused, CodeNoTarget)
	wantResult(t, ask(t, e, request(actionv1.StopContainer, id[:11])), actionv1.Refused, CodeNoTarget) // too short to be meant
	box(t, true, id[:12]+containerID(t)[12:])
	wantResult(t, ask(t, e, request(actionv1.StopContainer, id[:12])), actionv1.Refused, CodeAmbiguous)
}

func TestParseMount(t *testing.T) {
	for line, want := range map[string]hierarchy{
		"35 25 0:29 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate": {"/sys/fs/cgroup", true},
		"36 25 0:30 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer":              {"/sys/fs/cgroup/freezer", false},
		`36 25 0:30 / /mnt/a\040b rw - cgroup2 none rw`:                                  {"/mnt/a b", true},
		"36 25 0:30 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu":                      {},
		"36 25 0:30 / /proc rw - proc proc rw":                                           {},
		"":                                                                               {},
	} {
		h, ok := parseMount(line)
		if ok != (want.mount != "") || ok && h != want {
			t.Errorf("%q: %+v, %t", line, h, ok)
		}
	}
}
