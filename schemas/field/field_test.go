package field_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gyre-sec/gyre/schemas/eventv1"
	"github.com/gyre-sec/gyre/schemas/eventv1/eventtest"
	"github.com/gyre-sec/gyre/schemas/field"
)

// view makes a View of one event; fill may add strings and rows.
func view(t *testing.T, fill func(b *eventv1.Builder) eventv1.Event) *field.View {
	t.Helper()
	b := eventv1.NewBuilder()
	b.Reset(eventv1.Header{Node: "n.1", BootID: "0123456789", Source: "syscall", BootTime: 1000})
	e := fill(b)
	e.Seq, e.Time = 9, 1_700_000_000_000_000_001
	b.Add(&e)
	var batch eventv1.Batch
	if err := eventv1.NewDecoder().Decode(append([]byte(nil), b.Encode()...), &batch); err != nil {
		t.Fatal(err)
	}
	r := eventv1.NewReader()
	r.Reset(&batch)
	var got eventv1.Event
	if !r.Next(&got) {
		t.Fatal(r.Err())
	}
	v := field.NewView()
	v.Batch(&batch)
	v.Event(&got)
	return v
}

func expect(t *testing.T, v *field.View, want map[string]any) {
	t.Helper()
	for name, w := range want {
		f, ok := field.Lookup(name)
		if !ok {
			t.Errorf("no field %s", name)
			continue
		}
		if d := cmp.Diff(w, f.Value(v)); d != "" {
			t.Errorf("%s (-want +got)\n%s", name, d)
		}
	}
}

func TestOpen(t *testing.T) {
	v := view(t, func(b *eventv1.Builder) eventv1.Event {
		id := b.InternString
		parent := b.AddProc(eventv1.Proc{PID: 5, Parent: -1, Container: -1, User: -1, LoginUser: -1, Comm: id("sshd"), Exe: id("/usr/sbin/sshd"), SID: 5})
		row := b.AddProc(eventv1.Proc{
			PID: 7, PPID: 5, Parent: parent, Container: -1, User: -1, LoginUser: -1, Start: 50, ExecCount: 2, Comm: id("cat"), Exe: id("/usr/bin/cat"),
			Args: []eventv1.StrID{id("/bin/cat"), id("-n"), id("/etc/shadow")}, SID: 5, PGID: 7, VPID: 7, VPGID: 7, LoginUID: eventv1.NoUID, CapEffective: 1<<21 | 1,
			Flags: eventv1.ProcExeMemfd,
		})
		return eventv1.Event{
			Kind: eventv1.Openat, Proc: row, TID: 8, Ret: 3,
			Args: [16]int64{3, -100, int64(id("/etc/shadow")), int64(id("../etc/shadow")), 0o2000002, 0o644, 0, 1, 99, 1, 0o100640},
		}
	})
	expect(t, v, map[string]any{
		"evt.type": "openat", "evt.res": "SUCCESS", "evt.rawres": int64(3), "evt.failed": false, "evt.num": int64(9), "evt.category": "file",
		"evt.is_open_read": true, "evt.is_open_write": true, "evt.is_open_create": false, "evt.is_open_exec": false,
		"evt.arg.flags": "O_RDWR|O_CLOEXEC", "evt.arg.mode": "0644", "evt.arg.dirfd": "AT_FDCWD", "evt.arg.name": "/etc/shadow", "evt.arg.nameraw": "../etc/shadow",
		"evt.arg.file_flags": "UPPER_LAYER", "evt.arg.sig": nil, "evt.arg.fd": int64(3),
		"fd.name": "/etc/shadow", "fd.nameraw": "../etc/shadow", "fd.directory": "/etc", "fd.filename": "shadow", "fd.typechar": "f", "fd.ino": int64(99), "fd.num": int64(3),
		"fd.sip": nil, "fd.connected": nil,
		"proc.name": "cat", "proc.exe": "/bin/cat", "proc.exepath": "/usr/bin/cat", "proc.args": "-n /etc/shadow", "proc.cmdline": "cat -n /etc/shadow", "proc.exeline": "/bin/cat -n /etc/shadow",
		"proc.pname": "sshd", "proc.pexepath": "/usr/sbin/sshd", "proc.aname": []string{"cat", "sshd"}, "proc.sname": "sshd", "proc.pgid.name": "cat",
		"proc.exec_id": "n.1:01234567:50:7:2", "proc.is_exe_from_memfd": true, "proc.is_exe_deleted": false, "proc.cmdnargs": int64(2), "proc.cmdlenargs": int64(13),
		"proc.pid.ts": int64(1050), "thread.tid": int64(8), "thread.cap_effective": "CAP_CHOWN CAP_SYS_ADMIN", "user.loginuid": int64(-1), "user.name": nil,
		"container.id": "host", "container.name": "host", "node.name": "n.1", "evt.time": "22:13:20.000000001",
	})
}

func TestConnect(t *testing.T) {
	v := view(t, func(b *eventv1.Builder) eventv1.Event {
		id := b.InternString
		return eventv1.Event{Kind: eventv1.Connect, Proc: -1, Ret: -115, Args: [16]int64{4, 2, 1, 6, int64(id("\x7f\x00\x00\x01")), 5000, int64(id("\x01\x02\x03\x04")), 443, 0, 1}}
	})
	expect(t, v, map[string]any{
		"fd.name": "127.0.0.1:5000->1.2.3.4:443", "fd.sip": "1.2.3.4", "fd.cip": "127.0.0.1", "fd.sport": int64(443), "fd.l4proto": "tcp", "fd.type": "ipv4",
		"evt.res": "EINPROGRESS", "evt.failed": true, "proc.name": nil, "proc.pid": nil, "proc.aname": nil, "user.uid": nil, "container.id": nil,
		"evt.arg.daddr": "1.2.3.4", "evt.arg.family": "AF_INET", "evt.arg.socktype": "SOCK_STREAM", "evt.arg.proto": "tcp", "fd.directory": nil,
	})
	v = view(t, func(b *eventv1.Builder) eventv1.Event {
		return eventv1.Event{Kind: eventv1.Connect, Proc: -1, Args: [16]int64{4, 1, 1, 0, 0, 0, 0, 0, int64(b.InternString("/run/docker.sock")), 1}}
	})
	expect(t, v, map[string]any{"fd.name": "/run/docker.sock", "fd.type": "unix", "fd.sip": nil, "fd.sport": nil, "fd.connected": true})
}

// TestEveryFieldOnEveryKind reads each field of each event of a realistic batch:
// a value must have the field's type, and come only from kinds that the catalogue names.
func TestEveryFieldOnEveryKind(t *testing.T) {
	b := eventv1.NewBuilder()
	eventtest.Sample(b, "n", 1, 64)
	for _, k := range eventv1.Kinds() {
		b.Add(&eventv1.Event{Kind: k, Seq: 100 + uint64(k), Proc: -1})
	}
	var batch eventv1.Batch
	if err := eventv1.NewDecoder().Decode(append([]byte(nil), b.Encode()...), &batch); err != nil {
		t.Fatal(err)
	}
	r, v := eventv1.NewReader(), field.NewView()
	r.Reset(&batch)
	v.Batch(&batch)
	var e eventv1.Event
	var buf []byte
	for r.Next(&e) {
		v.Event(&e)
		for _, f := range field.All() {
			x := f.Value(v)
			if x != nil && !f.Has(e.Kind) {
				t.Errorf("%s has a value on %s, which its row does not name", f.Name, e.Kind)
			}
			switch x.(type) {
			case nil:
			case string:
				if f.Type != field.String {
					t.Errorf("%s gave a string", f.Name)
				}
			case int64:
				if f.Type != field.Int {
					t.Errorf("%s gave an int", f.Name)
				}
			}
		}
		buf = field.EventJSON(buf[:0], v)
		var m map[string]any
		if err := json.Unmarshal(buf, &m); err != nil {
			t.Fatalf("%v in %s", err, buf)
		}
		if m["evt.type"] != e.Kind.String() {
			t.Errorf("evt.type %v", m["evt.type"])
		}
	}
	if r.Err() != nil {
		t.Fatal(r.Err())
	}
}

func TestCatalogue(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range field.All() {
		n := 0
		for _, set := range []bool{f.Str != nil, f.Int != nil, f.Bool != nil, f.List != nil} {
			if set {
				n++
			}
		}
		if n != 1 || seen[f.Name] || f.Doc == "" || f.From == "" || strings.ToLower(f.Name) != f.Name {
			t.Errorf("row %s: %d accessors, twice %v, doc %q, from %q", f.Name, n, seen[f.Name], f.Doc, f.From)
		}
		seen[f.Name] = true
	}
	if len(seen) < 120 {
		t.Errorf("%d fields", len(seen))
	}
}

func TestTextForms(t *testing.T) {
	open := func(flags int64) string {
		v := view(t, func(b *eventv1.Builder) eventv1.Event {
			return eventv1.Event{Kind: eventv1.Open, Proc: -1, Ret: -2, Args: [16]int64{-1, -100, int64(b.InternString("/x")), 0, flags}}
		})
		f, _ := field.Lookup("evt.arg.flags")
		s, _ := f.Str(v)
		return s
	}
	for flags, want := range map[int64]string{
		0: "O_RDONLY", 0o101: "O_WRONLY|O_CREAT", 0o4010002: "O_RDWR|O_SYNC", 0o10000: "O_RDONLY|O_DSYNC",
		0o20200002: "O_RDWR|O_TMPFILE", 1 << 40: "O_RDONLY|0x10000000000",
	} {
		if got := open(flags); got != want {
			t.Errorf("flags %o: %q, want %q", flags, got, want)
		}
	}
}
