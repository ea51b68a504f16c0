package daemon

import (
	"os"
	"runtime/debug"
)

// CollectGarbageAt sets how much the heap may grow, in percent of what is used, before garbage is collected, unless the
// environment's GOGC says otherwise. Go's own default is 100; more is less CPU for more memory.
func CollectGarbageAt(percent int) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(percent)
	}
}
