package eventv1

var (
	connectArgs = args([]Arg{{"fd", FD, "the socket's descriptor"}}, socket())
	acceptArgs  = args([]Arg{{"fd", FD, "the new connection's descriptor, -1 if the call failed"}, {"listenfd", FD, "the listening socket's descriptor"}, {"flags", SockFlags, "SOCK_* flags"}}, socket())
	messageArgs = args([]Arg{{"fd", FD, "the socket's descriptor"}, {"size", Int, "bytes of the message; for sendmmsg messages"}}, socket())
	dupArgs     = args([]Arg{
		{"fd", FD, "the new descriptor: 0, 1 or 2"}, {"oldfd", FD, "the descriptor that was copied"}, {"newfd", FD, "the descriptor that was asked for"}, {"flags", OpenFlags, "O_CLOEXEC"},
	}, socket())
)

var netKinds = map[Kind]Info{
	Connect: {"connect", "net", "a socket was connected, or could not be", connectArgs},
	Socket: {"socket", "net", "a socket was made, or could not be", []Arg{
		{"fd", FD, "the new descriptor, -1 if the call failed"}, {"domain", Family, "address family"}, {"type", SockType, "socket type"}, {"protocol", Int, "protocol number, as the address family counts them"},
	}},
	Bind:     {"bind", "net", "a socket got an address, or could not", connectArgs},
	Listen:   {"listen", "net", "a socket began to listen, or could not", args([]Arg{{"fd", FD, "the socket's descriptor"}, {"backlog", Int, "length of the queue"}}, socket())},
	Accept:   {"accept", "net", "a connection was taken, or could not be", acceptArgs},
	Accept4:  {"accept4", "net", "a connection was taken, or could not be", acceptArgs},
	Sendto:   {"sendto", "net", "a first message was sent to a peer through a socket that needs no connection", messageArgs},
	Sendmsg:  {"sendmsg", "net", "a first message was sent to a peer through a socket that needs no connection", messageArgs},
	Sendmmsg: {"sendmmsg", "net", "first messages were sent to a peer through a socket that needs no connection; the peer is that of the first one", messageArgs},
	Recvfrom: {"recvfrom", "net", "a first message came from a peer through a socket that needs no connection", messageArgs},
	Recvmsg:  {"recvmsg", "net", "a first message came from a peer through a socket that needs no connection", messageArgs},
	Dup:      {"dup", "file", "a socket became descriptor 0, 1 or 2", dupArgs},
	Dup2:     {"dup2", "file", "a socket became descriptor 0, 1 or 2", dupArgs},
	Dup3:     {"dup3", "file", "a socket became descriptor 0, 1 or 2", dupArgs},
	Fcntl: {"fcntl", "file", "a socket became descriptor 0, 1 or 2", args([]Arg{
		{"fd", FD, "the new descriptor: 0, 1 or 2"}, {"oldfd", FD, "the descriptor that was copied"}, {"cmd", FcntlCmd, "F_DUPFD or F_DUPFD_CLOEXEC"},
	}, socket())},
}
