package field

import (
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/gyre-sec/gyre/schemas/eventv1"
)

func evtFields() []Field {
	return []Field{
		num("evt.num", FromEvent, "number of the event on its node and boot", func(v *View) (int64, bool) { return int64(v.e.Seq), true }),
		num("evt.rawtime", FromEvent, "time of the event, nanoseconds since the Unix epoch", func(v *View) (int64, bool) { return v.e.Time, true }),
		str("evt.time", FromEvent, "time of day of the event in UTC, with nanoseconds", func(v *View) (string, bool) {
			return time.Unix(0, v.e.Time).UTC().Format("15:04:05.000000000"), true
		}),
		str("evt.time.iso8601", FromEvent, "time of the event in ISO 8601, with nanoseconds", func(v *View) (string, bool) {
			return time.Unix(0, v.e.Time).UTC().Format("2006-01-02T15:04:05.000000000Z07:00"), true
		}),
		str("evt.type", FromEvent, "what the event is, such as openat", func(v *View) (string, bool) { return v.e.Kind.String(), true }),
		str("evt.category", FromEvent, "group of the event type: file, net, process, signal, user, memory, system or response", func(v *View) (string, bool) {
			c := v.e.Kind.Info().Category
			return c, c != ""
		}),
		str("evt.source", FromEvent, "where the event comes from: syscall", func(v *View) (string, bool) { return v.b.Source, v.b.Source != "" }),
		str("evt.dir", FromEvent, "direction of the event; always <, the end of a call", func(*View) (string, bool) { return "<", true }),
		num("evt.cpu", FromEvent, "CPU on which the event happened", func(v *View) (int64, bool) { return int64(v.e.CPU), true }),
		str("evt.res", FromEvent, "result of the call: SUCCESS, or the name of the error such as ENOENT", func(v *View) (string, bool) { return resultName(v.e.Ret), true }),
		num("evt.rawres", FromEvent, "result of the call; negative is -errno", func(v *View) (int64, bool) { return v.e.Ret, true }),
		boolean("evt.failed", FromEvent, "the call returned an error", func(v *View) (bool, bool) { return v.e.Failed(), true }),
		boolean("evt.is_io_uring", FromEvent, "the operation was submitted through io_uring", func(v *View) (bool, bool) { return v.e.Flags&eventv1.FlagIOUring != 0, true }),
		boolean("evt.is_compat", FromEvent, "the call was made through a 32-bit entry point", func(v *View) (bool, bool) { return v.e.Flags&eventv1.FlagCompat32 != 0, true }),
		boolean("evt.is_truncated", FromEvent, "a string of the event was too long and was cut", func(v *View) (bool, bool) { return v.e.Flags&eventv1.FlagTruncated != 0, true }),
		openMode("evt.is_open_read", "the file was opened for reading", func(f int64) bool { return f&oAccMode == oRdonly || f&oAccMode == oRdwr }),
		openMode("evt.is_open_write", "the file was opened for writing", func(f int64) bool { return f&oAccMode == oWronly || f&oAccMode == oRdwr }),
		openMode("evt.is_open_create", "the call would make the file if it is not there", func(f int64) bool { return f&oCreat != 0 }),
		boolean("evt.is_open_exec", FromEvent, "a new file was opened with an executable mode", func(v *View) (bool, bool) {
			if !v.e.Kind.IsOpen() {
				return false, false
			}
			return v.openFlags()&oCreat != 0 && v.e.Args[eventv1.OpenMode]&0o111 != 0, true
		}).only(kindsWhere(eventv1.Kind.IsOpen)...),
		str("evt.args", FromEvent, "all arguments of the call: name=value, separated by blanks", func(v *View) (string, bool) { return v.argsText(), v.e.NArgs > 0 }),
		num("thread.tid", FromEvent, "id of the thread that acted", func(v *View) (int64, bool) { return int64(v.e.TID), true }),
	}
}

func openMode(name, doc string, is func(flags int64) bool) Field {
	return boolean(name, FromEvent, doc, func(v *View) (bool, bool) {
		if !v.e.Kind.IsOpen() {
			return false, false
		}
		return is(v.openFlags()), true
	}).only(kindsWhere(eventv1.Kind.IsOpen)...)
}

// openFlags are the O_* flags; creat(2) has none of its own and means these.
func (v *View) openFlags() int64 {
	if v.e.Kind == eventv1.Creat {
		return oWronly | oCreat | oTrunc
	}
	return v.e.Args[eventv1.OpenFlagsArg]
}

// resultName is SUCCESS or the name of an errno.
func resultName(ret int64) string {
	if ret >= 0 {
		return "SUCCESS"
	}
	if n := errnoName(syscall.Errno(-ret)); n != "" {
		return n
	}
	return "errno " + strconv.FormatInt(-ret, 10)
}

// argFields makes evt.arg.* from the kind table: one field per argument name, its
// text form, for all kinds that have an argument of that name.
func argFields() []Field {
	type argPlace struct {
		index [eventv1.KindCount]int8
		kinds []eventv1.Kind
		typ   eventv1.ArgType
		doc   string
	}
	byArg := map[string]*argPlace{}
	var order []string
	note := func(name string, k eventv1.Kind, i int, typ eventv1.ArgType, doc string) {
		p := byArg[name]
		if p == nil {
			p = &argPlace{typ: typ, doc: doc}
			for j := range p.index {
				p.index[j] = -1
			}
			byArg[name] = p
			order = append(order, name)
		}
		p.index[k] = int8(i)
		p.kinds = append(p.kinds, k)
		if isNumber(p.typ) && (!isNumber(typ) || typ == eventv1.UID) {
			p.typ = typ // text, or a user, if any kind says so
		}
	}
	for _, k := range eventv1.Kinds() {
		for i, a := range k.Info().Args {
			if a.Name == "child_proc" {
				continue // a table row means nothing outside of its batch
			}
			note(a.Name, k, i, a.Type, a.Doc)
		}
	}
	for _, k := range eventv1.Kinds() { // Falco's second name for the path of some calls
		switch {
		case k.IsUnlink():
			note("path", k, eventv1.UnlinkName, eventv1.Path, "the name that was removed, made absolute")
		case k.IsExec():
			note("path", k, eventv1.ExecFilename, eventv1.Text, "the program as the caller named it")
		}
	}
	out := make([]Field, 0, len(order)+1)
	for _, name := range order {
		p := byArg[name]
		kinds := k2doc(p.kinds)
		get := func(v *View) (int8, bool) {
			if !v.e.Kind.Known() {
				return 0, false
			}
			i := p.index[v.e.Kind]
			return i, i >= 0 && int(i) < int(v.e.NArgs)
		}
		full, doc := "evt.arg."+name, p.doc+" ("+kinds+")"
		if isNumber(p.typ) {
			out = append(out, num(full, FromEvent, doc, func(v *View) (int64, bool) {
				i, ok := get(v)
				if !ok {
					return 0, false
				}
				return v.e.Args[i], true
			}).only(p.kinds...))
			if p.typ == eventv1.UID {
				out = append(out, str(full+".name", FromEvent, "name of that user, the id if it has none ("+kinds+")", func(v *View) (string, bool) {
					i, ok := get(v)
					if !ok {
						return "", false
					}
					return v.userName(v.e.Kind.Info().Args[i].Type, v.e.Args[i]), true
				}).only(p.kinds...))
			}
			continue
		}
		out = append(out, str(full, FromEvent, doc, func(v *View) (string, bool) {
			i, ok := get(v)
			if !ok {
				return "", false
			}
			typ := v.e.Kind.Info().Args[i].Type
			if typ.IsString() && typ != eventv1.Address {
				return v.text(v.e.Str(int(i)))
			}
			return formatArg(v, typ, v.e.Args[i])
		}).only(p.kinds...))
	}
	return append(out, str("evt.arg.res", FromEvent, "result of the call: SUCCESS, or the name of the error",
		func(v *View) (string, bool) { return resultName(v.e.Ret), true }))
}

// argsText is the arguments as name=value, in the order of the kind.
func (v *View) argsText() string {
	var b []byte
	for i, a := range v.e.Kind.Info().Args {
		if i >= int(v.e.NArgs) {
			break // of an older collector
		}
		if a.Name == "child_proc" {
			continue
		}
		if len(b) > 0 {
			b = append(b, ' ')
		}
		b = append(append(b, a.Name...), '=')
		switch {
		case a.Type.IsString() && a.Type != eventv1.Address:
			s, _ := v.text(v.e.Str(i))
			b = append(b, s...)
		case isNumber(a.Type):
			b = append(b, v.userName(a.Type, v.e.Args[i])...)
		default:
			s, _ := formatArg(v, a.Type, v.e.Args[i])
			b = append(b, s...)
		}
	}
	return string(b)
}

// userName is the name of a user of the host that the event mentions.
func (v *View) userName(t eventv1.ArgType, uid int64) string {
	if t == eventv1.UID {
		for i := range v.b.Users {
			if u := &v.b.Users[i]; int64(u.UID) == uid && u.Container < 0 && u.Name != 0 {
				return v.b.Text(u.Name)
			}
		}
	}
	return strconv.FormatInt(uid, 10)
}

func isNumber(t eventv1.ArgType) bool {
	return t == eventv1.Int || t == eventv1.Uint || t == eventv1.FD || t == eventv1.Bool || t == eventv1.UID
}

func k2doc(kinds []eventv1.Kind) string {
	var s strings.Builder
	for i, k := range kinds {
		if i > 0 {
			s.WriteString(", ")
		}
		s.WriteString(k.String())
	}
	return s.String()
}
