package probe

import "unsafe"

// unsafePointer lets the tests pass a path to raw syscalls.
func unsafePointer(p *byte) unsafe.Pointer { return unsafe.Pointer(p) }
