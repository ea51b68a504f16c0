package action

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// tick is the grain of times in /proc/<pid>/stat, in nanoseconds: USER_HZ is 100 wherever eBPF is.
const tick = 10_000_000

// kernelThread is PF_KTHREAD of linux/sched.h.
const kernelThread = 0x00200000

var errGone = errors.New("process is gone")

// stat is what /proc/<pid>/stat tells, see proc_pid_stat(5).
type stat struct {
	pid, ppid, session uint32
	state              byte
	threads            int
	flags              uint64
	// start in ticks since boot.
	start int64
}

// dead is a process that only waits for its parent. The first thread of a live one can be a zombie too; then others are left.
func (s stat) dead() bool { return (s.state == 'Z' || s.state == 'X') && s.threads <= 1 }

func readStat(pid uint32) (stat, error) {
	data, err := os.ReadFile("/proc/" + strconv.FormatUint(uint64(pid), 10) + "/stat")
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return stat{}, errGone
	}
	if err != nil {
		return stat{}, fmt.Errorf("read process %d: %w", pid, err)
	}
	return parseStat(pid, data)
}

// parseStat reads the line. The name in it may hold blanks and parentheses: the last ) ends it.
func parseStat(pid uint32, data []byte) (stat, error) {
	s := stat{pid: pid}
	f := bytes.Fields(data[bytes.LastIndexByte(data, ')')+1:])
	if len(f) < 20 || len(f[0]) != 1 {
		return s, fmt.Errorf("read process %d: malformed stat", pid)
	}
	num := func(i int) int64 {
		v, perr := strconv.ParseInt(string(f[i]), 10, 64)
		if perr != nil {
			f = nil
			return 0
		}
		return v
	}
	s.state = f[0][0]
	for _, read := range []func(){
		func() { s.ppid = uint32(num(1)) },
		func() { s.session = uint32(num(3)) },
		func() { s.flags = uint64(num(6)) },
		func() { s.threads = int(num(17)) },
		func() { s.start = num(19) },
	} {
		if read(); f == nil {
			return s, fmt.Errorf("read process %d: malformed stat", pid)
		}
	}
	return s, nil
}

// process is a process that cannot be mistaken for another one: the pidfd stays with it whatever becomes of its pid.
type process struct {
	fd   int
	stat stat
}

// hold opens the process that has a pid now. errGone means that there is none.
func hold(pid uint32) (*process, error) {
	fd, err := unix.PidfdOpen(int(pid), 0)
	if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) { // the last two: the pid is a thread's
		return nil, errGone
	}
	if err != nil {
		return nil, fmt.Errorf("open process %d: %w", pid, err)
	}
	p := &process{fd: fd}
	if p.stat, err = readStat(pid); err == nil && (p.stat.dead() || !p.alive()) {
		err = errGone
	}
	if err != nil {
		p.release()
		return nil, err
	}
	return p, nil
}

func (p *process) release() { _ = unix.Close(p.fd) }

// alive tells whether the pid is still this process's. What was read from /proc before belongs to it then.
func (p *process) alive() bool { return unix.PidfdSendSignal(p.fd, 0, nil, 0) == nil }

// signal sends a signal to this process. errGone means that it has ended.
func (p *process) signal(sig unix.Signal) error {
	err := unix.PidfdSendSignal(p.fd, sig, nil, 0)
	if errors.Is(err, unix.ESRCH) {
		return errGone
	}
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("send signal %d to process %d: %w: the collector needs CAP_KILL", sig, p.stat.pid, err)
	}
	if err != nil {
		return fmt.Errorf("send signal %d to process %d: %w", sig, p.stat.pid, err)
	}
	return nil
}

// ended waits until the process has ended, with all its threads, or the deadline has passed.
func (p *process) ended(deadline time.Time) bool {
	fds := []unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}}
	for {
		left := max(time.Until(deadline), 0)
		n, err := unix.Poll(fds, int(left.Milliseconds()))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		return err == nil && n > 0
	}
}

// processes lists the pids of all processes with what stat tells.
func processes() (map[uint32]stat, error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	defer func() { _ = dir.Close() }()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	all := make(map[uint32]stat, len(names))
	for _, n := range names {
		pid, err := strconv.ParseUint(n, 10, 32)
		if err != nil {
			continue
		}
		if s, err := readStat(uint32(pid)); err == nil && !s.dead() {
			all[s.pid] = s
		}
	}
	return all, nil
}
