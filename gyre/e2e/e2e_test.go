// Package e2e holds no code: its tests run the real programs, as users start them.
package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gyre-sec/gyre/bus/bustest"
	"github.com/gyre-sec/gyre/sink/clickhouse/embedded"
)

// bin is where TestMain builds the programs.
var bin string

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == embedded.ChildArg {
		os.Exit(embedded.ChildMain(os.Args[2:]))
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "gyre-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := os.Chmod(dir, 0o755); err != nil { // for the test without privilege
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	bin = dir
	const mod = "github.com/gyre-sec/gyre/"
	build := exec.Command("go", "build", "-o", dir+"/", mod+"gyre/cmd/gyre", mod+"collector/cmd/gyre-collector", mod+"enricher/cmd/gyre-enricher", mod+"evaluator/cmd/gyre-evaluator", mod+"sink/cmd/gyre-sink")
	build.Dir = "../.." // the workspace, which knows all modules
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build programs: %v\n%s", err, out)
		return 1
	}
	if _, err := embedded.Fetch(context.Background(), bustest.Log()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("this test watches the kernel and needs root")
	}
	t.Skip("SKIPPED: this test watches the kernel and needs root")
}

// buffer collects output and can be read meanwhile.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// process is a program under test.
type process struct {
	cmd      *exec.Cmd
	out, err buffer
	done     chan error
}

func start(t *testing.T, env []string, name string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(filepath.Join(bin, name), args...), done: make(chan error, 1)}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.err
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.done <- p.cmd.Wait() }()
	t.Cleanup(func() { p.kill() })
	return p
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	select {
	case <-p.done:
	case <-time.After(10 * time.Second):
	}
}

// stop asks the program to end and returns what it said.
func (p *process) stop(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-p.done:
		if err != nil {
			t.Errorf("%s: %v\n%s", p.cmd.Path, err, p.err.String())
		}
		p.done <- nil
	case <-time.After(30 * time.Second):
		t.Errorf("%s did not stop in 30 s", p.cmd.Path)
	}
}

// gyre runs a command to its end.
func gyre(args ...string) (stdout, stderr string, err error) {
	cmd := exec.Command(filepath.Join(bin, "gyre"), args...)
	var out, errb bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errb
	err = cmd.Run()
	return out.String(), errb.String(), err
}

// eventually polls until ok returns nil.
func eventually(t *testing.T, what string, ok func() error) {
	t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for {
		err := ok()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s did not happen in 2 minutes: %v", what, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func ready(t *testing.T, dir string) {
	t.Helper()
	eventually(t, "gyre up", func() error { _, e, err := gyre("status", "--data-dir", dir); return says(err, e) })
}

func says(err error, stderr string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %s", err, stderr)
}

type alert struct {
	ID      string
	RuleID  string `json:"rule_id"`
	Lineage []struct{ Name string }
}

// shadowAlert waits until the alert of a shell's `cat /etc/shadow` is stored.
func shadowAlert(t *testing.T, dir string) alert {
	t.Helper()
	var found alert
	eventually(t, "the alert", func() error {
		out, e, err := gyre("alerts", "--json", "--data-dir", dir, "--rule", "read-sensitive-file")
		if err != nil {
			return says(err, e)
		}
		for line := range strings.Lines(out) {
			var a alert
			if err := json.Unmarshal([]byte(line), &a); err != nil {
				return err
			}
			if len(a.Lineage) > 1 && a.Lineage[0].Name == "cat" && a.Lineage[1].Name == "sh" {
				found = a
				return nil
			}
		}
		return errors.New("not stored")
	})
	return found
}

func TestUp(t *testing.T) {
	needRoot(t)
	dir := filepath.Join(t.TempDir(), "data")
	up := start(t, nil, "gyre", "up", "--json", "--data-dir", dir)
	ready(t, dir)
	if out, err := exec.Command("sh", "-c", "cat /etc/shadow >/dev/null; :").CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	a := shadowAlert(t, dir)
	eventually(t, "the alert on standard output", func() error {
		if !strings.Contains(up.out.String(), a.ID) {
			return errors.New("not there")
		}
		return nil
	})
	for _, tc := range []struct{ args, want string }{
		{"query --format csv SELECT%count()>0%AS%n%FROM%alerts%WHERE%rule_id='read-sensitive-file'", "n\n1\n"},
		{"query --format json SELECT%1%AS%n", `{"n":1}`},
		{"query SELECT%1%AS%n", "1 rows"},
		{"alerts show " + a.ID, "/etc/shadow"},
		{"status", "read"},
		{"events --since 5m -n 1 --filter fd.name%==%\"/etc/shadow\"%&&%proc.name%==%\"cat\"", `"proc.pname":"sh"`},
	} {
		args := strings.Fields(tc.args)
		for i := range args {
			args[i] = strings.ReplaceAll(args[i], "%", " ")
		}
		out, stderr, err := gyre(append(args, "--data-dir", dir)...)
		if err != nil || args[0] != "status" && !strings.Contains(out, tc.want) {
			t.Errorf("gyre %v: %v\n%s%swant %q", args, err, out, stderr, tc.want)
		}
		if args[0] == "status" && !regexp.MustCompile(`rules +\d+ loaded`).MatchString(out) {
			t.Errorf("gyre status:\n%s", out)
		}
	}
	_, stderr, err := gyre("up", "--data-dir", dir)
	if err == nil || !strings.Contains(stderr, fmt.Sprint("process ", up.cmd.Process.Pid)) {
		t.Errorf("a second gyre up on the same data: %v %s", err, stderr)
	}
	up.stop(t)
	if left, _ := exec.Command("pgrep", "-f", dir).Output(); len(left) > 0 { // exit code 1 is the good case
		t.Errorf("still running: %s", left)
	}
	up = start(t, nil, "gyre", "up", "--data-dir", dir)
	ready(t, dir)
	if out, _, err := gyre("alerts", "--data-dir", dir); err != nil || !strings.Contains(out, a.ID) {
		t.Errorf("yesterday's alert is gone: %v\n%s", err, out)
	}
	up.stop(t)
}

func TestRefusals(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	badRule := write("rules/bad.yaml", "rules:\n  - id: x\n    name: X\n    description: X\n    condition: proc.name == 7\n    output: x\n    priority: notice\n")
	for _, tc := range []struct {
		name string
		args []string
		want string
		hint bool
	}{
		{"unknown key", []string{"up", "--config", write("c.yaml", "collector:\n  mod: auto\n")}, "c.yaml:2:3", true},
		{"bad rule", []string{"up", "--set", "evaluator.dirs=" + filepath.Dir(badRule)}, "bad.yaml:5:", false},
		{"taken port", []string{"up", "--set", "up.nats.listen=" + l.Addr().String()}, "address is not available", true},
		{"no address of ClickHouse", []string{"up", "--clickhouse", "127.0.0.1:1"}, "clickhouse", true},
		{"no NATS there", []string{"up", "--nats", "nats://127.0.0.1:1"}, "connect to NATS", true},
		{"nothing runs", []string{"status"}, "no instance is running", true},
		{"bad query format", []string{"query", "--format", "xml", "SELECT 1"}, "xml", false},
		{"rules check", []string{"rules", "check", badRule}, "bad.yaml:5:", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			data := filepath.Join(t.TempDir(), "data")
			args := tc.args
			if args[0] != "rules" {
				args = append(args, "--data-dir", data)
			}
			_, stderr, err := gyre(args...)
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(stderr, tc.want) || tc.hint && !strings.Contains(stderr, "hint:") {
				t.Errorf("%v: %v\n%s\nwant %q", args, err, stderr, tc.want)
			}
			if _, err := os.Stat(filepath.Join(data, "run.json")); err == nil {
				t.Error("run.json is left")
			}
			if left, _ := exec.Command("pgrep", "-f", data).Output(); len(left) > 0 { // exit code 1 is the good case
				t.Errorf("still running: %s", left)
			}
		})
	}
}

// TestUpWithoutClickHouse: everything but storage works while ClickHouse is away, and the status says what to do.
func TestUpWithoutClickHouse(t *testing.T) {
	needRoot(t)
	data := filepath.Join(t.TempDir(), "data")
	p := start(t, nil, "gyre", "up", "--data-dir", data, "--clickhouse", "clickhouse://127.0.0.1:1/default")
	eventually(t, "the state of storage", func() error {
		out, stderr, err := gyre("status", "--data-dir", data)
		if !strings.Contains(out, "unreachable") || !strings.Contains(out, "sink.clickhouse.dsn") {
			return fmt.Errorf("%w: %s%s\n%s", err, out, stderr, p.err.String())
		}
		return nil
	})
	opens("/etc/shadow", 1) // by a program that has no business there
	eventually(t, "an alert", func() error {
		if out := p.out.String(); !strings.Contains(out, "/etc/shadow") {
			return errors.New(out)
		}
		return nil
	})
	p.stop(t)
}

func TestWithoutPrivilege(t *testing.T) {
	needRoot(t)
	dir, err := os.MkdirTemp("/var/tmp", "gyre-e2e-nobody-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	const nobody = 65534
	if err := os.Chown(dir, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(bin, "gyre"), "up", "--data-dir", filepath.Join(dir, "data"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	cmd.Env = []string{"HOME=" + dir, "PATH=" + os.Getenv("PATH")}
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "not enough privilege") || !strings.Contains(string(out), "--no-collector") {
		t.Errorf("%v\n%s", err, out)
	}
	if _, err := os.Stat(filepath.Join(dir, "data")); err == nil {
		t.Error("something was started: the data directory is there")
	}
}
