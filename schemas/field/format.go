package field

import (
	"net/netip"
	"strconv"

	"github.com/gyre-sec/gyre/schemas/eventv1"
)

// Open flags of x86-64 and arm64 alike (include/uapi/asm-generic/fcntl.h).
const (
	oAccMode = 0o3
	oRdonly  = 0o0
	oWronly  = 0o1
	oRdwr    = 0o2
	oCreat   = 0o100
	oTrunc   = 0o1000
)

type bit struct {
	mask int64
	name string
}

// The bits that have names, in the order they are printed. Sources are the uapi
// headers of Linux 6.18: fcntl.h, sched.h, fs.h. O_SYNC holds O_DSYNC and O_TMPFILE
// holds O_DIRECTORY, so the longer ones come first.
var (
	openBits = []bit{
		{0o100, "O_CREAT"},
		{0o200, "O_EXCL"},
		{0o400, "O_NOCTTY"},
		{0o1000, "O_TRUNC"},
		{0o2000, "O_APPEND"},
		{0o4000, "O_NONBLOCK"},
		{0o4010000, "O_SYNC"},
		{0o10000, "O_DSYNC"},
		{0o20000, "O_ASYNC"},
		{0o40000, "O_DIRECT"},
		{0o100000, "O_LARGEFILE"},
		{0o20200000, "O_TMPFILE"},
		{0o200000, "O_DIRECTORY"},
		{0o400000, "O_NOFOLLOW"},
		{0o1000000, "O_NOATIME"},
		{0o2000000, "O_CLOEXEC"},
		{0o10000000, "O_PATH"},
	}
	cloneBits = []bit{
		{0x100, "CLONE_VM"},
		{0x200, "CLONE_FS"},
		{0x400, "CLONE_FILES"},
		{0x800, "CLONE_SIGHAND"},
		{0x1000, "CLONE_PIDFD"},
		{0x2000, "CLONE_PTRACE"},
		{0x4000, "CLONE_VFORK"},
		{0x8000, "CLONE_PARENT"},
		{0x10000, "CLONE_THREAD"},
		{0x20000, "CLONE_NEWNS"},
		{0x40000, "CLONE_SYSVSEM"},
		{0x80000, "CLONE_SETTLS"},
		{0x100000, "CLONE_PARENT_SETTID"},
		{0x200000, "CLONE_CHILD_CLEARTID"},
		{0x800000, "CLONE_UNTRACED"},
		{0x1000000, "CLONE_CHILD_SETTID"},
		{0x2000000, "CLONE_NEWCGROUP"},
		{0x4000000, "CLONE_NEWUTS"},
		{0x8000000, "CLONE_NEWIPC"},
		{0x10000000, "CLONE_NEWUSER"},
		{0x20000000, "CLONE_NEWPID"},
		{0x40000000, "CLONE_NEWNET"},
		{0x80000000, "CLONE_IO"},
		{0x100000000, "CLONE_CLEAR_SIGHAND"},
		{0x200000000, "CLONE_INTO_CGROUP"},
	}
	atBits     = []bit{{0x100, "AT_SYMLINK_NOFOLLOW"}, {0x200, "AT_REMOVEDIR"}, {0x400, "AT_SYMLINK_FOLLOW"}, {0x1000, "AT_EMPTY_PATH"}, {0x10000, "AT_EXECVE_CHECK"}}
	renameBits = []bit{{1, "RENAME_NOREPLACE"}, {2, "RENAME_EXCHANGE"}, {4, "RENAME_WHITEOUT"}}
	fileBits   = []bit{{int64(eventv1.FileUpperLayer), "UPPER_LAYER"}, {int64(eventv1.FileMemfd), "MEMFD"}, {int64(eventv1.FileDeleted), "DELETED"}}

	fileTypes = map[int64]string{0o010000: "S_IFIFO", 0o020000: "S_IFCHR", 0o060000: "S_IFBLK", 0o100000: "S_IFREG", 0o140000: "S_IFSOCK"}
	families  = map[int64]string{0: "AF_UNSPEC", 1: "AF_UNIX", 2: "AF_INET", 10: "AF_INET6", 16: "AF_NETLINK", 17: "AF_PACKET", 38: "AF_ALG", 40: "AF_VSOCK", 3: "AF_AX25", 9: "AF_X25", 15: "AF_KEY", 21: "AF_RDS", 29: "AF_CAN", 30: "AF_TIPC", 31: "AF_BLUETOOTH", 33: "AF_RXRPC", 44: "AF_XDP"}
	sockTypes = map[int64]string{1: "SOCK_STREAM", 2: "SOCK_DGRAM", 3: "SOCK_RAW", 4: "SOCK_RDM", 5: "SOCK_SEQPACKET", 10: "SOCK_PACKET"}
	protocols = map[int64]string{1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6", 132: "sctp", 262: "mptcp"}
)

// modeText is the permission bits, and what kind of file it is if that is told.
func modeText(x int64) string {
	text, typ := bitsText(x&0o7777, modeBits), fileTypes[x&0o170000]
	switch {
	case typ == "":
		return text
	case x&0o7777 == 0:
		return typ
	}
	return typ + "|" + text
}

// formatArg gives the text form of an argument that is not a string.
func formatArg(v *View, t eventv1.ArgType, x int64) (string, bool) {
	switch t {
	case eventv1.OpenFlags:
		x = v.openFlags()
	case eventv1.Address:
		a, ok := address(v.b.Text(eventv1.StrID(x)))
		if !ok {
			return "", false
		}
		return v.addrText(a), true
	}
	return v.textOf(t, x), true
}

// formatted is the text form of a number.
func formatted(t eventv1.ArgType, x int64) string {
	switch t {
	case eventv1.OpenFlags:
		return openFlagsText(x)
	case eventv1.CloneFlags:
		return bitsText(x, cloneBits)
	case eventv1.AtFlags:
		return bitsText(x, atBits)
	case eventv1.RenameFlags:
		return bitsText(x, renameBits)
	case eventv1.FileFlags:
		return bitsText(x, fileBits)
	case eventv1.ModeBits:
		return modeText(x)
	case eventv1.MountFlags:
		return bitsText(x, mountBits)
	case eventv1.UmountFlags:
		return bitsText(x, umountBits)
	case eventv1.MemfdFlags:
		return bitsText(x, memfdBits)
	case eventv1.SockFlags:
		return bitsText(x, sockBits)
	case eventv1.ModuleFlags:
		return bitsText(x, moduleBits)
	case eventv1.Caps:
		return capsText(uint64(x))
	case eventv1.Hex:
		return "0x" + strconv.FormatUint(uint64(x), 16)
	case eventv1.Signal:
		return named(signals, x)
	case eventv1.FsconfigCmd:
		return named(fsconfigCmds, x)
	case eventv1.FcntlCmd:
		return named(fcntlCmds, x)
	case eventv1.PrctlOption:
		return named(prctlOptions, x)
	case eventv1.PtraceRequest:
		return named(ptraceRequests, x)
	case eventv1.BpfCmd:
		return named(bpfCmds, x)
	case eventv1.KeyctlOperation:
		return named(keyctlOperations, x)
	case eventv1.SeccompOperation:
		return named(seccompOperations, x)
	case eventv1.IoctlRequest:
		if n, ok := ioctlRequests[x]; ok {
			return n
		}
		return "0x" + strconv.FormatUint(uint64(x), 16)
	case eventv1.Mode:
		return "0" + strconv.FormatInt(x, 8)
	case eventv1.DirFD:
		if x == -100 {
			return "AT_FDCWD"
		}
		return strconv.FormatInt(x, 10)
	case eventv1.Family:
		return named(families, x)
	case eventv1.SockType:
		return named(sockTypes, x&0xf)
	case eventv1.L4Proto:
		return named(protocols, x)
	default:
		return strconv.FormatInt(x, 10)
	}
}

func named(m map[int64]string, x int64) string {
	if n, ok := m[x]; ok {
		return n
	}
	return strconv.FormatInt(x, 10)
}

func openFlagsText(f int64) string {
	s := [...]string{"O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE"}[f&oAccMode]
	if rest := bitsText(f&^oAccMode, openBits); rest != "0" {
		s += "|" + rest
	}
	return s
}

// bitsText joins the names of the bits that are set; what has no name is added in hexadecimal.
func bitsText(x int64, bits []bit) string {
	if x == 0 {
		return "0"
	}
	var out []byte
	for _, b := range bits {
		if x&b.mask == b.mask {
			x &^= b.mask
			out = append(append(out, b.name...), '|')
		}
	}
	if x != 0 {
		out = append(append(out, "0x"...), strconv.FormatUint(uint64(x), 16)...)
		return string(out)
	}
	return string(out[:len(out)-1])
}

// address reads 4 or 16 bytes; an IPv4 address mapped into IPv6 is returned as IPv4.
func address(raw string) (netip.Addr, bool) {
	switch len(raw) {
	case 4:
		return netip.AddrFrom4([4]byte([]byte(raw))), true
	case 16:
		return netip.AddrFrom16([16]byte([]byte(raw))).Unmap(), true
	default:
		return netip.Addr{}, false
	}
}
