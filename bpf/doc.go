// Package bpf is the kernel side: C programs that see what processes do and write
// it to a ring buffer, and what Go needs to load them.
//
// Handlers are written once per event and run under either of two attach modes, see
// [Mode]. What they write is described in include/event.h, the only interface to Go.
// The C sources are dual-licensed GPL-2.0 or BSD-2-Clause; see LICENSES.
package bpf
