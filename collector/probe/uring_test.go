package probe

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/gyre-sec/gyre/schemas/eventv1"
)

// ring is an io_uring of four entries (include/uapi/linux/io_uring.h).
type ring struct {
	fd       int
	sq, sqes []byte
	params   [120]byte
}

func (r *ring) param(at int) uint32 { return binary.LittleEndian.Uint32(r.params[at:]) }

func (r *ring) word(at uint32) *uint32 { return (*uint32)(unsafe.Pointer(&r.sq[at])) }

func newRing(t *testing.T) *ring {
	t.Helper()
	r := &ring{}
	fd := sys(unix.SYS_IO_URING_SETUP, 4, uintptr(unsafe.Pointer(&r.params[0])))
	if fd < 0 {
		t.Fatalf("io_uring_setup: %v", unix.Errno(-fd))
	}
	r.fd = int(fd)
	sqSize, cqSize := r.param(40+24)+4*r.param(0), r.param(80+20)+16*r.param(4) // one mapping for both: IORING_FEAT_SINGLE_MMAP
	var err error
	r.sq, err = unix.Mmap(r.fd, 0, int(max(sqSize, cqSize)), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	must(t, err)
	r.sqes, err = unix.Mmap(r.fd, 0x10000000, int(64*r.param(0)), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	must(t, err)
	t.Cleanup(func() { must(t, errors.Join(unix.Munmap(r.sq), unix.Munmap(r.sqes), unix.Close(r.fd))) })
	return r
}

// sqe is a submission: opcode, flags, descriptor, offset, address, length, flags of the operation.
type sqe struct {
	op, flags byte
	fd        int32
	off, addr uint64
	length    uint32
	opFlags   uint32
	fileIndex uint32
}

// do submits one request and returns the result of its completion; 0 if it asked for none.
func (r *ring) do(q sqe) int64 {
	tailAt, maskAt, arrayAt := r.param(40+4), r.param(40+8), r.param(40+24)
	tail := atomic.LoadUint32(r.word(tailAt))
	i := tail & *r.word(maskAt)
	e := r.sqes[64*i : 64*i+64]
	clear(e)
	e[0], e[1] = q.op, q.flags
	le := binary.LittleEndian
	le.PutUint32(e[4:], uint32(q.fd))
	le.PutUint64(e[8:], q.off)
	le.PutUint64(e[16:], q.addr)
	le.PutUint32(e[24:], q.length)
	le.PutUint32(e[28:], q.opFlags)
	le.PutUint32(e[44:], q.fileIndex)
	*r.word(arrayAt + 4*i) = i
	atomic.StoreUint32(r.word(tailAt), tail+1)
	wait := 1
	if q.flags&skipCompletion != 0 {
		wait = 0
	}
	if n := sys(unix.SYS_IO_URING_ENTER, r.fd, 1, wait, wait); n != 1 {
		return n
	}
	headAt, cqTailAt := r.param(80), r.param(80+4)
	head := atomic.LoadUint32(r.word(headAt))
	for head == atomic.LoadUint32(r.word(cqTailAt)) {
		if wait == 0 {
			return 0
		}
		sys(unix.SYS_IO_URING_ENTER, r.fd, 0, 1, 1) // a signal had ended the wait
	}
	at := r.param(80+20) + 16*(head&*r.word(r.param(80 + 8)))
	res := int32(le.Uint32(r.sq[at+8:]))
	atomic.StoreUint32(r.word(headAt), head+1)
	return int64(res)
}

const skipCompletion = 1 << 6 // IOSQE_CQE_SKIP_SUCCESS

// asynchronous makes a worker thread do the request.
const asynchronous = 1 << 4

func TestURing(t *testing.T) {
	c := start(t, Options{}, every()...)
	if slices.Contains(c.Report().Missing, "io_uring") {
		t.Fatal("io_uring is not seen on this kernel")
	}
	r := newRing(t)
	dir := t.TempDir()
	in := func(s string) string { return filepath.Join(dir, s) }
	for _, f := range []string{"a", "b", "c", "d"} {
		touch(t, in(f), 0o600)
	}
	dfd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(dfd)
	var keep []any
	str := func(s string) uint64 {
		p, err := unix.BytePtrFromString(s)
		must(t, err)
		keep = append(keep, p)
		return uint64(uintptr(unsafe.Pointer(p)))
	}
	mem := func(b []byte) uint64 {
		keep = append(keep, &b[0])
		return uint64(uintptr(unsafe.Pointer(&b[0])))
	}
	how := make([]byte, 24)
	how[16] = unix.RESOLVE_NO_SYMLINKS
	listener, client := socketFD(t, unix.AF_INET, unix.SOCK_STREAM), socketFD(t, unix.AF_INET, unix.SOCK_STREAM)
	must(t, unix.Bind(listener, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	must(t, unix.Listen(listener, 1))
	port := portOf(t, listener)
	at := int32(dfd)
	do := func(q sqe) func() int64 { return func() int64 { return r.do(q) } }
	// The thread that makes a request has to live until a worker has done it: at its end the kernel cancels what is left.
	silently := func(q sqe) func() int64 {
		return func() int64 {
			n := r.do(q)
			for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
				if _, err := os.Stat(in("d")); err != nil {
					break
				}
			}
			return n
		}
	}
	c.run(t, eventv1.FlagIOUring, []call{
		{eventv1.Openat, do(sqe{op: 18, fd: at, addr: str("a"), opFlags: unix.O_RDWR}), []string{"nameraw"}, map[string]any{"fd": fresh, "dirfd": dfd, "name": in("a"), "nameraw": "a", "flags": unix.O_RDWR | 0o100000}},
		{eventv1.Openat, do(sqe{op: 18, fd: at, addr: str("none")}), []string{"nameraw"}, map[string]any{"fd": -1, "name": in("none"), "nameraw": "none", "dirfd": dfd}},
		{eventv1.Openat, do(sqe{op: 18, flags: asynchronous, fd: at, addr: str("b")}), []string{"nameraw"}, map[string]any{"fd": fresh, "name": in("b"), "nameraw": "b"}},
		{eventv1.Openat2, do(sqe{op: 28, fd: at, addr: str("c"), length: 24, off: mem(how)}), []string{"nameraw"}, map[string]any{"fd": fresh, "name": in("c"), "nameraw": "c", "resolve": unix.RESOLVE_NO_SYMLINKS}},
		{eventv1.Unlinkat, do(sqe{op: 36, fd: at, addr: str("a")}), []string{"nameraw"}, map[string]any{"name": in("a"), "nameraw": "a", "dirfd": dfd, "flags": 0}},
		{eventv1.Renameat2, do(sqe{op: 35, fd: at, addr: str("b"), length: uint32(at), off: str("b2"), opFlags: 1}), []string{"oldpath"}, map[string]any{"oldpath": in("b"), "newpath": in("b2"), "flags": 1, "olddirfd": dfd}},
		{eventv1.Mkdirat, do(sqe{op: 37, fd: at, addr: str("made"), length: 0o700}), []string{"path"}, map[string]any{"path": in("made"), "mode": 0o700, "dirfd": dfd}},
		{eventv1.Symlinkat, do(sqe{op: 38, fd: at, addr: str("/etc/shadow"), off: str("sym")}), []string{"linkpath"}, map[string]any{"target": "/etc/shadow", "linkpath": in("sym"), "linkdirfd": dfd}},
		{eventv1.Linkat, do(sqe{op: 39, fd: at, addr: str("c"), length: uint32(at), off: str("c2")}), []string{"newpath"}, map[string]any{"oldpath": in("c"), "newpath": in("c2"), "flags": 0}},
		{eventv1.Socket, do(sqe{op: 45, fd: unix.AF_INET, off: unix.SOCK_DGRAM, length: 17}), []string{"protocol"}, map[string]any{"fd": fresh, "domain": unix.AF_INET, "type": unix.SOCK_DGRAM, "protocol": 17}},
		{eventv1.Connect, do(sqe{op: 16, fd: int32(client), addr: mem(inet4(port)), off: 16}), []string{"fd"}, map[string]any{"fd": client, "family": unix.AF_INET, "daddr": loopback4, "dport": port}},
		{eventv1.Accept4, do(sqe{op: 13, fd: int32(listener)}), []string{"listenfd"}, map[string]any{"fd": fresh, "listenfd": listener, "sport": port, "daddr": loopback4}},
		// A request that asks for no completion is told as a success.
		{eventv1.Unlinkat, silently(sqe{op: 36, flags: skipCompletion, fd: at, addr: str("d")}), []string{"nameraw"}, map[string]any{"name": in("d"), "nameraw": "d"}},
	})
	runtime.KeepAlive(keep)
	if _, err := os.Stat(in("d")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the silent request did nothing: %v", err)
	}
}

// TestURingNew makes requests that only newer kernels know; an older one refuses them.
func TestURingNew(t *testing.T) {
	c := start(t, Options{}, every()...)
	r := newRing(t)
	file := touch(t, filepath.Join(t.TempDir(), "f"), 0o600)
	fd, err := unix.Open(file, unix.O_RDWR|unix.O_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(fd)
	sock := socketFD(t, unix.AF_INET, unix.SOCK_STREAM)
	addr := inet4(0)
	probe := sqe{op: 56, fd: int32(sock), addr: uint64(uintptr(unsafe.Pointer(&addr[0]))), off: 16}
	if res := r.do(probe); res == -int64(unix.EINVAL) {
		t.Logf("this kernel has no bind in io_uring: nothing to see")
		return
	}
	c.event(t, eventv1.Bind, map[string]any{"fd": int64(sock), "saddr": loopback4})
	c.run(t, eventv1.FlagIOUring, []call{
		{eventv1.Listen, func() int64 { return r.do(sqe{op: 57, fd: int32(sock), length: 3}) }, []string{"fd"}, map[string]any{"fd": sock, "backlog": 3, "sport": portOf(t, sock)}},
		{eventv1.Ftruncate, func() int64 { return r.do(sqe{op: 55, fd: int32(fd), off: 77}) }, []string{"fd"}, map[string]any{"fd": fd, "length": 77, "path": file}},
	})
	runtime.KeepAlive(addr)
}
