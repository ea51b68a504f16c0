package child

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// modeEnv makes the test binary behave as the supervised program.
const modeEnv = "GYRE_CHILD_TEST_MODE"

func TestMain(m *testing.M) {
	if mode := os.Getenv(modeEnv); mode != "" {
		os.Exit(program(mode, os.Args[1:]))
	}
	os.Exit(m.Run())
}

// program is what the child does. The FIFO named by the first argument is opened for writing and stays open: the
// reader sees the pid of each start as a line and the end of all of them as an end of file.
func program(mode string, args []string) int {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	if mode == "stubborn" {
		signal.Ignore(syscall.SIGTERM)
	}
	if len(args) > 0 {
		f, err := os.OpenFile(args[0], os.O_WRONLY, 0)
		if err != nil {
			fmt.Println(err)
			return 1
		}
		defer f.Close()
		fmt.Fprintln(f, os.Getpid())
	}
	switch mode {
	case "exit":
		fmt.Println("first line")
		fmt.Fprint(os.Stderr, "port is taken")
		return 7
	case "supervisor":
		_, err := Supervise(context.Background(), spec("serve", args[0]))
		if err != nil {
			fmt.Println(err)
			return 1
		}
	case "family":
		c := exec.Command("/proc/self/exe", args...)
		c.Env = append(os.Environ(), modeEnv+"=stubborn")
		if err := c.Start(); err != nil {
			return 1
		}
	}
	fmt.Println("serving")
	sig := <-stop
	fmt.Println("stopping on", sig)
	return 0
}

func spec(mode string, args ...string) Spec {
	return Spec{
		Name: "helper", Path: "/proc/self/exe", Args: args,
		Env:     append(os.Environ(), modeEnv+"="+mode),
		Backoff: Backoff{Initial: time.Millisecond, Max: 2 * time.Millisecond},
	}
}

// fifo returns the path of a new FIFO and its reader, which does not see the end before a writer was there.
func fifo(t *testing.T) (string, *bufio.Reader) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	// Non-blocking for the open only: the runtime's poller does the waiting.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if err := f.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return path, bufio.NewReader(f)
}

// readPID reads one line with a pid.
func readPID(t *testing.T, r *bufio.Reader) int {
	t.Helper()
	var pid int
	for {
		line, err := r.ReadString('\n')
		if err != nil && line == "" && err.Error() == "EOF" {
			runtime.Gosched() // no writer has opened it yet
			continue
		}
		if _, err := fmt.Sscan(line, &pid); err != nil {
			t.Fatalf("read pid from %q: %v", line, err)
		}
		return pid
	}
}

func awaitEOF(t *testing.T, r *bufio.Reader) {
	t.Helper()
	if rest, err := r.ReadString(0); err == nil || err.Error() != "EOF" {
		t.Fatalf("a process still holds the fifo: %q, %v", rest, err)
	}
}

func stop(t *testing.T, c *Child) {
	t.Helper()
	if err := c.Stop(t.Context()); err != nil {
		t.Errorf("Stop: %v", err)
	}
}

// records keeps what a log handler writes.
type records struct {
	mu  sync.Mutex
	buf strings.Builder
}

func (r *records) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.buf.Write(b)
}

func (r *records) text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.buf.String()
}

func TestStartAndStop(t *testing.T) {
	path, r := fifo(t)
	var logged records
	s := spec("serve", path)
	s.Log = slog.New(slog.NewTextHandler(&logged, nil))
	s.Level = func(string) slog.Level { return slog.LevelInfo }
	c, err := Supervise(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if pid := readPID(t, r); pid != c.State().PID {
		t.Errorf("pid: want %d, got %d", pid, c.State().PID)
	}
	if err := c.Ready(); err != nil {
		t.Errorf("Ready: %v", err)
	}
	if pgid, err := syscall.Getpgid(c.State().PID); err != nil || pgid != c.State().PID {
		t.Errorf("process group: want %d, got %d, %v", c.State().PID, pgid, err)
	}
	stop(t, c)
	stop(t, c)
	awaitEOF(t, r)
	if got := c.State(); got.Phase != PhaseStopped || got.PID != 0 {
		t.Errorf("state after stop: %+v", got)
	}
	if err := c.Ready(); !errors.Is(err, ErrNotReady) {
		t.Errorf("Ready after stop: %v", err)
	}
	if err := c.Watch(t.Context()); err != nil {
		t.Errorf("Watch after stop: %v", err)
	}
	for _, want := range []string{`line="stopping on terminated"`, "stream=stdout", "child=helper"} {
		if !strings.Contains(logged.text(), want) {
			t.Errorf("no %s in log:\n%s", want, logged.text())
		}
	}
}

func TestFirstStartFails(t *testing.T) {
	dir := t.TempDir()
	notReady := errors.New("no answer on port")
	tests := []struct {
		name string
		spec func() Spec
		want []string
		is   error
	}{
		{"no program", func() Spec { s := spec("serve"); s.Path = dir + "/none"; return s }, []string{"start helper", "no such file"}, os.ErrNotExist},
		{"exits before ready", func() Spec {
			s := spec("exit")
			s.Ready = func(context.Context) error { return notReady }
			return s
		}, []string{"exit status 7", "port is taken"}, nil},
		{"never ready", func() Spec {
			s := spec("serve")
			s.ReadyTimeout = 50 * time.Millisecond
			s.Ready = func(context.Context) error { return notReady }
			return s
		}, []string{"not ready after 50ms", "no answer on port"}, notReady},
		{"no path", func() Spec { return Spec{Name: "x"} }, []string{"no path"}, ErrInvalidSpec},
		{"negative time", func() Spec { return Spec{Name: "x", Path: "y", StopTimeout: -1} }, nil, ErrInvalidSpec},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Supervise(t.Context(), tt.spec())
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("want %q in %q", want, err)
				}
			}
			if tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("want %v in %v", tt.is, err)
			}
		})
	}
}

func TestStartCancelled(t *testing.T) {
	path, _ := fifo(t)
	ctx, cancel := context.WithCancel(t.Context())
	s := spec("serve", path)
	s.Ready = func(context.Context) error {
		cancel()
		return errors.New("not yet")
	}
	if _, err := Supervise(ctx, s); !errors.Is(err, context.Canceled) {
		t.Errorf("want cancelled, got %v", err)
	}
}

func TestRestart(t *testing.T) {
	path, r := fifo(t)
	ready := make(chan struct{}, 10)
	s := spec("serve", path)
	s.Ready = func(context.Context) error { ready <- struct{}{}; return nil }
	c, err := Supervise(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	defer stop(t, c)
	<-ready
	first := readPID(t, r)
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-ready
	second := readPID(t, r)
	got := c.State()
	if second == first || got.PID != second || got.Restarts != 1 {
		t.Errorf("first pid %d, second %d, state %+v", first, second, got)
	}
	if got.LastError == nil || !strings.Contains(got.LastError.Error(), "signal: killed") {
		t.Errorf("last error: %v", got.LastError)
	}
}

func TestGiveUp(t *testing.T) {
	s := spec("exit")
	s.Backoff.MaxRestarts = 2
	c, err := Supervise(t.Context(), s) // ready at once: it has no readiness check
	if err != nil {
		t.Fatal(err)
	}
	err = c.Watch(t.Context())
	var exit *ExitError
	if !errors.As(err, &exit) || !strings.Contains(err.Error(), "give up helper after 2 restarts") {
		t.Fatalf("Watch: %v", err)
	}
	if got := c.State(); got.Phase != PhaseFailed || got.Restarts != 2 {
		t.Errorf("state %+v", got)
	}
	stop(t, c)
}

func TestStopKills(t *testing.T) {
	tests := []struct {
		name    string
		timeout time.Duration
		ctx     func(context.Context) (context.Context, context.CancelFunc)
	}{
		{"after its timeout", 30 * time.Millisecond, context.WithCancel},
		{"when the caller has no time", time.Hour, func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 30*time.Millisecond)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path, r := fifo(t)
			s := spec("stubborn", path)
			s.StopTimeout = tt.timeout
			c, err := Supervise(t.Context(), s)
			if err != nil {
				t.Fatal(err)
			}
			readPID(t, r)
			ctx, cancel := tt.ctx(t.Context())
			defer cancel()
			if err := c.Stop(ctx); !errors.Is(err, ErrKilled) {
				t.Errorf("want killed, got %v", err)
			}
			awaitEOF(t, r)
		})
	}
}

// TestGroupKilled leaves a grandchild behind that ignores SIGTERM.
func TestGroupKilled(t *testing.T) {
	path, r := fifo(t)
	c, err := Supervise(t.Context(), spec("family", path))
	if err != nil {
		t.Fatal(err)
	}
	readPID(t, r)
	readPID(t, r)
	stop(t, c)
	awaitEOF(t, r)
}

// TestDiesWithParent kills a process that supervises a program; nobody is left to stop the program then.
func TestDiesWithParent(t *testing.T) {
	path, r := fifo(t)
	parent := exec.Command("/proc/self/exe", path)
	parent.Env = append(os.Environ(), modeEnv+"=supervisor")
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	readPID(t, r) // the parent
	readPID(t, r) // its child
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait()
	awaitEOF(t, r)
}

// TestOutlivesThreads ends many threads of this process: none may be the one the kernel takes for the parent.
func TestOutlivesThreads(t *testing.T) {
	path, r := fifo(t)
	c, err := Supervise(t.Context(), spec("serve", path))
	if err != nil {
		t.Fatal(err)
	}
	pid := readPID(t, r)
	for range 20 {
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() { runtime.LockOSThread() }) // a goroutine that ends while locked ends its thread
		}
		wg.Wait()
	}
	if err := syscall.Kill(pid, 0); err != nil || c.State().Restarts != 0 {
		t.Errorf("program gone: %v, %+v", err, c.State())
	}
	stop(t, c)
}

func TestOutputLines(t *testing.T) {
	var logged records
	o := newOutput(t.Context(), slog.New(slog.NewTextHandler(&logged, nil)), func(string) slog.Level { return slog.LevelInfo })
	w := o.stream("stderr")
	long := strings.Repeat("x", maxLine)
	for _, s := range []string{"a", "b\nc\r\n", "\n", long + "yz", "\nend \xff"} {
		if n, err := w.Write([]byte(s)); n != len(s) || err != nil {
			t.Fatalf("Write(%q) = %d, %v", s, n, err)
		}
	}
	o.flush()
	want := []string{"ab", "c", long, "yz", "end \uFFFD"}
	got := o.tail()
	if len(got) != len(want) {
		t.Fatalf("want %d lines, got %q", len(want), got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("line %d: want %.20q, got %.20q", i, want[i], got[i])
		}
	}
	for i := range 2 * tailLines {
		fmt.Fprintln(w, i)
	}
	if got := o.tail(); len(got) != tailLines || got[0] != fmt.Sprint(tailLines) {
		t.Errorf("tail: %q", got)
	}
}
