package bpf

import (
	"fmt"
	"strings"
)

// Describe says in English when a call is reported: "" for always.
func (c If) Describe() string {
	arg := func() string {
		if c.Arg == result {
			return "the result"
		}
		return fmt.Sprintf("argument %d", c.Arg+1)
	}
	values := func() string {
		var s []string
		for _, v := range c.Values {
			s = append(s, fmt.Sprintf("%#x", v))
		}
		return strings.Join(s, ", ")
	}
	switch c.Code {
	case 1:
		return "when it succeeds"
	case 2:
		return fmt.Sprintf("when %s is one of %s", arg(), values())
	case 3:
		if c.Arg == result {
			return "unless nobody was waiting (EAGAIN)"
		}
		return fmt.Sprintf("when %s is none of %s", arg(), values())
	case 4:
		return "when the attribute's name starts with security."
	case 5:
		return "when a socket becomes descriptor 0, 1 or 2"
	case 6:
		return "when there is a signal and it goes to another process"
	case 7:
		return "when it is the process's first one to an executable regular file"
	default:
		return ""
	}
}

// URing is an operation of io_uring that yields events of a kind, and the version of Linux that has it.
type URing struct {
	Kind  uint16
	Op    string
	Since string
}

// URings lists the operations that are seen; see uring.bpf.h.
func URings() []URing {
	return []URing{
		{9, "IORING_OP_OPENAT", "5.6"},
		{10, "IORING_OP_OPENAT2", "5.6"},
		{12, "IORING_OP_CONNECT", "5.5"},
		{57, "IORING_OP_ACCEPT", "5.5"},
		{17, "IORING_OP_RENAMEAT", "5.11"},
		{14, "IORING_OP_UNLINKAT", "5.11"},
		{19, "IORING_OP_MKDIRAT", "5.15"},
		{24, "IORING_OP_SYMLINKAT", "5.15"},
		{22, "IORING_OP_LINKAT", "5.15"},
		{53, "IORING_OP_SOCKET", "5.19"},
		{34, "IORING_OP_FTRUNCATE", "6.9"},
		{54, "IORING_OP_BIND", "6.11"},
		{55, "IORING_OP_LISTEN", "6.11"},
	}
}
