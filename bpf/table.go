package bpf

import "slices"

// Call is one way to make a system call: a row number, and the kernel's entry points for it.
type Call struct {
	// Row is the number: that of x86-64, or one of the bases of enum gyre_row_base plus a number.
	Row uint32
	// Symbols are names of the entry point in the order of preference; nil for what is reached through another one.
	Symbols []string
	// Ops replace those of the kind, nil for the same.
	Ops []Op
}

// Row says how calls of a kind are reported.
type Row struct {
	Kind    uint16
	Name    string
	Handler Handler
	If      If
	Ops     []Op
	Calls   []Call
}

// Bases of row numbers: enum gyre_row_base.
const (
	rowIA32       = 512
	rowX32        = 1024
	rowSocketcall = 1088
	rowCount      = 1120
)

// x32From is the first of the numbers that only x32 programs use.
const x32From = 512

// x64 is a number of x86-64. The entry point of a call without arguments is an alias, which the kernel's types may not have.
func x64(nr uint32) func(*Row) {
	return func(r *Row) {
		r.Calls = append(r.Calls, Call{Row: nr, Symbols: []string{"__x64_sys_" + r.Name, "__do_sys_" + r.Name}})
	}
}

// x64As is x64 for an entry point of another name.
func x64As(nr uint32, name string) func(*Row) {
	return func(r *Row) { r.Calls = append(r.Calls, Call{Row: nr, Symbols: []string{"__x64_sys_" + name}}) }
}

func ia32(nr uint32) func(*Row) { return func(r *Row) { ia32As(nr, r.Name)(r) } }

// ia32As is ia32 for an entry point of another name, and other operations if ops are given.
func ia32As(nr uint32, name string, ops ...Op) func(*Row) {
	return func(r *Row) {
		c := Call{Row: rowIA32 + nr, Symbols: []string{"__ia32_compat_sys_" + name, "__ia32_sys_" + name}}
		if len(ops) > 0 {
			c.Ops = ops
		}
		r.Calls = append(r.Calls, c)
	}
}

// x32 is a number that only x32 programs use.
func x32(nr uint32) func(*Row) {
	return func(r *Row) {
		r.Calls = append(r.Calls, Call{Row: rowX32 + nr - x32From, Symbols: []string{"__x64_compat_sys_" + r.Name}})
	}
}

// via is a call number of socketcall(2).
func via(call uint32) func(*Row) {
	return func(r *Row) { r.Calls = append(r.Calls, Call{Row: rowSocketcall + call}) }
}

func row(kind uint16, name string, ops []Op, calls ...func(*Row)) Row {
	r := Row{Kind: kind, Name: name, Ops: ops}
	for _, c := range calls {
		c(&r)
	}
	return r
}

func (r Row) when(c If) Row {
	r.If = c
	return r
}

func (r Row) by(h Handler) Row {
	r.Handler = h
	return r
}

func ops(o ...Op) []Op { return o }

// Rows is the table of system calls that are reported: adding one is a row here and one in eventv1's kind table. Numbers are
// those of arch/x86/entry/syscalls in Linux 6.18.
func Rows() []Row {
	return slices.Concat(processRows(), fileRows(), mountRows(), netRows(), systemRows())
}

func processRows() []Row {
	return []Row{
		row(1, "execve", nil, x64(59), ia32(11), x32(520)).by(HandleExec),
		row(2, "execveat", nil, x64(322), ia32(358), x32(545)).by(HandleExec),
		row(88, "ptrace", ops(u32(0), num(1), u64(2), u64(3)), x64(101), ia32(26), x32(521)).when(ifNotIn(0, 1, 2, 3, 7, 24, 0x4204)), // peeks, continue, GETREGSET
		row(89, "process_vm_readv", ops(num(0), u64(result)), x64(310), ia32(347), x32(539)),
		row(90, "process_vm_writev", ops(num(0), u64(result)), x64(311), ia32(348), x32(540)),
		row(91, "kill", ops(num(0), num(1)), x64(62), ia32(37)).when(ifSignal(1)),
		row(92, "tkill", ops(num(0), num(1)), x64(200), ia32(238)).when(ifSignal(1)),
		row(93, "tgkill", ops(num(0), num(1), num(2)), x64(234), ia32(270)).when(ifSignal(2)),
		row(94, "pidfd_send_signal", ops(num(0), num(1)), x64(424), ia32(424)).when(ifNotIn(1, 0)),
		row(95, "pidfd_getfd", ops(newFD(), num(0), num(1), file(result)), x64(438), ia32(438)),
		row(96, "setns", ops(num(0), u32(1), file(0)), x64(308), ia32(346)),
		row(97, "unshare", ops(u64(0)), x64(272), ia32(310)),
		row(98, "chroot", ops(path(0, cwd)), x64(161), ia32(61)),
		row(99, "pivot_root", ops(path(0, cwd), path(1, cwd)), x64(155), ia32(217)),
		row(100, "personality", ops(u32(0)), x64(135), ia32(136)).when(ifNotIn(0, 0xffffffff)), // that one only asks
		row(101, "prctl", ops(num(0), text(1), u64(1)), x64(157), ia32(172)).when(ifIn(0, 15, 22, 35)),
		row(102, "setsid", ops(num(result)), x64(112), ia32(66)),
		row(103, "chdir", ops(path(0, cwd)), x64(80), ia32(12)).when(ifOK()),
		row(104, "fchdir", ops(num(0), file(0)), x64(81), ia32(133)).when(ifOK()),
	}
}

func fileRows() []Row {
	mkdir, mkdirat := ops(path(0, cwd), u16(1), num(cwd)), ops(path(1, 0), u16(2), num(0))
	chmod, chmodat := ops(path(0, cwd), u16(1), num(cwd), num(zero)), ops(path(1, 0), u16(2), num(0), num(zero))
	chown := ops(path(0, cwd), num(1), num(2), num(cwd), num(zero))
	return []Row{
		row(8, "open", nil, x64(2), ia32(5)).by(HandleOpen),
		row(9, "openat", nil, x64(257), ia32(295)).by(HandleOpen),
		row(10, "openat2", nil, x64(437), ia32(437)).by(HandleOpen),
		row(11, "creat", nil, x64(85), ia32(8)).by(HandleOpen),
		row(105, "open_by_handle_at", ops(newFD(), num(0), u32(2), file(result)), x64(304), ia32(342)),
		row(13, "unlink", ops(path(0, cwd), num(cwd), num(zero)), x64(87), ia32(10)),
		row(14, "unlinkat", ops(path(1, 0), num(0), u32(2)), x64(263), ia32(301)),
		row(15, "rename", ops(path(0, cwd), path(1, cwd), num(cwd), num(cwd), num(zero)), x64(82), ia32(38)),
		row(16, "renameat", ops(path(1, 0), path(3, 2), num(0), num(2), num(zero)), x64(264), ia32(302)),
		row(17, "renameat2", ops(path(1, 0), path(3, 2), num(0), num(2), u32(4)), x64(316), ia32(353)),
		row(18, "mkdir", mkdir, x64(83), ia32(39)),
		row(19, "mkdirat", mkdirat, x64(258), ia32(296)),
		row(20, "rmdir", ops(path(0, cwd)), x64(84), ia32(40)),
		row(21, "link", ops(path(0, cwd), path(1, cwd), num(cwd), num(cwd), num(zero)), x64(86), ia32(9)),
		row(22, "linkat", ops(path(1, 0), path(3, 2), num(0), num(2), u32(4)), x64(265), ia32(303)),
		row(23, "symlink", ops(text(0), path(1, cwd), num(cwd)), x64(88), ia32(83)),
		row(24, "symlinkat", ops(text(0), path(2, 1), num(1)), x64(266), ia32(304)),
		row(25, "chmod", chmod, x64(90), ia32(15)),
		row(26, "fchmod", ops(num(0), u16(1), file(0)), x64(91), ia32(94)),
		row(27, "fchmodat", chmodat, x64(268), ia32(306)),
		row(28, "fchmodat2", ops(path(1, 0), u16(2), num(0), u32(3)), x64(452), ia32(452)),
		row(29, "chown", chown, x64(92), ia32(212), ia32As(182, "chown16", path(0, cwd), u16(1), u16(2), num(cwd), num(zero))),
		row(30, "fchown", ops(num(0), num(1), num(2), file(0)), x64(93), ia32(207), ia32As(95, "fchown16", num(0), u16(1), u16(2), file(0))),
		row(31, "lchown", chown, x64(94), ia32(198), ia32As(16, "lchown16", path(0, cwd), u16(1), u16(2), num(cwd), num(zero))),
		row(32, "fchownat", ops(path(1, 0), num(2), num(3), num(0), u32(4)), x64(260), ia32(298)),
		row(33, "truncate", ops(path(0, cwd), u64(1)), x64(76), ia32(92), ia32As(193, "ia32_truncate64", path(0, cwd), pair(1))),
		row(34, "ftruncate", ops(num(0), u64(1), file(0)), x64(77), ia32(93), ia32As(194, "ia32_ftruncate64", num(0), pair(1), file(0))),
		row(35, "mknod", ops(path(0, cwd), u16(1), u32(2), num(cwd)), x64(133), ia32(14)),
		row(36, "mknodat", ops(path(1, 0), u16(2), u32(3), num(0)), x64(259), ia32(297)),
		row(37, "setxattr", ops(path(0, cwd), text(1), u32(4)), x64(188), ia32(226)).when(ifSecurity(1)),
		row(38, "lsetxattr", ops(path(0, cwd), text(1), u32(4)), x64(189), ia32(227)).when(ifSecurity(1)),
		row(39, "fsetxattr", ops(num(0), text(1), u32(4), file(0)), x64(190), ia32(228)).when(ifSecurity(1)),
		row(50, "memfd_create", ops(newFD(), text(0), u32(1)), x64(319), ia32(356)),
		row(51, "write", ops(num(0), u64(result), file(0)),
			x64(1), x64As(18, "pwrite64"), x64As(20, "writev"), x64As(296, "pwritev"), ia32(4), ia32As(181, "ia32_pwrite64"), ia32As(146, "writev"), ia32As(334, "pwritev")).when(ifNewCode(0)),
		row(52, "ioctl", ops(num(0), u32(1), u64(2), at32(2, 0), file(0)), x64(16), ia32(54), x32(514)).when(ifIn(1, 0x40086602, 0x40046602, 0x401c5820, 0x5412, 0x541c)),
	}
}

func mountRows() []Row {
	return []Row{
		row(40, "mount", ops(text(0), path(1, cwd), text(2), u32(3)), x64(165), ia32(21)),
		row(41, "umount", ops(path(0, cwd)), ia32As(22, "oldumount")),
		row(42, "umount2", ops(path(0, cwd), u32(1)), x64As(166, "umount"), ia32As(52, "umount")),
		row(43, "open_tree", ops(path(1, 0), num(0), u32(2), newFD()), x64(428), ia32(428)),
		row(44, "move_mount", ops(path(1, 0), path(3, 2), num(0), num(2), u32(4)), x64(429), ia32(429)),
		row(45, "fsopen", ops(newFD(), text(0), u32(1)), x64(430), ia32(430)),
		row(46, "fsconfig", ops(num(0), u32(1), text(2), text(3), num(4)), x64(431), ia32(431)),
		row(47, "fsmount", ops(newFD(), num(0), u32(1), u32(2)), x64(432), ia32(432)),
		row(48, "fspick", ops(path(1, 0), num(0), u32(2), newFD()), x64(433), ia32(433)),
		row(49, "mount_setattr", ops(path(1, 0), num(0), u32(2), at64(3, 0), at64(3, 8)), x64(442), ia32(442)),
	}
}

func netRows() []Row {
	dup, cloexec := ifSocket012(0), uint32(1030)
	return []Row{
		row(12, "connect", ops(num(0), sockTo(0, 1)), x64(42), ia32(362), via(3)),
		row(53, "socket", ops(newFD(), num(0), u32(1), num(2)), x64(41), ia32(359), via(1)),
		row(54, "bind", ops(num(0), sockBoundTo(0, 1)), x64(49), ia32(361), via(2)),
		row(55, "listen", ops(num(0), num(1), sock(0)), x64(50), ia32(363), via(4)),
		row(56, "accept", ops(newFD(), num(0), num(zero), sock(result)), x64(43), via(5)).when(ifNotIn(result, eagain)),
		row(57, "accept4", ops(newFD(), num(0), u32(3), sock(result)), x64(288), ia32(364), via(18)).when(ifNotIn(result, eagain)),
		row(58, "sendto", nil, x64(44), ia32(369), via(11)).by(HandleMessage),
		row(59, "sendmsg", nil, x64(46), ia32(370), via(16), x32(518)).by(HandleMessage),
		row(60, "sendmmsg", nil, x64(307), ia32(345), via(20), x32(538)).by(HandleMessage),
		row(61, "recvfrom", nil, x64(45), ia32(371), via(12), x32(517)).by(HandleMessage),
		row(62, "recvmsg", nil, x64(47), ia32(372), via(17), x32(519)).by(HandleMessage),
		row(63, "dup", ops(newFD(), num(0), num(result), num(zero), sock(result)), x64(32), ia32(41)).when(dup),
		row(64, "dup2", ops(newFD(), num(0), num(1), num(zero), sock(result)), x64(33), ia32(63)).when(dup),
		row(65, "dup3", ops(newFD(), num(0), num(1), u32(2), sock(result)), x64(292), ia32(330)).when(dup),
		row(66, "fcntl", ops(newFD(), num(0), u32(1), sock(result)), x64(72), ia32(55), ia32As(221, "fcntl64")).when(ifSocket012(1, 0, cloexec)),
	}
}

func systemRows() []Row {
	one := func(o Op) []Op { return ops(o) }
	return []Row{
		row(67, "setuid", one(num(0)), x64(105), ia32(213), ia32As(23, "setuid16", u16(0))),
		row(68, "setgid", one(num(0)), x64(106), ia32(214), ia32As(46, "setgid16", u16(0))),
		row(69, "setreuid", ops(num(0), num(1)), x64(113), ia32(203), ia32As(70, "setreuid16", u16(0), u16(1))),
		row(70, "setregid", ops(num(0), num(1)), x64(114), ia32(204), ia32As(71, "setregid16", u16(0), u16(1))),
		row(71, "setresuid", ops(num(0), num(1), num(2)), x64(117), ia32(208), ia32As(164, "setresuid16", u16(0), u16(1), u16(2))),
		row(72, "setresgid", ops(num(0), num(1), num(2)), x64(119), ia32(210), ia32As(170, "setresgid16", u16(0), u16(1), u16(2))),
		row(73, "setfsuid", one(num(0)), x64(122), ia32(215), ia32As(138, "setfsuid16", u16(0))),
		row(74, "setfsgid", one(num(0)), x64(123), ia32(216), ia32As(139, "setfsgid16", u16(0))),
		row(75, "setgroups", one(num(0)), x64(116), ia32(206), ia32As(81, "setgroups16")),
		row(76, "capset", one(caps(0, 1)), x64(126), ia32(185)),
		row(77, "keyctl", ops(num(0), u64(1), u64(2), u64(3), u64(4)), x64(250), ia32(288)),
		row(78, "seccomp", ops(u32(0), u32(1)), x64(317), ia32(354)),
		row(79, "init_module", ops(u64(1), text(2)), x64(175), ia32(128)),
		row(80, "finit_module", ops(num(0), text(1), u32(2), file(0)), x64(313), ia32(350)),
		row(81, "delete_module", ops(text(0), u32(1)), x64(176), ia32(129)),
		row(82, "bpf", ops(u32(0), newFD(), at32(1, 0)), x64(321), ia32(357)).when(ifNotIn(0, 1, 2, 3, 4, 15, 24)), // look-ups and changes of elements, information
		row(83, "perf_event_open", ops(newFD(), at32(0, 0), at64(0, 8), num(1), num(2), u64(4)), x64(298), ia32(336)),
		row(84, "kexec_load", ops(u64(0), u64(1), u64(3)), x64(246), ia32(283), x32(528)),
		row(85, "kexec_file_load", ops(num(0), num(1), text(3), u64(4), file(0)), x64(320)),
		row(86, "userfaultfd", ops(newFD(), u32(0)), x64(323), ia32(374)),
		row(87, "io_uring_setup", ops(newFD(), u32(0), at32(1, 8)), x64(425), ia32(425)),
	}
}

// eagain is -EAGAIN: nobody was waiting.
const eagain = 0xfffffff5
