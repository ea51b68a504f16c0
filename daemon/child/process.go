package child

import (
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ExitError says that a program ended without being asked to, or that it had to be ended because it was not ready.
type ExitError struct {
	Name string
	Err  error    // Err is the exit status, the signal or the readiness error; nil for exit code 0.
	Tail []string // Tail holds the last lines of output, oldest first.
}

// Error names the program, how it ended and its last line of output.
func (e *ExitError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "run %s: ", e.Name)
	if e.Err == nil {
		b.WriteString("exit status 0")
	} else {
		b.WriteString(e.Err.Error())
	}
	if n := len(e.Tail); n > 0 {
		fmt.Fprintf(&b, ": last output %q", e.Tail[n-1])
	}
	return b.String()
}

// Unwrap returns the exit status, the signal or the readiness error.
func (e *ExitError) Unwrap() error { return e.Err }

// process is one run of the program.
type process struct {
	pid     int
	exited  chan struct{} // closed after the process was reaped and its group killed
	waitErr error         // valid after exited

	mu     sync.Mutex
	reaped bool // the pid may belong to someone else from now on
}

// startProcess starts the program on an operating system thread that lives as long as the program does.
//
// PR_SET_PDEATHSIG is tied to the parent's thread, not to the parent's process: the signal is sent when the thread
// that forked ends (prctl(2), NOTES of PR_SET_PDEATHSIG). The Go runtime ends threads when it likes, so the thread is
// locked to a goroutine that does nothing but wait for the program. The kernel clears the setting when the program is
// set-user-ID, set-group-ID or has file capabilities; such a program outlives a SIGKILL of this process.
func startProcess(spec Spec, out *output) (*process, error) {
	cmd := exec.Command(spec.Path, spec.Args...)
	cmd.Env, cmd.Dir = spec.Env, spec.Dir
	cmd.Stdout, cmd.Stderr = out.stream("stdout"), out.stream("stderr")
	cmd.WaitDelay = time.Second // a grandchild in another group may keep the pipes open
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}

	p := &process{exited: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		if err == nil {
			p.pid = cmd.Process.Pid
		}
		started <- err
		if err == nil {
			p.reap(cmd)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start program: %w", err)
	}
	return p, nil
}

// reap waits for the end of the process. The group is killed while the dead leader still holds its id: only so can
// the id not be somebody else's.
func (p *process) reap(cmd *exec.Cmd) {
	for {
		err := unix.Waitid(unix.P_PID, p.pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	p.signal(syscall.SIGKILL)
	p.mu.Lock()
	p.reaped = true
	p.mu.Unlock()
	err := cmd.Wait()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil
	}
	p.waitErr = err
	close(p.exited)
}

// signal sends sig to the whole group while the leader is alive or not reaped.
func (p *process) signal(sig syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.reaped {
		_ = syscall.Kill(-p.pid, sig) // ESRCH: everyone is gone, which is what a signal here asks for
	}
}

func (p *process) gone() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

// stop asks the group to exit, kills it after the timeout or when kill is closed, and waits for the end.
func (p *process) stop(sig syscall.Signal, timeout time.Duration, kill <-chan struct{}) error {
	if p.gone() {
		return nil
	}
	p.signal(sig)
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	var err error
	select {
	case <-p.exited:
		return nil
	case <-timer.C:
		err = fmt.Errorf("still running %s after %s: %w", timeout, sig, ErrKilled)
	case <-kill:
		err = fmt.Errorf("no time left after %s: %w", sig, ErrKilled)
	}
	p.signal(syscall.SIGKILL)
	<-p.exited
	return err
}
