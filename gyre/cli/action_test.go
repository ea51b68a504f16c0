package cli

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/bus/bustest"
	"github.com/gyre-sec/gyre/collector"
	"github.com/gyre-sec/gyre/schemas/actionv1"
	"github.com/gyre-sec/gyre/schemas/eventv1"
	"github.com/gyre-sec/gyre/schemas/subject"
)

// gyre runs a command line.
func gyre(args ...string) (code int, out, errs string) {
	var o, e bytes.Buffer
	code = Main(args, &o, &e)
	return code, o.String(), e.String()
}

func TestActionKeys(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ada.key")
	code, out, errs := gyre("action", "keygen", file)
	if code != 0 {
		t.Fatal(errs)
	}
	key, err := loadKey(file)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode of the private key: %v, %v", info.Mode(), err)
	}
	if pub := base64.StdEncoding.EncodeToString(key[32:]); !strings.Contains(out, "public_key: "+pub) {
		t.Errorf("%s\nwithout %s", out, pub)
	}
	if code, _, errs = gyre("action", "keygen", file); code != 1 || !strings.Contains(errs, "hint: name another file") {
		t.Errorf("a key was overwritten: %d %s", code, errs)
	}
	if again, err := loadKey(file); err != nil || !again.Equal(key) {
		t.Errorf("the key changed: %v", err)
	}
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := loadKey(file); err == nil || !strings.Contains(err.Error(), "read by others") {
		t.Errorf("a key that others can read: %v", err)
	}
	if err := os.WriteFile(file+"2", []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{file + "2", file + "3"} {
		if _, err := loadKey(bad); err == nil {
			t.Errorf("%s was read", bad)
		}
	}
}

func TestActionUsage(t *testing.T) {
	file := filepath.Join(t.TempDir(), "k")
	if code, _, errs := gyre("action", "keygen", file); code != 0 {
		t.Fatal(errs)
	}
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"kill", "--exec-id", "n:b:1:2:3", "--key", file}, `"reason" not set`},
		{[]string{"kill", "--exec-id", "42", "--reason", "x", "--key", file}, "no exec id"},
		{[]string{"kill", "--exec-id", "n:b:1:2:3", "--reason", "x", "--key", file + "x"}, "gyre action keygen"},
		{[]string{"stop-container", "--container", "c", "--reason", "x", "--key", file}, `"node" not set`},
		{[]string{"kill", "--exec-id", "n:b:1:2:3", "--reason", "x", "--key", file, "--wait", "-1s"}, "--wait"},
	} {
		if code, _, errs := gyre(append([]string{"action"}, tc.args...)...); code != 1 || !strings.Contains(errs, tc.want) {
			t.Errorf("%v: %d %s, want %q", tc.args, code, errs, tc.want)
		}
	}
}

// fleet is a NATS server and, if asked for, this host's collector on it.
type fleet struct {
	bus *bus.Bus
	url string
	key string
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	srv := bustest.Start(t)
	f := &fleet{bus: srv.Connect(), url: "nats://" + srv.Token() + "@" + strings.TrimPrefix(srv.URL(), "nats://"), key: filepath.Join(t.TempDir(), "key")}
	if code, _, errs := gyre("action", "keygen", f.key); code != 0 {
		t.Fatal(errs)
	}
	return f
}

func (f *fleet) action(args ...string) (int, string, string) {
	return gyre(append(append([]string{"action"}, args...), "--nats", f.url)...)
}

func (f *fleet) policy(t *testing.T, more string) string {
	t.Helper()
	key, err := loadKey(f.key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "policy.yaml")
	text := fmt.Sprintf("actions:\n  keys:\n    - {name: ada, public_key: %q}\n  allow:\n    - actions: [kill, kill_tree]\n%s", base64.StdEncoding.EncodeToString(key[32:]), more)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestActionWithoutAnswer(t *testing.T) {
	f := newFleet(t)
	kill := []string{"kill", "--exec-id", "nobody:b:1:2:3", "--reason", "x", "--key", f.key}
	if code, _, errs := f.action(append(kill, "--wait", "100ms")...); code != int(exitNoAnswer) || !strings.Contains(errs, "collector.actions_policy") {
		t.Errorf("%d %s", code, errs)
	}
	if code, out, errs := f.action(append(kill, "--wait", "0", "--json")...); code != 0 || !strings.Contains(out, `"status":"sent"`) {
		t.Errorf("%d %s %s", code, out, errs)
	}
	// An answer to a message that merely repeats the id is none.
	forged := actionv1.Result{RequestID: actionv1.NewID(), Node: "nobody", Status: actionv1.Executed}
	if err := f.bus.NewPublisher(bus.PublisherConfig{Stage: "test"}).Publish(t.Context(), bus.Message{Subject: subject.ActionResult("nobody"), Data: forged.Marshal()}); err != nil {
		t.Fatal(err)
	}
	if code, _, _ := f.action(append(kill, "--wait", "300ms")...); code != int(exitNoAnswer) {
		t.Errorf("exit code %d", code)
	}
	if code, out, errs := f.action("list"); code != 0 || strings.Count(out, "\n") != 1 || !strings.Contains(out, "not proved") {
		t.Errorf("%d %s %s", code, out, errs)
	}
}

// TestActionOnThisKernel: a process that the collector saw starting is killed by the exec id that events give it.
func TestActionOnThisKernel(t *testing.T) {
	f := newFleet(t)
	cfg := collector.DefaultConfig()
	cfg.Node, cfg.ActionsPolicy = "this.node", f.policy(t, "")
	src, err := collector.Open(cfg)
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("cannot be skipped here: %v", err)
		}
		t.Skipf("SKIPPED: this host cannot be watched: %v", err)
	}
	c, err := collector.New(cfg, src, f.bus, bustest.Log(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	waitFor(t, "the node listens for requests", func() bool {
		st, err := f.bus.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range st {
			if s.Name == bus.StreamActions && len(s.Consumers) == 1 {
				return c.Ready() == nil
			}
		}
		return false
	})
	victim, bystander := startVictim(t, "sleep", "1000"), startVictim(t, "sleep", "1001")
	id := f.execID(t, uint32(victim.Process.Pid))
	stale := id[:strings.LastIndex(id, ":")] + ":1"
	code, out, errs := f.action("kill", "--exec-id", stale, "--reason", "stale id", "--key", f.key, "--wait", "30s")
	if code != int(exitRefused) || !strings.Contains(out, "refused   kill  on this.node  executed_other") || !strings.Contains(out, id) {
		t.Errorf("%d %s %s", code, out, errs)
	}
	code, out, errs = f.action("kill", "--exec-id", id, "--reason", "INC-42", "--key", f.key, "--wait", "30s", "--json")
	var r struct {
		Status  string         `json:"status"`
		KeyName string         `json:"key_name"`
		Hits    []actionv1.Hit `json:"hits"`
	}
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != 0 || r.Status != "executed" || r.KeyName != "ada" || len(r.Hits) != 1 || r.Hits[0].ExecID != id {
		t.Fatalf("%d %s %s %v", code, out, errs, err)
	}
	if err := victim.Wait(); err == nil || !victim.ProcessState.Sys().(syscall.WaitStatus).Signaled() {
		t.Errorf("the process ended otherwise: %v", victim.ProcessState)
	}
	// A tree whose orphan has left the session: only the lineage that the collector keeps leads to it.
	tree := startVictim(t, "sh", "-c", "(setsid sleep 1002 &) ; sleep 1003 & wait")
	root := f.execID(t, uint32(tree.Process.Pid))
	f.exec(t, "sleep 1002")
	f.exec(t, "sleep 1003")
	code, out, errs = f.action("kill-tree", "--exec-id", root, "--reason", "INC-43", "--key", f.key, "--wait", "30s")
	if code != 0 || !strings.Contains(out, "killed 3 processes") || strings.Count(out, "  pid ") != 3 || strings.Count(out, "  this.node:") != 3 {
		t.Errorf("%d %s %s", code, out, errs)
	}
	_ = tree.Wait()
	if err := bystander.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("the bystander: %v", err)
	}
	// What was done and what was refused are events too, of the process that was meant.
	want := map[string]string{"kill executed " + id: "sleep 1000", "kill refused " + stale: "sleep 1000", "kill_tree executed " + root: "sh -c (setsid sleep 1002 &) ; sleep 1003 & wait"}
	f.events(t, "events of the actions", func(b *eventv1.Batch, e *eventv1.Event) bool {
		if e.Kind == eventv1.ResponseAction {
			text := func(i int) string { return b.Text(e.Str(i)) }
			what := text(0) + " " + text(1) + " " + text(4)
			if cmdline := b.Cmdline(e.Proc); cmdline != want[what] || (text(1) == "executed") != (e.Ret == 0) {
				t.Errorf("%s: of %q, result %d", what, cmdline, e.Ret)
			}
			delete(want, what)
		}
		return len(want) == 0
	})
	// What SIGHUP calls: a new policy takes effect at once, a bad one leaves it in force.
	for _, more := range []string{"  dry_run: true\n", "  dry_run: perhaps\n"} {
		if err := os.Rename(f.policy(t, more), cfg.ActionsPolicy); err != nil {
			t.Fatal(err)
		}
		if err := c.ReloadActions(t.Context()); (err != nil) != strings.Contains(more, "perhaps") || err != nil && !strings.Contains(err.Error(), cfg.ActionsPolicy+":6:12") {
			t.Errorf("reload with %q: %v", more, err)
		}
	}
	code, out, errs = f.action("kill", "--exec-id", f.execID(t, uint32(bystander.Process.Pid)), "--reason", "INC-44", "--key", f.key, "--wait", "30s")
	if code != int(exitRefused) || !strings.Contains(out, "dry_run") || !strings.Contains(out, "would have been killed") {
		t.Errorf("%d %s %s", code, out, errs)
	}
	if err := bystander.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("the bystander after a dry run: %v", err)
	}
	code, out, errs = f.action("list", "--node", "this.node")
	if code != 0 || strings.Count(out, "\n") != 4 || !strings.Contains(out, "executed  kill of "+id+" by ada (INC-42)") {
		t.Errorf("%d %s %s", code, out, errs)
	}
}

func startVictim(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), name, args...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	return cmd
}

// execID waits for the event of a process's exec and returns its exec id.
func (f *fleet) execID(t *testing.T, pid uint32) string {
	t.Helper()
	return f.find(t, fmt.Sprintf("an exec of process %d", pid), func(b *eventv1.Batch, p *eventv1.Proc, _ int32) bool { return p.PID == pid })
}

func (f *fleet) exec(t *testing.T, cmdline string) string {
	t.Helper()
	return f.find(t, "an exec of "+cmdline, func(b *eventv1.Batch, _ *eventv1.Proc, row int32) bool { return b.Cmdline(row) == cmdline })
}

func (f *fleet) find(t *testing.T, what string, is func(*eventv1.Batch, *eventv1.Proc, int32) bool) (id string) {
	t.Helper()
	f.events(t, what, func(b *eventv1.Batch, e *eventv1.Event) bool {
		p := b.Proc(e.Proc)
		if !e.Kind.IsExec() || p == nil || !is(b, p, e.Proc) {
			return false
		}
		id = b.ExecID(p)
		return true
	})
	return id
}

// events reads all events until enough says so.
func (f *fleet) events(t *testing.T, what string, enough func(*eventv1.Batch, *eventv1.Event) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	dec, r := eventv1.NewDecoder(), eventv1.NewReader()
	err := f.bus.Tail(ctx, bus.TailConfig{Stream: bus.StreamEvents, Seq: 1}, func(m bus.Stored) error {
		var b eventv1.Batch
		var e eventv1.Event
		if err := dec.Decode(m.Data, &b); err != nil {
			return err
		}
		for r.Reset(&b); r.Next(&e); {
			if enough(&b, &e) {
				return errEnough
			}
		}
		return r.Err()
	})
	if !errors.Is(err, errEnough) {
		t.Fatalf("did not see %s: %v", what, err)
	}
}

func waitFor(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !cond(); <-time.After(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
	}
}
