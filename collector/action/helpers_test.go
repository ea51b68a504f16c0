package action

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/bus/bustest"
	"github.com/gyre-sec/gyre/collector/procfs"
	"github.com/gyre-sec/gyre/schemas/actionv1"
)

const testNode = "node-1"

// root skips tests that act on other processes or control groups.
func root(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		skip(t, "not root: run as root")
	}
}

// skip says why loudly; where everything must run it is a failure.
func skip(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("cannot be skipped here: %s", why)
	}
	t.Skip("SKIPPED: " + why)
}

func newKey(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed([]byte(strings.Repeat(string(rune('a'+seed)), ed25519.SeedSize)))
}

func public(k ed25519.PrivateKey) string {
	p, _ := k.Public().(ed25519.PublicKey)
	return base64.StdEncoding.EncodeToString(p)
}

const everything = "    - actions: [kill, kill_tree, pause_container, resume_container, stop_container]\n"

// policyText is a policy that trusts key 0 under the name ada and allows what is given; rest is below actions.
func policyText(allow, rest string) string {
	return fmt.Sprintf("actions:\n  keys:\n    - name: ada\n      public_key: %s\n  allow:\n%s%s", public(newKey(0)), allow, rest)
}

func writePolicy(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
}

// newTest returns an executor with a policy and no table, and what it reports.
func newTest(t *testing.T, policy string) (*Executor, *[]actionv1.Result) {
	t.Helper()
	return newTestOn(t, nil, policy)
}

func newTestOn(t *testing.T, b *bus.Bus, policy string) (*Executor, *[]actionv1.Result) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "policy.yaml")
	if policy != "" {
		writePolicy(t, file, policy)
	}
	reports := &[]actionv1.Result{}
	e, err := New(Config{Node: testNode, PolicyFile: file, Report: func(r actionv1.Result) { *reports = append(*reports, r) }}, b, bustest.Log(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	e.started = e.started.Add(-time.Hour) // tests sign requests of any age
	return e, reports
}

// request is a valid request of now.
func request(a actionv1.Action, target string) actionv1.Request {
	now := time.Now()
	return actionv1.Request{ID: actionv1.NewID(), Node: testNode, Action: a, Target: target, Reason: "test", IssuedAt: now.Add(-time.Second).UnixNano(), ExpiresAt: now.Add(time.Minute).UnixNano()}
}

func sign(t *testing.T, r actionv1.Request, k ed25519.PrivateKey) []byte {
	t.Helper()
	m, err := actionv1.Sign(&r, k)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// ask signs a request with key 0 and has it decided.
func ask(t *testing.T, e *Executor, r actionv1.Request) actionv1.Result {
	t.Helper()
	return decide(t, e, sign(t, r, newKey(0)))
}

func decide(t *testing.T, e *Executor, message []byte) actionv1.Result {
	t.Helper()
	r, wait, ok := e.Decide(t.Context(), message, uint64(time.Now().UnixNano()))
	if wait != 0 || !ok {
		t.Fatalf("undecided: wait %s, %t", wait, ok)
	}
	return r
}

func wantResult(t *testing.T, r actionv1.Result, s actionv1.Status, code string) {
	t.Helper()
	if r.Status != s || r.Code != code {
		t.Errorf("%s %q (%s), want %s %q", r.Status, r.Code, r.Reason, s, code)
	}
}

// child is a process of a test. Its end is noticed at once, so that it is no zombie for long.
type child struct {
	*exec.Cmd
	lines *bufio.Scanner
	done  chan struct{}
}

// start starts a program in a session of its own; it is killed with the test.
func start(t *testing.T, name string, args ...string) *child {
	t.Helper()
	return startCmd(t, exec.CommandContext(context.WithoutCancel(t.Context()), name, args...))
}

func startCmd(t *testing.T, cmd *exec.Cmd) *child {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &child{cmd, bufio.NewScanner(out), make(chan struct{})}
	go func() {
		_, _ = cmd.Process.Wait()
		close(c.done)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-c.done
	})
	return c
}

func (c *child) running() bool {
	select {
	case <-c.done:
		return false
	default:
		return true
	}
}

func (c *child) pid() uint32 { return uint32(c.Process.Pid) }

// execID names a running process, as exactly as /proc tells.
func execID(t *testing.T, pid uint32) actionv1.ExecID {
	t.Helper()
	boot, err := procfs.Host{}.BootID()
	if err != nil {
		t.Fatal(err)
	}
	s, err := readStat(pid)
	if err != nil {
		t.Fatal(err)
	}
	return actionv1.ExecID{Node: testNode, Boot: boot[:8], Start: s.start*tick + 1234, PID: pid, Execs: 2}
}

// eventually waits for a condition; it says after a long while that it did not come.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !cond(); pause(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not after 20 s: %s", what)
		}
	}
}
