package container

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// rescanEvery is how often directories that match a pattern are looked for anew.
const rescanEvery = 5 * time.Second

// watchDirs reports the containers whose directory appears in one of the directories.
func watchDirs(ctx context.Context, patterns []string, news func(string)) error {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return fmt.Errorf("watch directories: %w", err)
	}
	f := os.NewFile(uintptr(fd), "inotify") // read through the poller
	defer f.Close()
	stop := context.AfterFunc(ctx, func() { _ = f.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	watched := map[string]int{}
	buf := make([]byte, 64<<10)
	for {
		if err := addDirs(fd, patterns, watched); err != nil {
			return err
		}
		_ = f.SetReadDeadline(time.Now().Add(rescanEvery))
		if ctx.Err() != nil {
			return ctx.Err()
		}
		n, err := f.Read(buf)
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return fmt.Errorf("read changes of directories: %w", err)
		}
		for at := 0; at+unix.SizeofInotifyEvent <= n; {
			wd := int(int32(binary.NativeEndian.Uint32(buf[at:])))
			mask := binary.NativeEndian.Uint32(buf[at+4:])
			size := int(binary.NativeEndian.Uint32(buf[at+12:]))
			name := unix.ByteSliceToString(buf[at+unix.SizeofInotifyEvent : at+unix.SizeofInotifyEvent+size])
			at += unix.SizeofInotifyEvent + size
			if mask&unix.IN_IGNORED != 0 {
				for dir, w := range watched {
					if w == wd {
						delete(watched, dir)
					}
				}
			}
			if isHexID(name) {
				news(name)
			}
		}
	}
}

// addDirs watches the directories that are there and are not watched yet.
func addDirs(fd int, patterns []string, watched map[string]int) error {
	for _, dir := range present(patterns) {
		if _, ok := watched[dir]; ok {
			continue
		}
		wd, err := unix.InotifyAddWatch(fd, dir, unix.IN_CREATE|unix.IN_MOVED_TO|unix.IN_ONLYDIR)
		switch {
		case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
		case err != nil:
			return fmt.Errorf("watch %s: %w", dir, err)
		default:
			watched[dir] = wd
		}
	}
	return nil
}
