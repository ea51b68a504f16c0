package field

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/gyre-sec/gyre/schemas/eventv1"
)

// fdInfo is what the fd.* fields say about the descriptor of an event.
type fdInfo struct {
	ok         bool
	num        int64
	name       string
	nameraw    string
	typ        string
	typechar   string
	path       bool // name is the path of a file
	ino, dev   int64
	hasFile    bool
	sock       bool
	l4, family string
	local      netip.AddrPort
	remote     netip.AddrPort
	localID    eventv1.StrID // of the addresses, in the string table
	remoteID   eventv1.StrID
	server     bool // the local end is the server
	hasAddr    bool
	connected  bool
}

// File types of a mode (include/uapi/linux/stat.h).
const (
	sIfmt  = 0o170000
	sIfdir = 0o040000
	sIfifo = 0o010000
)

func (v *View) fdOf() *fdInfo {
	if !v.fdReady {
		v.fd = fdInfo{}
		if v.e.Kind.Known() {
			v.readFD(&places[v.e.Kind])
		}
		v.fdReady = true
	}
	return &v.fd
}

// place says where a kind has its descriptor and what is known of it: positions of arguments, -1 for none.
type place struct {
	fd, name, nameraw int
	mode, dev, ino    int
	socket            int // the first of the arguments of a socket
}

// places is derived from the kind table: by the names of the arguments.
var places = findPlaces()

func findPlaces() (all [eventv1.KindCount]place) {
	for _, k := range eventv1.Kinds() {
		p := place{fd: -1, name: -1, nameraw: -1, mode: -1, dev: -1, ino: -1, socket: -1}
		for i, a := range k.Info().Args {
			switch {
			case a.Name == "fd":
				p.fd = i
			case a.Name == "nameraw" && k.IsOpen():
				p.nameraw = i
			case a.Name == "file_mode":
				p.mode = i
			case a.Name == "dev" && a.Type == eventv1.Uint:
				p.dev = i
			case a.Name == "ino":
				p.ino = i
			case a.Name == "family":
				p.socket = i
			}
		}
		switch {
		case k.IsOpen():
			p.name = eventv1.OpenName
		case p.mode > 0:
			p.name = p.mode - 1 // see file in eventv1's kind table
		}
		all[k] = p
	}
	return all
}

func (v *View) readFD(p *place) {
	e, f := v.e, &v.fd
	switch {
	case p.fd < 0:
		return
	case p.socket >= 0:
		f.ok, f.num = true, e.Args[p.fd]
		v.readSocket(p.socket)
	case p.mode >= 0:
		f.ok, f.num = true, e.Args[p.fd]
		v.readFile(p)
	case e.Kind == eventv1.Socket:
		f.ok, f.num = true, e.Args[p.fd]
		f.setFamily(e.Args[1])
	default:
		f.ok, f.num = true, e.Args[p.fd]
	}
}

func (v *View) readFile(p *place) {
	e, f := v.e, &v.fd
	f.path = true
	f.name = v.b.Text(e.Str(p.name))
	if p.nameraw >= 0 {
		f.nameraw = v.b.Text(e.Str(p.nameraw))
	}
	f.typ, f.typechar = "file", "f"
	mode := e.Args[p.mode]
	switch mode & sIfmt {
	case sIfdir:
		f.typ, f.typechar = "directory", "d"
	case sIfifo:
		f.typ, f.typechar = "pipe", "p"
	}
	if mode != 0 {
		f.hasFile, f.ino, f.dev = true, e.Args[p.ino], e.Args[p.dev]
	}
}

// Positions among the arguments of a socket; see socket in eventv1's kind table.
const (
	sockFamily = iota
	sockType
	sockProto
	sockSAddr
	sockSPort
	sockDAddr
	sockDPort
	sockPath
)

// setFamily sets what an address family says; it tells whether there are IP addresses.
func (f *fdInfo) setFamily(family int64) bool {
	switch family {
	case 1:
		f.typ, f.typechar, f.family = "unix", "u", "unix"
	case 2:
		f.typ, f.typechar, f.family = "ipv4", "4", "ip"
		return true
	case 10:
		f.typ, f.typechar, f.family = "ipv6", "6", "ip"
		return true
	default:
		f.typ, f.typechar = "socket", "?"
	}
	return false
}

func (v *View) readSocket(at int) {
	e, f := v.e, &v.fd
	f.sock = true
	f.connected = e.Ret >= 0 && e.Kind != eventv1.Bind && e.Kind != eventv1.Listen
	if !f.setFamily(e.Args[at+sockFamily]) {
		if f.family == "unix" {
			f.name = v.b.Text(e.Str(at + sockPath))
		}
		return
	}
	f.l4 = protocolOf(e.Args[at+sockProto], e.Args[at+sockType])
	f.localID, f.remoteID = e.Str(at+sockSAddr), e.Str(at+sockDAddr)
	src, sok := address(v.b.Text(f.localID))
	dst, dok := address(v.b.Text(f.remoteID))
	f.hasAddr = sok || dok
	f.local = netip.AddrPortFrom(src, uint16(e.Args[at+sockSPort]))
	f.remote = netip.AddrPortFrom(dst, uint16(e.Args[at+sockDPort]))
	f.server = e.Kind.IsAccept() || e.Kind == eventv1.Bind || e.Kind == eventv1.Listen || e.Kind == eventv1.Recvfrom || e.Kind == eventv1.Recvmsg
	f.connected = f.connected && dok && f.remote.Port() != 0
}

// client and server are the two ends. Who takes connections or waits for messages is the server.
func (f *fdInfo) ends() (client, server netip.AddrPort) {
	if f.server {
		return f.remote, f.local
	}
	return f.local, f.remote
}

func protocolOf(proto, socktype int64) string {
	if n, ok := protocols[proto]; ok {
		return n
	}
	switch socktype & 0xf {
	case 1:
		return "tcp"
	case 2:
		return "udp"
	case 3:
		return "raw"
	default:
		return ""
	}
}

// fdName is a path, or "client:port->server:port" for a connection and "address:port" for one end, made when it is asked for.
func (v *View) fdName() string {
	f := v.fdOf()
	if f.name == "" && f.hasAddr {
		var buf [96]byte
		b := buf[:0]
		client, server := f.ends()
		if client.Addr().IsValid() {
			b = appendEnd(b, client)
			if server.Addr().IsValid() {
				b = append(b, "->"...)
			}
		}
		if server.Addr().IsValid() {
			b = appendEnd(b, server)
		}
		f.name = string(b)
	}
	return f.name
}

func appendEnd(b []byte, a netip.AddrPort) []byte {
	b = a.Addr().AppendTo(b)
	return strconv.AppendUint(append(b, ':'), uint64(a.Port()), 10)
}

func fdStr(name, doc string, kinds []eventv1.Kind, get func(*View, *fdInfo) string) Field {
	return str(name, FromEvent, doc, func(v *View) (string, bool) {
		f := v.fdOf()
		if !f.ok {
			return "", false
		}
		s := get(v, f)
		return s, s != ""
	}).only(kinds...)
}

func fdNum(name, doc string, kinds []eventv1.Kind, get func(*fdInfo) (int64, bool)) Field {
	return num(name, FromEvent, doc, func(v *View) (int64, bool) {
		f := v.fdOf()
		if !f.ok {
			return 0, false
		}
		return get(f)
	}).only(kinds...)
}

func fdFields() []Field {
	opens := kindsWhere(eventv1.Kind.IsOpen)
	files := kindsWhere(func(k eventv1.Kind) bool { return places[k].fd >= 0 && places[k].mode >= 0 })
	socks := kindsWhere(func(k eventv1.Kind) bool { return places[k].socket >= 0 })
	typed := kindsWhere(func(k eventv1.Kind) bool {
		return places[k].fd >= 0 && (places[k].mode >= 0 || places[k].socket >= 0 || k == eventv1.Socket)
	})
	all := kindsWhere(func(k eventv1.Kind) bool { return places[k].fd >= 0 })
	both := append(append([]eventv1.Kind{}, files...), socks...)
	ip := func(name, doc string, of func(*fdInfo) netip.AddrPort) Field {
		return fdStr(name, doc, socks, func(v *View, f *fdInfo) string {
			if a := of(f).Addr(); f.hasAddr && a.IsValid() {
				return v.addrText(a)
			}
			return ""
		})
	}
	port := func(name, doc string, of func(*fdInfo) netip.AddrPort) Field {
		return fdNum(name, doc, socks, func(f *fdInfo) (int64, bool) { a := of(f); return int64(a.Port()), f.hasAddr && a.Addr().IsValid() })
	}
	local := func(f *fdInfo) netip.AddrPort { return f.local }
	remote := func(f *fdInfo) netip.AddrPort { return f.remote }
	client := func(f *fdInfo) netip.AddrPort { c, _ := f.ends(); return c }
	server := func(f *fdInfo) netip.AddrPort { _, s := f.ends(); return s }
	return []Field{
		fdNum("fd.num", "number of the descriptor", all, func(f *fdInfo) (int64, bool) { return f.num, true }),
		fdStr("fd.name", "path of the file, or client->server of the connection, or path of the Unix socket", both, func(v *View, _ *fdInfo) string { return v.fdName() }),
		fdStr("fd.nameraw", "name of the file as the caller gave it", opens, func(_ *View, f *fdInfo) string { return f.nameraw }),
		fdStr("fd.directory", "directory of the file", files, func(_ *View, f *fdInfo) string { return directory(f) }),
		fdStr("fd.filename", "last part of the path of the file", files, func(_ *View, f *fdInfo) string { return filename(f) }),
		fdStr("fd.type", "file, directory, pipe, ipv4, ipv6, unix or socket", typed, func(_ *View, f *fdInfo) string { return f.typ }),
		fdStr("fd.typechar", "type as one letter: f, d, p, 4, 6, u, ?", typed, func(_ *View, f *fdInfo) string { return f.typechar }),
		fdNum("fd.ino", "inode number of the file", files, func(f *fdInfo) (int64, bool) { return f.ino, f.hasFile }),
		fdNum("fd.dev", "device number of the file", files, func(f *fdInfo) (int64, bool) { return f.dev, f.hasFile }),
		fdStr("fd.l4proto", "transport protocol: tcp, udp, icmp, raw", socks, func(_ *View, f *fdInfo) string { return f.l4 }),
		fdStr("fd.sockfamily", "socket family: ip or unix", typed, func(_ *View, f *fdInfo) string { return f.family }),
		ip("fd.cip", "address of the client", client), ip("fd.sip", "address of the server", server),
		ip("fd.lip", "local address", local), ip("fd.rip", "remote address", remote),
		port("fd.cport", "port of the client", client), port("fd.sport", "port of the server", server),
		port("fd.lport", "local port", local), port("fd.rport", "remote port", remote),
		boolean("fd.connected", FromEvent, "the socket is connected", func(v *View) (bool, bool) {
			f := v.fdOf()
			return f.connected, f.sock
		}).only(socks...),
		boolean("fd.name_changed", FromEvent, "the event is the socket's first with this peer: a message of a kind that is told once per new peer", func(v *View) (bool, bool) {
			f := v.fdOf()
			return v.e.Kind.IsMessage() && f.hasAddr, f.sock
		}).only(socks...),
		boolean("fd.is_server", FromEvent, "the local end of the connection is the server", func(v *View) (bool, bool) {
			f := v.fdOf()
			return f.server, f.sock && f.hasAddr
		}).only(socks...),
	}
}

func filename(f *fdInfo) string {
	if !f.path {
		return ""
	}
	return f.name[strings.LastIndexByte(f.name, '/')+1:]
}

func directory(f *fdInfo) string {
	if !f.path {
		return ""
	}
	i := strings.LastIndexByte(f.name, '/')
	switch {
	case f.typ == "directory":
		return f.name
	case i < 0:
		return ""
	case i == 0:
		return "/"
	default:
		return f.name[:i]
	}
}
