package decode

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gyre-sec/gyre/bpf"
	"github.com/gyre-sec/gyre/collector/decode/recordtest"
	"github.com/gyre-sec/gyre/schemas/eventv1"
)

// decoded is what a record is compared by.
type decoded struct {
	Kind eventv1.Kind
	Ret  int64
	Args map[string]any
}

func view(r *Record) decoded {
	d := decoded{r.Kind, r.Ret, map[string]any{}}
	for i, a := range r.Kind.Info().Args {
		if a.Type.IsString() {
			d.Args[a.Name] = string(r.Text[i])
		} else {
			d.Args[a.Name] = r.Args[i]
		}
	}
	return d
}

func header(kind eventv1.Kind, ret int64) bpf.Header {
	return bpf.Header{Kind: uint16(kind), Ret: ret, Time: 5000, TGID: 30, TID: 31, Start: 300, Execs: 2, UID: 1000, GID: 100, CPU: 1, Cgroup: 9, Comm: [16]byte{'b', 'a', 's', 'h'}}
}

func cases() map[string]struct {
	raw  []byte
	want decoded
} {
	type c = struct {
		raw  []byte
		want decoded
	}
	rec := recordtest.Record
	return map[string]c{
		"openat": {
			rec(header(eventv1.Openat, 3), 3, -100, "/etc/passwd", "/home", "../etc/passwd", 0o2, 0o644, 0, 7, 8, 1, 0o100644, 5),
			decoded{eventv1.Openat, 3, map[string]any{
				"fd": int64(3), "dirfd": int64(-100), "name": "/etc/passwd", "nameraw": "../etc/passwd", "flags": int64(2),
				"mode": int64(0o644), "resolve": int64(0), "dev": int64(7), "ino": int64(8), "file_flags": int64(1), "file_mode": int64(0o100644), "folded": int64(5),
			}},
		},
		"open failed": {
			rec(header(eventv1.Open, -2), -1, -100, "", "/home/ada", "../x", 0, 0, 0, 0, 0, 0, 0, 0),
			decoded{eventv1.Open, -2, map[string]any{
				"fd": int64(-1), "dirfd": int64(-100), "name": "/home/x", "nameraw": "../x", "flags": int64(0),
				"mode": int64(0), "resolve": int64(0), "dev": int64(0), "ino": int64(0), "file_flags": int64(0), "file_mode": int64(0), "folded": int64(0),
			}},
		},
		"open deleted": {
			rec(header(eventv1.Openat2, 3), 3, 5, "/tmp/x (deleted)", "", "x", 0, 0, 4, 0, 0, 4, 0, 0),
			decoded{eventv1.Openat2, 3, map[string]any{
				"fd": int64(3), "dirfd": int64(5), "name": "/tmp/x", "nameraw": "x", "flags": int64(0),
				"mode": int64(0), "resolve": int64(4), "dev": int64(0), "ino": int64(0), "file_flags": int64(4), "file_mode": int64(0), "folded": int64(0),
			}},
		},
		"connect": {
			rec(header(eventv1.Connect, -115), 4, 2, 1, 6, "\x7f\x00\x00\x01", 4000, "\x08\x08\x08\x08", 443, "", 99),
			decoded{eventv1.Connect, -115, map[string]any{
				"fd": int64(4), "family": int64(2), "socktype": int64(1), "proto": int64(6), "saddr": "\x7f\x00\x00\x01", "sport": int64(4000),
				"daddr": "\x08\x08\x08\x08", "dport": int64(443), "sun_path": "", "netns": int64(99),
			}},
		},
		"connect abstract": {
			rec(header(eventv1.Connect, 0), 4, 1, 1, 0, "", 0, "", 0, "\x00a\x00b", 99),
			decoded{eventv1.Connect, 0, map[string]any{
				"fd": int64(4), "family": int64(1), "socktype": int64(1), "proto": int64(0), "saddr": "", "sport": int64(0),
				"daddr": "", "dport": int64(0), "sun_path": "@a@b", "netns": int64(99),
			}},
		},
		"unlinkat": {
			rec(header(eventv1.Unlinkat, 0), "/tmp", "a/./b", 5, 0x200),
			decoded{eventv1.Unlinkat, 0, map[string]any{"name": "/tmp/a/b", "nameraw": "a/./b", "dirfd": int64(5), "flags": int64(0x200)}},
		},
		"renameat2": {
			rec(header(eventv1.Renameat2, 0), "/a", "x", "/b", "../y", 5, 6, 1),
			decoded{eventv1.Renameat2, 0, map[string]any{
				"oldpath": "/a/x", "newpath": "/y", "oldpathraw": "x", "newpathraw": "../y", "olddirfd": int64(5), "newdirfd": int64(6), "flags": int64(1),
			}},
		},
		"execve failed": {
			rec(header(eventv1.Execve, -13), -100, "/root", "./x", 0),
			decoded{eventv1.Execve, -13, map[string]any{"filename": "/root/x", "dirfd": int64(-100), "flags": int64(0)}},
		},
		"clone": {
			rec(header(eventv1.Clone, 44), 0x11, 44, 44, 400, 2, 7, 8),
			decoded{eventv1.Clone, 44, map[string]any{"flags": int64(0x11), "child_tid": int64(44), "child_pid": int64(44), "child_proc": int64(-1)}},
		},
		"procexit core": {
			rec(header(eventv1.ProcExit, 0), 0x8b, 1),
			decoded{eventv1.ProcExit, 0, map[string]any{"status": int64(0x8b), "ret": int64(0), "sig": int64(11), "core": int64(1)}},
		},
		"procexit code": {
			rec(header(eventv1.ProcExit, 0), 3<<8, 1),
			decoded{eventv1.ProcExit, 0, map[string]any{"status": int64(3 << 8), "ret": int64(3), "sig": int64(0), "core": int64(0)}},
		},
	}
}

func TestDecode(t *testing.T) {
	d := New()
	for name, tt := range cases() {
		t.Run(name, func(t *testing.T) {
			r, err := d.Decode(tt.raw)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, view(r)); diff != "" {
				t.Errorf("record (-want +got):\n%s", diff)
			}
			if r.Time != 5000 || r.TID != 31 || r.CPU != 1 || r.Task.PID != 30 || !r.Task.Thread || r.Task.UID != 1000 || string(r.Task.Comm) != "bash" || r.Task.CgroupID != 9 {
				t.Errorf("header %+v", r.Task)
			}
		})
	}
}

func TestEveryKindHasAShape(t *testing.T) {
	all := shapes()
	for _, k := range eventv1.Kinds() {
		if k.IsSynthetic() {
			continue // the collector makes these itself
		}
		if got, want := len(all[k].args), len(k.Info().Args); got != want || all[k].slots == 0 {
			t.Errorf("%s: %d arguments from %d slots, want %d", k, got, all[k].slots, want)
		}
	}
}

func TestChildAndThread(t *testing.T) {
	d := New()
	r, err := d.Decode(cases()["clone"].raw)
	if err != nil {
		t.Fatal(err)
	}
	if c := r.Child; c.PID != 44 || c.Start != 400 || c.ExecCount != 2 || c.VPID != 7 || c.PidNS != 8 {
		t.Errorf("child %+v", c)
	}
	h := header(eventv1.Clone, 45)
	h.Flags = bpf.FlagThread
	if r, err = d.Decode(recordtest.Record(h, 0x11, 45, 30, 300, 2, 7, 8)); err != nil || r.Child.PID != 0 {
		t.Errorf("a thread is a process: %+v, %v", r.Child, err)
	}
}

func TestImage(t *testing.T) {
	raw := recordtest.Exec(header(eventv1.Execve, 0), recordtest.Snapshot{PPID: 20, ParentStart: 200, Exe: "/usr/bin/cat (deleted)", Args: "cat\x00/etc/x\x00\x00", Cwd: "/root", Cgroup: "/lxc/web", UID: 5, TTY: "pts3"})
	r, err := New().Decode(raw)
	if err != nil || !r.HasImage {
		t.Fatalf("image %v, %v", r, err)
	}
	f := r.Image.Facts()
	if f.Exe != "/usr/bin/cat" || f.Cwd != "/root" || f.Comm != "bash" || f.TTY != "pts3" || f.ContainerID != "web" || f.Runtime != "lxc" || f.ParentStart != 200 || f.CgroupID != 9 {
		t.Errorf("facts %+v", f)
	}
	if diff := cmp.Diff([]string{"cat", "/etc/x", ""}, f.Args); diff != "" {
		t.Errorf("args (-want +got):\n%s", diff)
	}
	if f.Row.PID != 30 || f.Row.PPID != 20 || f.Row.UID != 5 || f.Row.ExecCount != 2 || f.Row.ExecTime != 5000 {
		t.Errorf("row %+v", f.Row)
	}
}

func TestMalformed(t *testing.T) {
	good := cases()["openat"].raw
	cut := header(eventv1.Execve, 0)
	cut.Flags = bpf.FlagSnapshot
	for name, raw := range map[string][]byte{
		"empty": nil, "header only cut": good[:80], "cut": good[:len(good)-1],
		"unknown kind": recordtest.Record(bpf.Header{Kind: eventv1.KindCount}), "kind 0": recordtest.Record(bpf.Header{}),
		"few slots":         recordtest.Record(header(eventv1.Openat, 0), 1, 2),
		"snapshot cut":      recordtest.Record(cut, -100, "", "x", 0, 1, 2),
		"slots over size":   append(append([]byte{}, good[:80]...), 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0),
		"size over the end": append(append([]byte{}, good[:4]...), 0xff, 0xff),
	} {
		if _, err := New().Decode(raw); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v, want ErrMalformed", name, err)
		}
	}
}

func TestDecodeAllocatesNothing(t *testing.T) {
	d := New()
	for name, tt := range cases() {
		if n := testing.AllocsPerRun(100, func() {
			if _, err := d.Decode(tt.raw); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, tt := range cases() {
		f.Add(tt.raw)
	}
	f.Add(recordtest.Exec(header(eventv1.Execve, 0), recordtest.Snapshot{Exe: "/x", Args: "x\x00"}))
	d := New()
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := d.Decode(raw)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Errorf("error %v does not wrap ErrMalformed", err)
			}
			return
		}
		if r.HasImage {
			r.Image.Facts()
		}
		for _, s := range r.Text {
			_ = string(s)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	d, raw := New(), cases()["openat"].raw
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.Decode(raw); err != nil {
			b.Fatal(err)
		}
	}
}
