package daemon

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// modeEnv makes the test binary behave as a program under test.
const modeEnv = "GYRE_DAEMON_TEST_MODE"

func TestMain(m *testing.M) {
	if mode := os.Getenv(modeEnv); mode != "" {
		os.Exit(program(mode))
	}
	os.Exit(m.Run())
}

func program(mode string) int {
	return Main("test", func(_ context.Context, d *Daemon) error {
		switch mode {
		case "setup fails":
			d.OnStop("first", func(context.Context) error { fmt.Println("first stopped"); return nil })
			return Hint(errors.New("port is taken"), "take another")
		case "reload":
			d.OnReload("rules", func(context.Context) error { fmt.Println("reloaded"); return nil })
		case "hangs":
			d.OnStop("hang", func(context.Context) error { fmt.Println("hanging"); select {} })
		}
		d.Go("loop", func(ctx context.Context) error {
			fmt.Println("running")
			<-ctx.Done()
			fmt.Println("loop ended")
			return ctx.Err()
		})
		return nil
	})
}

// start runs the program and returns its standard output and a function that waits for the exit code.
func start(t *testing.T, mode string) (*exec.Cmd, *bufio.Reader, *bytes.Buffer) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), modeEnv+"="+mode)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return cmd, bufio.NewReader(out), &stderr
}

func expect(t *testing.T, r *bufio.Reader, want string) {
	t.Helper()
	if line, err := r.ReadString('\n'); strings.TrimSpace(line) != want {
		t.Fatalf("want output %q, got %q, %v", want, line, err)
	}
}

func exitCode(t *testing.T, cmd *exec.Cmd, r *bufio.Reader) int {
	t.Helper()
	_, _ = io.Copy(io.Discard, r)
	var exit *exec.ExitError
	if err := cmd.Wait(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode()
}

func TestSignals(t *testing.T) {
	tests := []struct {
		name, mode string
		script     func(t *testing.T, send func(syscall.Signal), r *bufio.Reader)
		code       int
		stderr     string
	}{
		{"interrupt", "plain", func(t *testing.T, send func(syscall.Signal), r *bufio.Reader) {
			expect(t, r, "running")
			send(syscall.SIGINT)
			expect(t, r, "loop ended")
		}, 0, "signal interrupt"},
		{"terminate", "plain", func(t *testing.T, send func(syscall.Signal), r *bufio.Reader) {
			expect(t, r, "running")
			send(syscall.SIGTERM)
			expect(t, r, "loop ended")
		}, 0, "signal terminated"},
		{"hangup stops without reloads", "plain", func(t *testing.T, send func(syscall.Signal), r *bufio.Reader) {
			expect(t, r, "running")
			send(syscall.SIGHUP)
			expect(t, r, "loop ended")
		}, 0, ""},
		{"hangup reloads", "reload", func(t *testing.T, send func(syscall.Signal), r *bufio.Reader) {
			expect(t, r, "running")
			send(syscall.SIGHUP)
			expect(t, r, "reloaded")
			send(syscall.SIGHUP)
			expect(t, r, "reloaded")
			send(syscall.SIGTERM)
		}, 0, "reloaded"},
		{"second signal", "hangs", func(t *testing.T, send func(syscall.Signal), r *bufio.Reader) {
			expect(t, r, "running")
			send(syscall.SIGTERM)
			expect(t, r, "loop ended")
			expect(t, r, "hanging")
			send(syscall.SIGINT)
		}, 130, "exit without stopping"},
		{"setup fails", "setup fails", func(t *testing.T, _ func(syscall.Signal), r *bufio.Reader) {
			expect(t, r, "first stopped")
		}, 1, "error: port is taken\nhint: take another\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cmd, r, stderr := start(t, tt.mode)
			tt.script(t, func(s syscall.Signal) {
				if err := cmd.Process.Signal(s); err != nil {
					t.Fatal(err)
				}
			}, r)
			if code := exitCode(t, cmd, r); code != tt.code {
				t.Errorf("exit code: want %d, got %d", tt.code, code)
			}
			if !strings.Contains(stderr.String(), tt.stderr) {
				t.Errorf("no %q in %s", tt.stderr, stderr)
			}
		})
	}
}

func quiet(o Options) *Daemon {
	o.Log = slog.New(slog.DiscardHandler)
	return New(o)
}

func TestStopOrder(t *testing.T) {
	var mu sync.Mutex
	var got []string
	say := func(s string) { mu.Lock(); defer mu.Unlock(); got = append(got, s) }
	d := quiet(Options{})
	ctx, cancel := context.WithCancel(t.Context())
	err := d.Run(ctx, func(_ context.Context, d *Daemon) error {
		d.OnStop("bus", func(context.Context) error { say("bus"); return nil })
		d.Go("sink", func(ctx context.Context) error { <-ctx.Done(); say("sink"); return nil })
		d.Go("short", func(context.Context) error { return nil })
		d.Go("collector", func(ctx context.Context) error { <-ctx.Done(); say("collector"); return ctx.Err() })
		d.OnStop("last", func(context.Context) error { say("last"); return nil })
		cancel()
		return nil
	})
	if err != nil {
		t.Errorf("Run: %v", err)
	}
	if diff := cmp.Diff([]string{"last", "collector", "sink", "bus"}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestRunErrors(t *testing.T) {
	boom := errors.New("boom")
	tests := []struct {
		name  string
		setup func(context.Context, *Daemon) error
		want  []string
		is    error
	}{
		{"loop fails", func(_ context.Context, d *Daemon) error {
			d.Go("good", func(ctx context.Context) error { <-ctx.Done(); return nil })
			d.Go("bad", func(context.Context) error { return boom })
			return nil
		}, []string{"run bad: boom"}, boom},
		{"loop fails while stopping", func(_ context.Context, d *Daemon) error {
			d.Go("bad", func(ctx context.Context) error { <-ctx.Done(); return boom })
			d.Stop()
			return nil
		}, []string{"stop bad: boom"}, boom},
		{"setup and stop fail", func(_ context.Context, d *Daemon) error {
			d.OnStop("thing", func(context.Context) error { return errors.New("stuck") })
			return boom
		}, []string{"boom", "stop thing: stuck"}, boom},
		{"stops take too long", func(_ context.Context, d *Daemon) error {
			d.OnStop("fine", func(context.Context) error { return nil })
			d.OnStop("slow", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
			d.OnStop("deaf", func(context.Context) error { <-t.Context().Done(); return nil })
			d.Go("loop", func(context.Context) error { <-t.Context().Done(); return nil })
			d.Stop()
			return nil
		}, []string{"stop slow: stop took too long", "stop deaf: stop took too long", "stop loop: stop took too long"}, ErrStopTimeout},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := quiet(Options{StopTimeout: 50 * time.Millisecond}).Run(t.Context(), tt.setup)
			if !errors.Is(err, tt.is) {
				t.Errorf("want %v, got %v", tt.is, err)
			}
			for _, want := range tt.want {
				if !strings.Contains(fmt.Sprint(err), want) {
					t.Errorf("want %q in %v", want, err)
				}
			}
		})
	}
}

func TestReloadErrors(t *testing.T) {
	d := quiet(Options{})
	calls := 0
	d.OnReload("rules", func(context.Context) error { calls++; return errors.New("bad file") })
	d.OnReload("config", func(context.Context) error { calls++; return nil })
	if err := d.Reload(t.Context()); calls != 2 || fmt.Sprint(err) != "reload rules: bad file" {
		t.Errorf("%d calls, %v", calls, err)
	}
}

func get(t *testing.T, url, host string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestAdmin(t *testing.T) {
	var busErr error
	c := defaults()
	c.Store.Password = NewSecret("hunter2")
	d := quiet(Options{
		Admin:  DefaultAdminConfig(),
		Config: func(w io.Writer) error { return Print(w, map[string]any{"sink": c}) },
	})
	var base string
	err := d.Run(t.Context(), func(_ context.Context, d *Daemon) error {
		base = "http://" + d.AdminAddr()
		d.Ready("bus", func() error { return busErr })
		if code, body := get(t, base+"/readyz", ""); code != 503 || !strings.Contains(body, `"error":"starting"`) {
			t.Errorf("readyz while starting: %d %s", code, body)
		}
		d.Go("asker", func(context.Context) error {
			defer d.Stop()
			ask(t, base, &busErr)
			return nil
		})
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if _, err := http.Get(base + "/healthz"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("after the stop: %v", err)
	}
}

func ask(t *testing.T, base string, busErr *error) {
	var ready struct {
		Ready bool         `json:"ready"`
		Parts []PartStatus `json:"parts"`
	}
	for !ready.Ready { // setup has returned, Run says so a moment later
		if _, body := get(t, base+"/readyz", ""); json.Unmarshal([]byte(body), &ready) != nil {
			t.Errorf("readyz: %s", body)
			return
		}
	}
	*busErr = errors.New("no connection")
	code, body := get(t, base+"/readyz", "")
	if err := json.Unmarshal([]byte(body), &ready); err != nil || code != 503 {
		t.Errorf("readyz: %d %s %v", code, body, err)
	}
	if diff := cmp.Diff([]PartStatus{{Name: "process", Ready: true}, {Name: "bus", Error: "no connection"}}, ready.Parts); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for _, tt := range []struct {
		path, host string
		code       int
		want       string
	}{
		{"/healthz", "", 200, "ok"},
		{"/metrics", "", 200, "gyre_build_info{"},
		{"/metrics", "", 200, "go_goroutines"},
		{"/metrics", "", 200, "process_resident_memory_bytes"},
		{"/version", "", 200, `"go":"go1.`},
		{"/debug/pprof/goroutine?debug=1", "", 200, "goroutine profile"},
		{"/debug/pprof/heap", "localhost:1", 200, ""},
		{"/debug/pprof/heap", "evil.example", 403, "use localhost"},
		{"/debug/config", "", 200, "password: <secret>"},
		{"/nothing", "", 404, ""},
	} {
		code, body := get(t, base+tt.path, tt.host)
		if code != tt.code || !strings.Contains(body, tt.want) || strings.Contains(body, "hunter2") {
			t.Errorf("%s: %d %.200s", tt.path, code, body)
		}
	}
}

func TestAdminNotLoopback(t *testing.T) {
	for debug, want := range map[bool]int{false: 404, true: 200} {
		d := quiet(Options{Admin: AdminConfig{Addr: "0.0.0.0:0", Debug: debug}})
		err := d.Run(t.Context(), func(_ context.Context, d *Daemon) error {
			defer d.Stop()
			_, port, _ := strings.Cut(strings.ReplaceAll(d.AdminAddr(), "[::]", ""), ":")
			if code, _ := get(t, "http://127.0.0.1:"+port+"/debug/pprof/", "any.example"); code != want {
				t.Errorf("debug %v: want %d, got %d", debug, want, code)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}

func TestAdminAddressTaken(t *testing.T) {
	first := NewAdmin(DefaultAdminConfig(), AdminOptions{})
	addr, err := first.Listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer first.ln.Close()
	d := quiet(Options{Admin: AdminConfig{Addr: addr}})
	err = d.Run(t.Context(), func(context.Context, *Daemon) error { t.Error("setup was called"); return nil })
	if !errors.Is(err, syscall.EADDRINUSE) || Remedy(err) == "" {
		t.Errorf("got %v", err)
	}
	if err := (AdminConfig{Addr: "nonsense"}).Validate(); err == nil || Remedy(err) == "" {
		t.Errorf("Validate: %v", err)
	}
}

func TestLog(t *testing.T) {
	for format, want := range map[string]string{
		LogAuto: `"level":"WARN","msg":"queue full","component":"spool","delay":"1.5s"`, // a buffer is no terminal
		LogJSON: `"msg":"queue full"`,
		LogText: "WRN queue full component=spool delay=1.5s",
	} {
		var b bytes.Buffer
		log, level := NewLog(&b, LogConfig{Format: format, Level: slog.LevelWarn})
		log.Info("not seen")
		log.Warn("queue full", KeyComponent, "spool", KeyDelay, 1500*time.Millisecond)
		level.Set(slog.LevelError)
		log.Warn("not seen")
		if !strings.Contains(b.String(), want) || strings.Contains(b.String(), "not seen") || strings.Contains(b.String(), "\x1b") {
			t.Errorf("%s: %s", format, b.String())
		}
	}
	if err := (LogConfig{Format: "xml"}).Validate(); err == nil || Remedy(err) == "" {
		t.Errorf("Validate: %v", err)
	}
}

func TestPrintError(t *testing.T) {
	plain := errors.New("plain")
	config := ConfigErrors{{File: "f", Line: 1, Col: 2, Key: "a.b", Msg: "bad", Hint: "fix"}, {File: "environment", Msg: "worse"}}
	const configText = "error: f:1:2: a.b: bad\nhint: fix\nerror: environment: worse\n"
	for name, tt := range map[string]struct {
		err  error
		want string
	}{
		"nil":     {nil, ""},
		"plain":   {plain, "error: plain\n"},
		"hint":    {Hint(plain, "do"), "error: plain\nhint: do\n"},
		"wrapped": {fmt.Errorf("start: %w", &Error{Msg: "no port", Hint: "do", Err: plain}), "error: start: no port: plain\nhint: do\n"},
		"outer":   {Hint(fmt.Errorf("x: %w", Hint(plain, "in")), "out"), "error: x: plain\nhint: out\n"},
		"config":  {config, configText},
		"in":      {fmt.Errorf("load: %w", config), configText},
		"joined":  {errors.Join(Hint(plain, "do"), config), "error: plain\nhint: do\n" + configText},
		"over":    {Hint(errors.Join(plain, plain), "do"), "error: plain\nplain\nhint: do\n"},
	} {
		var b strings.Builder
		PrintError(&b, tt.err)
		if b.String() != tt.want {
			t.Errorf("%s: want %q, got %q", name, tt.want, b.String())
		}
	}
	if Hint(nil, "x") != nil {
		t.Error("Hint(nil) is an error")
	}
}

func TestVersion(t *testing.T) {
	build := &debug.BuildInfo{Main: debug.Module{Version: "(devel)"}, Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: "abc"}, {Key: "vcs.modified", Value: "true"}}}
	if v := versionOf("", build); v.Version != "devel" || v.Revision != "abc-dirty" || !strings.HasPrefix(v.String(), "devel abc-dirty (go") {
		t.Errorf("%+v, %s", v, v)
	}
	if v := versionOf("v1.2.3", nil); v.Version != "v1.2.3" || v.Platform == "" {
		t.Errorf("%+v", v)
	}
}
