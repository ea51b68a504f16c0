package ruleset_test

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/gyre-sec/gyre/schemas/eventv1"
	"github.com/gyre-sec/gyre/schemas/field"
)

// words are the strings of generated events and conditions: a small pool, so that tests hold now and then.
var words = []string{
	"", "a", "cat", "CAT", "Cat", "bash", "/usr/bin/cat", "/usr/bin", "/usr", "/", "/etc/shadow", "/etc/", "/tmp/x.so", "/TMP/X.SO", "x.so", ".so",
	"10.0.0.5", "::1", "fe80::1%eth0", "10", "-7", "0x10", "9223372036854775807", "Y2F0", "Y2F0IA==", "é", "É/é", "\x80\xff", "a b c", "*", "[", "id_rsa",
}

var (
	globs   = []string{"*", "/usr/*", "*/cat", "/usr/b?n/*", "*a*", "[a-c]at", "[!a]*", "/etc/shadow", "*.so", "?", "", "/*/*/c*t", "[", "a**"}
	regexes = []string{"cat", "^/usr", "so$", "^cat$", "^/usr/.*cat", "(?i)cat", "[a-c]+", "^(a|b)", "x?", "/(bin|sbin)/", "a+b", "é", "^$", "(foo)?bar|cat", "b{2}", "\\\\.so$", "^/(usr|etc)/.+/cat$", "."}
	nets    = []string{"10.0.0.0/8", "10.0.0.5/32", "::1/128", "fe80::/10", "0.0.0.0/0", "::/0", "::ffff:10.0.0.0/104"}
)

// writer makes well-typed conditions.
type writer struct {
	*rand.Rand
	macros int      // how many may be named
	vars   []string // loop variables in scope, all strings
}

func pick[T any](w *writer, list []T) T { return list[w.IntN(len(list))] }

func (w *writer) field(t field.Type) string {
	for {
		if f := pick(w, field.All()); f.Type == t {
			return f.Name
		}
	}
}

// common are fields that conditions often use.
var common = []string{"proc.name", "fd.name", "proc.exepath", "proc.pname", "evt.arg.name", "proc.cmdline", "fd.rip", "evt.res", "user.name"}

// literal writes a string as CEL reads it; a byte that is not UTF-8 cannot be written.
func (w *writer) literal() string {
	for {
		if s := pick(w, words); s != "\x80\xff" {
			return strconv.Quote(s)
		}
	}
}

func (w *writer) list(of func() string) string {
	items := make([]string, w.IntN(11))
	for i := range items {
		items[i] = of()
	}
	return "[" + strings.Join(items, ", ") + "]"
}

func quoteAny(w *writer, list []string) func() string {
	return func() string { return strconv.Quote(strings.ReplaceAll(pick(w, list), "\\\\", "\\")) }
}

func (w *writer) str(depth int) string {
	n := w.IntN(17)
	switch {
	case len(w.vars) > 0 && n < 5:
		return pick(w, w.vars)
	case depth <= 0 || n < 7:
		if w.IntN(3) > 0 {
			return pick(w, common)
		}
		return w.field(field.String)
	case n == 7:
		return w.literal()
	case n == 8:
		return w.str(depth-1) + ".basename()"
	case n == 9:
		return w.str(depth-1) + ".lower()"
	case n == 10:
		return w.strList() + ".ancestor(" + w.num(depth-1) + ")"
	case n == 11:
		return w.strList() + "[" + w.num(depth-1) + "]"
	case n == 12:
		return fmt.Sprintf("(%s ? %s : %s)", w.boolean(depth-1), w.str(depth-1), w.str(depth-1))
	case n == 13:
		return "string(" + w.num(depth-1) + ")"
	case n == 14:
		return w.str(depth-1) + ".b64decode()"
	case n == 15:
		return w.strList() + ".valueOf(" + w.labelName() + ")"
	}
	return "(" + w.str(depth-1) + " + " + w.str(depth-1) + ")"
}

// labelName is what elements of the form name=value may begin with.
func (w *writer) labelName() string {
	if w.IntN(3) == 0 {
		return w.str(0)
	}
	return pick(w, []string{`"kernel"`, `"a"`, `"LANG"`, `""`})
}

func (w *writer) strList() string {
	switch w.IntN(5) {
	case 0:
		return w.list(w.literal)
	case 1:
		return pick(w, []string{"few", "many"})
	}
	return w.field(field.List)
}

func (w *writer) num(depth int) string {
	n := w.IntN(14)
	switch {
	case depth <= 0 || n < 4:
		return w.field(field.Int)
	case n < 8:
		return pick(w, []string{"0", "1", "2", "-1", "3", "9223372036854775807", "-9223372036854775807", "7", "443"})
	case n == 8:
		return "size(" + w.str(depth-1) + ")"
	case n == 9:
		return "size(" + w.strList() + ")"
	case n == 10:
		return "int(" + pick(w, append(common, w.vars...)) + ")"
	case n == 11:
		return "-(" + w.num(depth-1) + ")"
	}
	return "(" + w.num(depth-1) + pick(w, []string{" + ", " - ", " * ", " / ", " % "}) + w.num(depth-1) + ")"
}

// boolean writes a condition; depth bounds its nesting.
func (w *writer) boolean(depth int) string {
	if depth > 0 && w.IntN(2) == 0 {
		switch w.IntN(9) {
		case 0, 1, 2:
			return "(" + w.boolean(depth-1) + " && " + w.boolean(depth-1) + ")"
		case 3, 4, 5:
			return "(" + w.boolean(depth-1) + " || " + w.boolean(depth-1) + ")"
		case 6:
			return "!" + w.boolean(depth-1)
		case 7:
			return fmt.Sprintf("(%s ? %s : %s)", w.boolean(depth-1), w.boolean(depth-1), w.boolean(depth-1))
		}
		return "(" + w.boolean(depth-1) + pick(w, []string{" == ", " != ", " < ", " >= "}) + w.boolean(depth-1) + ")"
	}
	return w.atom(depth)
}

func (w *writer) atom(depth int) string {
	s := func() string { return w.str(min(depth, 2)) }
	switch w.IntN(20) {
	case 19:
		return w.strList() + ".hasValue(" + w.labelName() + ")"
	case 0:
		return w.field(field.Bool)
	case 1:
		return "has(" + pick(w, field.All()).Name + ")"
	case 2:
		return "evt.type" + pick(w, []string{" == ", " != "}) + strconv.Quote(pick(w, eventv1.Kinds()).String())
	case 3:
		return "evt.type in " + w.list(func() string { return strconv.Quote(pick(w, eventv1.Kinds()).String()) })
	case 4:
		return s() + pick(w, []string{" == ", " != ", " < ", " <= ", " > "}) + w.literal()
	case 5:
		return "(" + s() + pick(w, []string{" == ", " != ", " < ", " >= "}) + s() + ")"
	case 6:
		return s() + " in " + w.strList()
	case 7:
		return w.num(2) + pick(w, []string{" == ", " != ", " < ", " <= ", " > ", " >= "}) + w.num(2)
	case 8:
		return w.num(1) + " in " + w.list(func() string { return pick(w, []string{"0", "-1", "1", "7", "1000", "443"}) })
	case 9:
		return s() + pick(w, []string{".startsWith(", ".endsWith(", ".contains(", ".pathPrefix(", ".icontains(", ".istartsWith(", ".iendsWith(", ".iequals("}) + w.literal() + ")"
	case 10:
		return s() + pick(w, []string{".startsWithAny(", ".endsWithAny(", ".containsAny(", ".pathPrefix(", ".icontains(", ".istartsWith("}) + w.strList() + ")"
	case 11:
		return s() + pick(w, []string{".glob(", ".iglob("}) + pick(w, []string{quoteAny(w, globs)(), w.list(quoteAny(w, globs))}) + ")"
	case 12:
		return s() + ".matches(" + quoteAny(w, regexes)() + ")"
	case 13:
		return pick(w, []string{"fd.rip", "fd.sip", w.str(1)}) + ".inCidr(" + pick(w, []string{quoteAny(w, nets)(), w.list(quoteAny(w, nets))}) + ")"
	case 14, 15:
		if len(w.vars) == 2 {
			return "true"
		}
		v := []string{"x", "y"}[len(w.vars)]
		loop := w.strList() + pick(w, []string{".exists(", ".all(", ".exists_one("}) + v + ", "
		w.vars = append(w.vars, v)
		loop += w.boolean(min(depth-1, 2)) + ")"
		w.vars = w.vars[:len(w.vars)-1]
		return loop
	case 16:
		if w.macros > 0 {
			return "m" + strconv.Itoa(w.IntN(w.macros))
		}
		return pick(w, []string{"true", "false"})
	case 17:
		return s() + " in " + "[" + s() + ", " + w.literal() + "]"
	}
	return s() + pick(w, []string{".startsWith(", ".contains(", ".pathPrefix(", ".glob(", ".iequals("}) + s() + ")"
}

// batch makes a batch of n events of any kind with any arguments, about a few processes.
func (w *writer) batch(n int) *eventv1.Batch {
	b := eventv1.NewBuilder()
	b.Reset(eventv1.Header{Node: pick(w, words), BootID: "b", Source: "syscall", BootTime: 5})
	id := func() eventv1.StrID { return b.InternString(pick(w, words)) }
	ids := func() []eventv1.StrID {
		l := make([]eventv1.StrID, w.IntN(4))
		for i := range l {
			l[i] = id()
		}
		return l
	}
	small := func() uint32 { return pick(w, []uint32{0, 1, 7, 1000, eventv1.NoUID}) }
	var containers, procs []int32
	for range 2 {
		containers = append(containers, b.AddContainer(eventv1.Container{ID: id(), Runtime: id(), Name: id(), Image: id(), ImageRepo: id(), Privileged: eventv1.Tri(w.IntN(3)), PodName: id()}))
	}
	row := func(list []int32) int32 {
		if len(list) == 0 || w.IntN(3) == 0 {
			return -1
		}
		return pick(w, list)
	}
	for range 6 {
		procs = append(procs, b.AddProc(eventv1.Proc{
			PID: small(), PPID: small(), ExecCount: 1, Parent: row(procs), Start: int64(w.IntN(9)), Exe: id(), Comm: id(), Args: ids(), Cwd: id(), Env: ids(),
			UID: small(), EUID: small(), GID: small(), EGID: small(), LoginUID: small(), TTY: id(), TTYNr: small(), SID: small(), PGID: small(), VPID: small(),
			VPGID: small(), Cgroup: id(), Container: row(containers), Flags: eventv1.ProcFlag(w.IntN(1 << 10)), CapEffective: w.Uint64(), Group: id(), User: -1, LoginUser: -1,
		}))
	}
	for i := range n {
		kind := pick(w, append(eventv1.Kinds(), eventv1.KindCount+5)) // the last is of a newer release
		e := eventv1.Event{Kind: kind, Seq: uint64(i) + 1, Time: int64(i), Proc: row(procs), TID: small(), CPU: uint16(i % 3), Flags: eventv1.EventFlag(w.IntN(8)), Ret: int64(w.IntN(5)) - 2}
		for j, a := range kind.Info().Args {
			switch {
			case a.Type == eventv1.Address:
				e.Args[j] = int64(b.InternString(pick(w, []string{"", "\x0a\x00\x00\x05", strings.Repeat("\x00", 15) + "\x01", "\xfe\x80" + strings.Repeat("\x00", 13) + "\x01"})))
			case a.Type.IsString():
				e.Args[j] = int64(id())
			default:
				e.Args[j] = pick(w, []int64{0, 1, 2, 6, 10, 7, 443, -1, 0o100, 0o101, 0o100644, 0o40755})
			}
		}
		if kind.IsClone() {
			e.Args[eventv1.CloneChildProc] = -1
		}
		b.Add(&e)
	}
	var batch eventv1.Batch
	if err := eventv1.NewDecoder().Decode(b.Encode(), &batch); err != nil {
		panic(err) // what the builder makes decodes
	}
	return &batch
}
