package probe

import (
	"maps"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gyre-sec/gyre/schemas/eventv1"
)

// loopback4 is 127.0.0.1 as the wire has it, inet4 a sockaddr_in of it.
const loopback4 = "\x7f\x00\x00\x01"

func inet4(port int) []byte {
	return append([]byte{unix.AF_INET, 0, byte(port >> 8), byte(port)}, append([]byte(loopback4), make([]byte, 8)...)...)
}

func socketFD(t *testing.T, family, typ int) int {
	t.Helper()
	fd, err := unix.Socket(family, typ|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	t.Cleanup(func() { _ = unix.Close(fd) })
	return fd
}

func portOf(t *testing.T, fd int) int {
	t.Helper()
	sa, err := unix.Getsockname(fd)
	must(t, err)
	return sa.(*unix.SockaddrInet4).Port
}

func TestSockets(t *testing.T) {
	c := start(t, Options{}, every()...)
	listener, client := socketFD(t, unix.AF_INET, unix.SOCK_STREAM), socketFD(t, unix.AF_INET, unix.SOCK_STREAM)
	refused := socketFD(t, unix.AF_INET, unix.SOCK_STREAM)
	tcp := map[string]any{"family": unix.AF_INET, "socktype": unix.SOCK_STREAM, "proto": unix.IPPROTO_TCP}
	with := func(more map[string]any) map[string]any {
		maps.Copy(more, tcp)
		return more
	}
	c.run(t, 0, []call{
		{eventv1.Socket, func() int64 { return sys(unix.SYS_SOCKET, unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0x300) }, []string{"domain"}, map[string]any{"fd": fresh, "domain": unix.AF_PACKET, "type": unix.SOCK_RAW | unix.SOCK_CLOEXEC, "protocol": 0x300}},
		{eventv1.Socket, func() int64 { return sys(unix.SYS_SOCKET, unix.AF_VSOCK, unix.SOCK_STREAM, 0) }, []string{"domain"}, map[string]any{"domain": unix.AF_VSOCK}},
		{eventv1.Bind, func() int64 { return sys(unix.SYS_BIND, listener, inet4(0), 16) }, []string{"fd"}, with(map[string]any{"fd": listener, "saddr": loopback4})},
	})
	port := portOf(t, listener)
	c.run(t, 0, []call{
		{eventv1.Listen, func() int64 { return sys(unix.SYS_LISTEN, listener, 7) }, []string{"fd"}, with(map[string]any{"fd": listener, "backlog": 7, "saddr": loopback4, "sport": port})},
		{eventv1.Connect, func() int64 { return sys(unix.SYS_CONNECT, client, inet4(port), 16) }, []string{"fd"}, with(map[string]any{"fd": client, "daddr": loopback4, "dport": port, "saddr": loopback4})},
		{eventv1.Connect, func() int64 { return sys(unix.SYS_CONNECT, refused, inet4(1), 16) }, []string{"fd"}, with(map[string]any{"fd": refused, "daddr": loopback4, "dport": 1})},
	})
	c.run(t, 0, []call{
		{eventv1.Accept4, func() int64 { return sys(unix.SYS_ACCEPT4, listener, 0, 0, unix.SOCK_CLOEXEC) }, []string{"listenfd"}, with(map[string]any{"fd": fresh, "listenfd": listener, "flags": unix.SOCK_CLOEXEC, "saddr": loopback4, "sport": port, "daddr": loopback4, "dport": portOf(t, client)})},
	})
	again := socketFD(t, unix.AF_INET, unix.SOCK_STREAM)
	must(t, unix.Connect(again, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}))
	c.run(t, 0, []call{
		{eventv1.Accept, func() int64 { return sys(unix.SYS_ACCEPT, listener, 0, 0) }, []string{"listenfd"}, with(map[string]any{"fd": fresh, "listenfd": listener, "flags": 0, "sport": port, "dport": portOf(t, again)})},
	})
	// IPv6, where a connection that fails has only the caller's word for the address.
	six := socketFD(t, unix.AF_INET6, unix.SOCK_STREAM)
	_ = unix.Connect(six, &unix.SockaddrInet6{Port: 2, Addr: [16]byte{15: 1}})
	c.event(t, eventv1.Connect, map[string]any{"fd": int64(six), "daddr": strings.Repeat("\x00", 15) + "\x01", "dport": int64(2), "family": int64(unix.AF_INET6)})
}

func TestUnixSockets(t *testing.T) {
	c := start(t, Options{}, every()...)
	name := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", name)
	must(t, err)
	defer l.Close()
	c.event(t, eventv1.Bind, map[string]any{"sun_path": name, "family": int64(unix.AF_UNIX)})
	for path, want := range map[string]string{name: name, "@gyre-abstract": "@gyre-abstract"} {
		fd := socketFD(t, unix.AF_UNIX, unix.SOCK_STREAM)
		_ = unix.Connect(fd, &unix.SockaddrUnix{Name: path}) // the abstract one is refused
		c.event(t, eventv1.Connect, map[string]any{"fd": int64(fd), "sun_path": want, "family": int64(unix.AF_UNIX)})
	}
	// A relative name is the caller's word; the kernel's is absolute where the server bound it so.
	dir, err := os.Open(filepath.Dir(name))
	must(t, err)
	defer dir.Close()
}

func TestMessages(t *testing.T) {
	c := start(t, Options{}, every()...)
	server, client := socketFD(t, unix.AF_INET, unix.SOCK_DGRAM), socketFD(t, unix.AF_INET, unix.SOCK_DGRAM)
	for _, fd := range []int{server, client} {
		must(t, unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	}
	to, from := &unix.SockaddrInet4{Port: portOf(t, server), Addr: [4]byte{127, 0, 0, 1}}, portOf(t, client)
	buf := make([]byte, 16)
	for range 3 {
		must(t, unix.Sendto(client, []byte("hello"), 0, to))
		_, _, err := unix.Recvfrom(server, buf, 0)
		must(t, err)
		must(t, unix.Sendmsg(client, []byte("hello"), nil, to, 0))
		_, _, _, _, err = unix.Recvmsg(server, buf, nil, 0)
		must(t, err)
	}
	peer := map[string]any{"daddr": loopback4, "dport": int64(to.Port), "sport": int64(from), "saddr": loopback4, "size": int64(5), "proto": int64(unix.IPPROTO_UDP), "socktype": int64(unix.SOCK_DGRAM)}
	c.event(t, eventv1.Sendto, peer)
	c.event(t, eventv1.Sendmsg, peer)
	back := map[string]any{"daddr": loopback4, "dport": int64(from), "sport": int64(to.Port), "fd": int64(server)}
	c.event(t, eventv1.Recvfrom, back)
	c.event(t, eventv1.Recvmsg, back)
	// Another peer is another event; six messages to one peer were one event each way and kind.
	must(t, unix.Sendto(client, []byte("x"), 0, &unix.SockaddrInet4{Port: 9, Addr: [4]byte{127, 0, 0, 2}}))
	c.event(t, eventv1.Sendto, map[string]any{"daddr": "\x7f\x00\x00\x02", "dport": int64(9)})
	n := map[eventv1.Kind]int{}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.recs {
		if e, err := decoded(&c.recs[i]); err == nil && e.kind.IsMessage() && (e.args["fd"] == int64(client) || e.args["fd"] == int64(server)) && e.pid == uint32(os.Getpid()) {
			n[e.kind]++
		}
	}
	for k, want := range map[eventv1.Kind]int{eventv1.Sendto: 2, eventv1.Sendmsg: 1, eventv1.Recvfrom: 1, eventv1.Recvmsg: 1} {
		if n[k] != want {
			t.Errorf("%d events of %s, want %d", n[k], k, want)
		}
	}
}

// TestShell makes a socket the standard input of a process, as a reverse shell does.
func TestSocketBecomesStandardInput(t *testing.T) {
	c := start(t, Options{}, every()...)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	conn, err := net.Dial("tcp4", l.Addr().String())
	must(t, err)
	defer conn.Close()
	raw, err := conn.(*net.TCPConn).File()
	must(t, err)
	defer raw.Close()
	fd := int(raw.Fd())
	saved, err := unix.Dup(0)
	must(t, err)
	defer func() { must(t, unix.Dup3(saved, 0, 0)); _ = unix.Close(saved) }()
	to := map[string]any{"fd": 0, "oldfd": fd, "daddr": loopback4, "dport": l.Addr().(*net.TCPAddr).Port, "family": unix.AF_INET}
	and := func(k string, v int) map[string]any {
		out := map[string]any{k: v}
		maps.Copy(out, to)
		return out
	}
	closed := func(f func() int64) func() int64 {
		return func() int64 { _ = unix.Close(0); return f() }
	}
	c.run(t, 0, []call{
		{eventv1.Dup2, func() int64 { return sys(unix.SYS_DUP2, fd, 0) }, []string{"oldfd"}, and("newfd", 0)},
		{eventv1.Dup3, func() int64 { return sys(unix.SYS_DUP3, fd, 0, unix.O_CLOEXEC) }, []string{"oldfd"}, and("flags", unix.O_CLOEXEC)},
		{eventv1.Dup, closed(func() int64 { return sys(unix.SYS_DUP, fd) }), []string{"oldfd"}, and("newfd", 0)},
		{eventv1.Fcntl, closed(func() int64 { return sys(unix.SYS_FCNTL, fd, unix.F_DUPFD, 0) }), []string{"oldfd"}, and("cmd", 0)},
		{eventv1.Fcntl, closed(func() int64 { return sys(unix.SYS_FCNTL, fd, unix.F_DUPFD_CLOEXEC, 0) }), []string{"oldfd", "cmd"}, and("cmd", unix.F_DUPFD_CLOEXEC)},
	})
}
