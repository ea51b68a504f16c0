package eventv1

// kinds is the kind table: adding a kind is one constant and one row.
var kinds = table()

func table() [KindCount]Info {
	var t [KindCount]Info
	for _, part := range []map[Kind]Info{processKinds, fileKinds, mountKinds, netKinds, credentialKinds, systemKinds} {
		for k, info := range part {
			t[k] = info
		}
	}
	return t
}

// addressArgs lists the positions of IP addresses among the arguments of each kind.
var addressArgs = func() (at [KindCount][]uint8) {
	for k := range kinds {
		for i, a := range kinds[k].Args {
			if a.Type == Address {
				at[k] = append(at[k], uint8(i))
			}
		}
	}
	return at
}()

// The arguments that describe the file and the socket of a descriptor.

func file(path, doc string) []Arg {
	return []Arg{
		{path, Path, doc},
		{"file_mode", Mode, "type and permission bits of the file"},
		{"dev", Uint, "device number of the file"},
		{"ino", Uint, "inode number of the file"},
		{"file_flags", FileFlags, "what is known of the file"},
	}
}

func socket() []Arg {
	return []Arg{
		{"family", Family, "address family"},
		{"socktype", SockType, "socket type"},
		{"proto", L4Proto, "transport protocol"},
		{"saddr", Address, "local address"},
		{"sport", Uint, "local port"},
		{"daddr", Address, "remote address"},
		{"dport", Uint, "remote port"},
		{"sun_path", Text, "path of a Unix socket; abstract names start with @"},
		{"netns", Uint, "inode number of the network namespace"},
	}
}

func args(first []Arg, more ...[]Arg) []Arg {
	for _, m := range more {
		first = append(first, m...)
	}
	return first
}
