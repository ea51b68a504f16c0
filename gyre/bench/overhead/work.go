package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// workChild runs a loop and prints the CPU time that it and its children used, in nanoseconds per iteration.
func workChild(args []string) error {
	if len(args) != 2 {
		return errors.New("work: want LOOP COUNT")
	}
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	for _, l := range loops() {
		if l.name == args[0] {
			cost, err := measure(l, n)
			if err != nil {
				return err
			}
			fmt.Println(cost)
			return nil
		}
	}
	return fmt.Errorf("work: no loop %q", args[0])
}

func measure(l loop, n int) (float64, error) {
	if err := l.run(n/20 + 1); err != nil { // warms up
		return 0, err
	}
	before, err := cpuTime()
	if err != nil {
		return 0, err
	}
	if err := l.run(n); err != nil {
		return 0, err
	}
	after, err := cpuTime()
	return float64(after-before) / float64(n), err
}

// cpuTime is that of this process and of its children that have ended, in nanoseconds.
func cpuTime() (int64, error) {
	var own unix.Timespec
	var children unix.Rusage
	if err := errors.Join(unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &own), unix.Getrusage(unix.RUSAGE_CHILDREN, &children)); err != nil {
		return 0, err
	}
	return own.Nano() + children.Utime.Nano() + children.Stime.Nano(), nil
}

func getppid(n int) error {
	for range n {
		unix.RawSyscallNoError(unix.SYS_GETPPID, 0, 0, 0)
	}
	return nil
}

func openReadClose(n int) error {
	var buf [64]byte
	for range n {
		fd, err := unix.Open("/etc/passwd", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		_, err = unix.Read(fd, buf[:])
		if err := errors.Join(err, unix.Close(fd)); err != nil {
			return err
		}
	}
	return nil
}

func forkExec(n int) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	program, args := "/bin/true", []string{"true"}
	if _, err := os.Stat(program); err != nil {
		program, args = self, []string{self, "true"}
	}
	for range n {
		pid, err := syscall.ForkExec(program, args, &syscall.ProcAttr{})
		if err != nil {
			return err
		}
		var ws syscall.WaitStatus
		for {
			if _, err = syscall.Wait4(pid, &ws, 0, nil); !errors.Is(err, syscall.EINTR) {
				break
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// connect makes loopback connections to a socket that listens and takes each.
func connect(n int) error {
	l, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(l) }()
	if err := errors.Join(unix.Bind(l, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(l, 16)); err != nil {
		return err
	}
	to, err := unix.Getsockname(l)
	if err != nil {
		return err
	}
	for range n {
		c, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		if err := unix.Connect(c, to); err != nil {
			return err
		}
		s, _, err := unix.Accept4(l, unix.SOCK_CLOEXEC)
		if err != nil {
			return err
		}
		// An end without waiting: else so many connections use up the ports.
		hard := &unix.Linger{Onoff: 1}
		if err := errors.Join(unix.SetsockoptLinger(c, unix.SOL_SOCKET, unix.SO_LINGER, hard), unix.Close(c), unix.Close(s)); err != nil {
			return err
		}
	}
	return nil
}
