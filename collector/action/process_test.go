package action

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/gyre-sec/gyre/collector/proctable"
	"github.com/gyre-sec/gyre/schemas/actionv1"
	"github.com/gyre-sec/gyre/schemas/eventv1"
)

// withTable gives an executor a process table.
func withTable(e *Executor, fill func(*proctable.Table)) {
	e.cfg.Table = func(_ context.Context, use func(*proctable.Table)) error {
		t := proctable.New(proctable.DefaultConfig())
		fill(t)
		use(t)
		return nil
	}
}

func row(id actionv1.ExecID) proctable.Facts {
	return proctable.Facts{Exe: "/known", Row: eventv1.Proc{PID: id.PID, Start: id.Start, ExecCount: id.Execs}}
}

func TestKill(t *testing.T) {
	e, reports := newTest(t, policyText(everything, ""))
	c := start(t, "sleep", "1000")
	id := execID(t, c.pid())
	other := start(t, "sleep", "1000")
	withTable(e, func(pt *proctable.Table) { pt.Add(row(id)) })
	r := ask(t, e, request(actionv1.Kill, id.String()))
	wantResult(t, r, actionv1.Executed, "")
	<-c.done
	if r.HitCount != 1 || len(r.Hits) != 1 || r.Hits[0] != (actionv1.Hit{ExecID: id.String(), PID: c.pid()}) || r.KeyName != "ada" || r.Why != "test" {
		t.Errorf("result %+v", r)
	}
	if len(*reports) != 1 || !other.running() {
		t.Errorf("%d reports; another process runs: %t", len(*reports), other.running())
	}
	wantResult(t, ask(t, e, request(actionv1.Kill, id.String())), actionv1.Refused, CodeNoTarget)
}

// TestReusedPID: an exec id whose pid is another process's by now hits nothing.
func TestReusedPID(t *testing.T) {
	e, _ := newTest(t, policyText(everything, ""))
	c := start(t, "sleep", "1000")
	id := execID(t, c.pid())
	refused := func(code string, change func(*actionv1.ExecID)) actionv1.Result {
		t.Helper()
		x := id
		change(&x)
		r := ask(t, e, request(actionv1.Kill, x.String()))
		wantResult(t, r, actionv1.Refused, code)
		return r
	}
	refused(CodeReused, func(x *actionv1.ExecID) { x.Start -= tick })
	refused(CodeReused, func(x *actionv1.ExecID) { x.Start += tick })
	refused(CodeOtherBoot, func(x *actionv1.ExecID) { x.Boot = "00000000" })
	refused(CodeForeignNode, func(x *actionv1.ExecID) { x.Node = "node-2" })
	// The table knows the start exactly, and what is executed: the same tick is not enough then.
	withTable(e, func(pt *proctable.Table) { pt.Add(row(id)) })
	refused(CodeReused, func(x *actionv1.ExecID) { x.Start++ })
	if r := refused(CodeChanged, func(x *actionv1.ExecID) { x.Execs-- }); !strings.Contains(r.Reason, id.String()) {
		t.Errorf("the exec id of now is not in %q", r.Reason)
	}
	if !c.running() {
		t.Fatal("it was killed all the same")
	}
	wantResult(t, ask(t, e, request(actionv1.Kill, id.String())), actionv1.Executed, "")
}

func TestNeverHit(t *testing.T) {
	root(t)
	e, _ := newTest(t, policyText(everything, ""))
	c := start(t, "sleep", "1000")
	target := func(pid uint32) string { return execID(t, pid).String() }
	wantProtected := func(a actionv1.Action, pid uint32, why string) {
		t.Helper()
		r := ask(t, e, request(a, target(pid)))
		wantResult(t, r, actionv1.Refused, CodeProtected)
		if !strings.Contains(r.Reason, why) {
			t.Errorf("reason %q, want %q in it", r.Reason, why)
		}
	}
	wantProtected(actionv1.Kill, uint32(os.Getpid()), "the collector")
	wantProtected(actionv1.KillTree, uint32(os.Getppid()), "a part of gyre")
	if s, err := readStat(1); err == nil && s.pid == 1 {
		wantProtected(actionv1.Kill, 1, "process 1")
	}
	if s, err := readStat(2); err == nil && s.flags&kernelThread != 0 {
		wantProtected(actionv1.Kill, 2, "thread of the kernel")
	} else {
		t.Log("no thread of the kernel is visible in this pid namespace: not tried")
	}
	e.cfg.Protect = []uint32{c.pid()}
	wantProtected(actionv1.Kill, c.pid(), "part of gyre")
	e.cfg.Protect = nil
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", c.pid()))
	if err != nil {
		t.Fatal(err)
	}
	writePolicy(t, e.cfg.PolicyFile, policyText(everything, "  protect: {exes: ["+exe+"]}\n"))
	if err := e.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantProtected(actionv1.Kill, c.pid(), "the policy protects")
	writePolicy(t, e.cfg.PolicyFile, policyText(everything, "  protect: {pids: ["+strconv.Itoa(int(c.pid()))+"]}\n"))
	if err := e.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantProtected(actionv1.Kill, c.pid(), "its pid")
	if !c.running() {
		t.Error("it was killed all the same")
	}
}

func TestPolicyDecides(t *testing.T) {
	for _, tc := range []struct {
		name, policy string
		status       actionv1.Status
		code         string
	}{
		{"no policy", "", actionv1.Refused, CodeUnknownKey},
		{"nothing allowed", policyText(everything, "")[:strings.Index(policyText(everything, ""), "  allow:")], actionv1.Refused, CodeNotAllowed},
		{"another action", policyText("    - actions: [kill_tree]\n", ""), actionv1.Refused, CodeNotAllowed},
		{"another program", policyText("    - actions: [kill]\n      exes: [/opt/**]\n", ""), actionv1.Refused, CodeOutOfScope},
		{"containers only", policyText("    - actions: [kill]\n      containers_only: true\n", ""), actionv1.Refused, CodeOutOfScope},
		{"another user", policyText("    - actions: [kill]\n      users: [54321]\n", ""), actionv1.Refused, CodeOutOfScope},
		{"dry run", policyText(everything, "  dry_run: true\n"), actionv1.Refused, CodeDryRun},
		{"this program", policyText("    - actions: [kill]\n      exes: [\"**/sleep\", \"**/coreutils\", \"**/busybox\"]\n", ""), actionv1.Executed, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e, _ := newTest(t, tc.policy)
			c := start(t, "sleep", "1000")
			r := ask(t, e, request(actionv1.Kill, execID(t, c.pid()).String()))
			wantResult(t, r, tc.status, tc.code)
			if tc.status == actionv1.Executed {
				<-c.done
			} else if !c.running() {
				t.Error("it was killed all the same")
			}
			if r.DryRun != (tc.code == CodeDryRun) || r.DryRun && len(r.Hits) != 1 {
				t.Errorf("dry run: %+v", r)
			}
		})
	}
}

// TestScopedKey: a key may only do what entries for it allow.
func TestScopedKey(t *testing.T) {
	text := policyText("    - actions: [kill]\n      keys: [bob]\n    - actions: [kill_tree]\n      keys: [ada]\n", "")
	text = strings.Replace(text, "  allow:", "    - name: bob\n      public_key: "+public(newKey(1))+"\n  allow:", 1)
	e, _ := newTest(t, text)
	c := start(t, "sleep", "1000")
	req := request(actionv1.Kill, execID(t, c.pid()).String())
	wantResult(t, ask(t, e, req), actionv1.Refused, CodeNotAllowed)
	req.ID = actionv1.NewID()
	r := decide(t, e, sign(t, req, newKey(1)))
	wantResult(t, r, actionv1.Executed, "")
	if r.KeyName != "bob" {
		t.Errorf("key %q", r.KeyName)
	}
}

// inSession finds the live processes of a session.
func inSession(t *testing.T, sid uint32) []uint32 {
	t.Helper()
	all, err := processes()
	if err != nil {
		t.Fatal(err)
	}
	var out []uint32
	for pid, s := range all {
		if s.session == sid {
			out = append(out, pid)
		}
	}
	return out
}

// forker starts a shell that leads a session and keeps forking; it returns when it has begun to.
func forker(t *testing.T, script string, stdin ...*os.File) *child {
	t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), "sh", "-c", "echo started; "+script)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if len(stdin) > 0 {
		cmd.Stdin = stdin[0]
	}
	c := startCmd(t, cmd)
	t.Cleanup(func() {
		for range 100 { // whatever the test did: nothing is left behind
			left := inSession(t, c.pid())
			if len(left) == 0 {
				return
			}
			for _, pid := range left {
				_ = syscall.Kill(int(pid), syscall.SIGKILL)
			}
		}
	})
	if !c.lines.Scan() {
		t.Fatal("the shell did not start")
	}
	return c
}

// TestKillTree: a shell that forks as fast as it can, with children that fork and orphans, is gone with all of them.
func TestKillTree(t *testing.T) {
	for name, script := range map[string]string{
		"keeps forking":    "while :; do sleep 1000 & sleep 0.01; done",
		"forks deep":       "while :; do sh -c 'sh -c \"sleep 1000 & wait\" & wait' & sleep 0.02; done",
		"leaves orphans":   "while :; do (sleep 1000 & exit) ; sleep 0.01; done",
		"chain of orphans": "next() { (sleep 0.01; next) & }; next; while :; do sleep 1; done",
	} {
		t.Run(name, func(t *testing.T) {
			e, _ := newTest(t, policyText(everything, ""))
			bystander := start(t, "sleep", "1000")
			c := forker(t, script)
			eventually(t, "ten processes, or a chain", func() bool {
				return len(inSession(t, c.pid())) >= 10 || name == "chain of orphans" && len(inSession(t, c.pid())) >= 2
			})
			r := ask(t, e, request(actionv1.KillTree, execID(t, c.pid()).String()))
			wantResult(t, r, actionv1.Executed, "")
			<-c.done
			if left := inSession(t, c.pid()); len(left) > 0 {
				t.Errorf("%d processes are left of %d: %v (%s)", len(left), r.HitCount, left, r.Reason)
			}
			if r.HitCount < 2 || r.Hits[0].PID != c.pid() || r.Hits[0].ExecID != r.Target {
				t.Errorf("%d hits, first %+v", r.HitCount, r.Hits[0])
			}
			if !bystander.running() {
				t.Error("a process that is none of its descendants was killed")
			}
		})
	}
}

// TestKillTreeByTable: a descendant in a session of its own whose parent has ended is found by the lineage that the table keeps.
func TestKillTreeByTable(t *testing.T) {
	e, _ := newTest(t, policyText(everything, ""))
	c := forker(t, "(setsid sh -c 'echo $$; exec sleep 1000' &) ; sleep 1000")
	if !c.lines.Scan() {
		t.Fatal("no orphan")
	}
	n, err := strconv.Atoi(c.lines.Text())
	if err != nil {
		t.Fatal(err)
	}
	orphan := uint32(n)
	t.Cleanup(func() { _ = syscall.Kill(n, syscall.SIGKILL) })
	eventually(t, "the orphan is adopted", func() bool {
		s, err := readStat(orphan)
		return err == nil && s.ppid != c.pid()
	})
	rootID, orphanID := execID(t, c.pid()), execID(t, orphan)
	withTable(e, func(pt *proctable.Table) {
		p := pt.Add(row(rootID))
		middle := pt.Fork(p, proctable.Key{PID: 1 << 30, Start: rootID.Start + 1}, nil)
		pt.Fork(middle, proctable.Key{PID: orphan, Start: orphanID.Start}, nil)
	})
	r := ask(t, e, request(actionv1.KillTree, rootID.String()))
	wantResult(t, r, actionv1.Executed, "")
	if _, err := readStat(orphan); err == nil {
		s, _ := readStat(orphan)
		if !s.dead() {
			t.Errorf("the orphan lives: %+v", s)
		}
	}
	found := false
	for _, h := range r.Hits {
		found = found || h.PID == orphan && strings.HasSuffix(h.ExecID, fmt.Sprintf(":%d:%d:2", orphanID.Start, orphan))
	}
	if !found {
		t.Errorf("hits %+v", r.Hits)
	}
}

// TestKillTreeScope: descendants that the policy does not permit are left alone and running, and the result says so.
func TestKillTreeScope(t *testing.T) {
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	copied := t.TempDir() + "/protected"
	data, err := os.ReadFile(sleep)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(copied, data, 0o700); err != nil { //nolint:gosec // it must be executable
		t.Fatal(err)
	}
	e, _ := newTest(t, policyText(everything, "  protect: {exes: ["+copied+"]}\n"))
	c := forker(t, copied+" 1000 & echo $!; sleep 1000 & wait")
	if !c.lines.Scan() {
		t.Fatal("no child")
	}
	n, err := strconv.Atoi(c.lines.Text())
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "both children execute", func() bool {
		exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", n))
		return exe == copied && len(inSession(t, c.pid())) == 3
	})
	r := ask(t, e, request(actionv1.KillTree, execID(t, c.pid()).String()))
	wantResult(t, r, actionv1.Executed, "")
	s, err := readStat(uint32(n))
	if err != nil || s.dead() || s.state == 'T' || r.HitCount != 2 || !strings.Contains(r.Reason, "left 1 descendants alone") {
		t.Errorf("the protected one: %+v, %v; result %s, %d hits", s, err, r.Reason, r.HitCount)
	}
}

func TestKillTreeDryRun(t *testing.T) {
	e, _ := newTest(t, policyText(everything, "  dry_run: true\n"))
	c := forker(t, "sh -c 'sleep 1000 & wait' & wait")
	eventually(t, "three processes", func() bool { return len(inSession(t, c.pid())) == 3 })
	r := ask(t, e, request(actionv1.KillTree, execID(t, c.pid()).String()))
	wantResult(t, r, actionv1.Refused, CodeDryRun)
	if !r.DryRun || r.HitCount != 3 || len(inSession(t, c.pid())) != 3 {
		t.Errorf("%+v; %d run", r, len(inSession(t, c.pid())))
	}
	for _, pid := range inSession(t, c.pid()) {
		if s, err := readStat(pid); err != nil || s.state == 'T' {
			t.Errorf("process %d: %+v, %v", pid, s, err)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("42 (a) b (c) S 7 40 41 34817 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 12345 1 2"))
	f.Add([]byte(")"))
	f.Fuzz(func(_ *testing.T, data []byte) { _, _ = parseStat(1, data) })
}

func TestParseStat(t *testing.T) {
	s, err := parseStat(42, []byte("42 (a) b (c) S 7 40 41 34817 -1 4194560 1 2 3 4 5 6 7 8 20 0 3 0 12345 1 2"))
	want := stat{pid: 42, ppid: 7, session: 41, state: 'S', threads: 3, flags: 4194560, start: 12345}
	if err != nil || s != want {
		t.Errorf("%+v, %v", s, err)
	}
	for _, bad := range []string{"", "42 (a) S 7", "42 (a) S x 40 41 34817 -1 4194560 1 2 3 4 5 6 7 8 20 0 3 0 12345 1 2"} {
		if _, err := parseStat(42, []byte(bad)); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}
