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
	src, dst   netip.AddrPort
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
		switch {
		case v.e.Kind.IsOpen():
			v.fdOpen()
		case v.e.Kind == eventv1.Connect:
			v.fdConnect()
		}
		v.fdReady = true
	}
	return &v.fd
}

func (v *View) fdOpen() {
	e, f := v.e, &v.fd
	f.ok, f.num, f.path = true, e.Args[eventv1.OpenFD], true
	f.name = v.b.Text(e.Str(eventv1.OpenName))
	f.nameraw = v.b.Text(e.Str(eventv1.OpenNameRaw))
	f.typ, f.typechar = "file", "f"
	switch e.Args[eventv1.OpenFileMode] & sIfmt {
	case sIfdir:
		f.typ, f.typechar = "directory", "d"
	case sIfifo:
		f.typ, f.typechar = "pipe", "p"
	}
	if e.Ret >= 0 {
		f.hasFile, f.ino, f.dev = true, e.Args[eventv1.OpenIno], e.Args[eventv1.OpenDev]
	}
}

func (v *View) fdConnect() {
	e, f := v.e, &v.fd
	f.ok, f.sock, f.num = true, true, e.Args[eventv1.ConnectFD]
	f.connected = e.Ret == 0
	switch e.Args[eventv1.ConnectFamily] {
	case 1:
		f.typ, f.typechar, f.family = "unix", "u", "unix"
		f.name = v.b.Text(e.Str(eventv1.ConnectPath))
		return
	case 2:
		f.typ, f.typechar, f.family = "ipv4", "4", "ip"
	case 10:
		f.typ, f.typechar, f.family = "ipv6", "6", "ip"
	default:
		f.typ, f.typechar = "socket", "?"
		return
	}
	f.l4 = protocolOf(e.Args[eventv1.ConnectProto], e.Args[eventv1.ConnectSockType])
	src, _ := address(v.b.Text(e.Str(eventv1.ConnectSAddr)))
	dst, ok := address(v.b.Text(e.Str(eventv1.ConnectDAddr)))
	if !ok {
		return
	}
	f.hasAddr = true
	f.src = netip.AddrPortFrom(src, uint16(e.Args[eventv1.ConnectSPort]))
	f.dst = netip.AddrPortFrom(dst, uint16(e.Args[eventv1.ConnectDPort]))
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

// fdName is a path, or "source:port->destination:port" for a connection, made when it is asked for.
func (v *View) fdName() string {
	f := v.fdOf()
	if f.name == "" && f.hasAddr {
		var buf [96]byte
		b := buf[:0]
		if f.src.Addr().IsValid() {
			b = f.src.Addr().AppendTo(b)
			b = append(b, ':')
			b = strconv.AppendUint(b, uint64(f.src.Port()), 10)
			b = append(b, "->"...)
		}
		b = f.dst.Addr().AppendTo(b)
		b = append(b, ':')
		b = strconv.AppendUint(b, uint64(f.dst.Port()), 10)
		f.name = string(b)
	}
	return f.name
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
	files := kindsWhere(eventv1.Kind.IsOpen)
	socks := []eventv1.Kind{eventv1.Connect}
	both := append(append([]eventv1.Kind{}, files...), socks...)
	ip := func(name, doc string, of func(*fdInfo) netip.AddrPort) Field {
		return fdStr(name, doc, socks, func(_ *View, f *fdInfo) string {
			if a := of(f).Addr(); f.hasAddr && a.IsValid() {
				return a.String()
			}
			return ""
		})
	}
	port := func(name, doc string, of func(*fdInfo) netip.AddrPort) Field {
		return fdNum(name, doc, socks, func(f *fdInfo) (int64, bool) { return int64(of(f).Port()), f.hasAddr })
	}
	local := func(f *fdInfo) netip.AddrPort { return f.src }
	remote := func(f *fdInfo) netip.AddrPort { return f.dst }
	return []Field{
		fdNum("fd.num", "number of the descriptor", both, func(f *fdInfo) (int64, bool) { return f.num, true }),
		fdStr("fd.name", "path of the file, or source->destination of the connection, or path of the Unix socket", both, func(v *View, _ *fdInfo) string { return v.fdName() }),
		fdStr("fd.nameraw", "name of the file as the caller gave it", files, func(_ *View, f *fdInfo) string { return f.nameraw }),
		fdStr("fd.directory", "directory of the file", files, func(_ *View, f *fdInfo) string { return directory(f) }),
		fdStr("fd.filename", "last part of the path of the file", files, func(_ *View, f *fdInfo) string { return filename(f) }),
		fdStr("fd.type", "file, directory, pipe, ipv4, ipv6, unix or socket", both, func(_ *View, f *fdInfo) string { return f.typ }),
		fdStr("fd.typechar", "type as one letter: f, d, p, 4, 6, u, ?", both, func(_ *View, f *fdInfo) string { return f.typechar }),
		fdNum("fd.ino", "inode number of the file", files, func(f *fdInfo) (int64, bool) { return f.ino, f.hasFile }),
		fdNum("fd.dev", "device number of the file", files, func(f *fdInfo) (int64, bool) { return f.dev, f.hasFile }),
		fdStr("fd.l4proto", "transport protocol: tcp, udp, icmp, raw", socks, func(_ *View, f *fdInfo) string { return f.l4 }),
		fdStr("fd.sockfamily", "socket family: ip or unix", socks, func(_ *View, f *fdInfo) string { return f.family }),
		ip("fd.cip", "address of the client", local), ip("fd.sip", "address of the server", remote),
		ip("fd.lip", "local address", local), ip("fd.rip", "remote address", remote),
		port("fd.cport", "port of the client", local), port("fd.sport", "port of the server", remote),
		port("fd.lport", "local port", local), port("fd.rport", "remote port", remote),
		boolean("fd.connected", FromEvent, "the socket is connected", func(v *View) (bool, bool) {
			f := v.fdOf()
			return f.connected, f.sock
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
