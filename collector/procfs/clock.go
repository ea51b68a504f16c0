package procfs

import (
	"time"

	"golang.org/x/sys/unix"
)

// SinceBoot is CLOCK_BOOTTIME: nanoseconds since boot, with the time that the machine slept.
func SinceBoot() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return int64(time.Since(time.Unix(0, 0))) // no kernel that can run this lacks the clock (Linux 2.6.39)
	}
	return ts.Nano()
}
