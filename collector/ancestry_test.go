package collector

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/gyre-sec/gyre/bus/bustest"
	"github.com/gyre-sec/gyre/schemas/eventv1"
	"github.com/gyre-sec/gyre/schemas/field"
)

// TestAncestry reads files in processes with known ancestors: deep ones, orphans in a session of their own, and such as
// ran before the collector.
func TestAncestry(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("this test watches the kernel and needs root")
		}
		t.Skip("SKIPPED, NOT TESTED: watching the kernel needs root")
	}
	dir := t.TempDir()
	file := func(name string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	old, orphan, deep := file("old"), file("orphan"), file("deep")

	before := exec.Command("sh", "-c", `sh -c "read x; cat `+old+`; :"; :`) // two shells that are there already
	in, err := before.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := before.Start(); err != nil {
		t.Fatal(err)
	}
	b := bustest.New(t)
	stop := runLive(t, b, testConfig())
	defer stop()
	if _, err := io.WriteString(in, "\n"); err != nil {
		t.Fatal(err)
	}
	if err := before.Wait(); err != nil {
		t.Fatal(err)
	}
	const levels = 12
	script := `if [ "$1" -gt 0 ]; then sh -c "$0" "$0" $(($1 - 1)); else cat ` + deep + `; fi; :`
	// The outer shell ends before the inner one, whom somebody adopts, opens its file.
	leaves := `P=$$; setsid sh -c "while kill -0 $P 2>/dev/null; do :; done; cat ` + orphan + `; :" & exit 0`
	for _, cmd := range []*exec.Cmd{exec.Command("sh", "-c", script, script, "12"), exec.Command("sh", "-c", leaves)} {
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
	}

	type lineage struct {
		names, pids, exes []string
		session, group    any
		sid               int64
	}
	got := map[string]lineage{}
	v := field.NewView()
	value := func(name string) any {
		f, ok := field.Lookup(name)
		if !ok {
			t.Fatalf("no field %s", name)
		}
		return f.Value(v)
	}
	read(t, b, func(c *collected) bool {
		one := &collected{batches: c.batches[len(c.batches)-1:]}
		one.each(t, func(b *eventv1.Batch, e *eventv1.Event) {
			if !e.Kind.IsOpen() || e.Ret < 0 {
				return
			}
			name := b.Text(e.Str(eventv1.OpenName))
			if filepath.Dir(name) != dir {
				return
			}
			v.Batch(b)
			v.Event(e)
			l := lineage{session: value("proc.sname"), group: value("proc.pgid.name"), sid: value("proc.sid").(int64)}
			l.names, _ = value("proc.aname").([]string)
			l.pids, _ = value("proc.apid").([]string)
			l.exes, _ = value("proc.aexepath").([]string)
			got[filepath.Base(name)] = l
		})
		return len(got) == 3
	})
	self := filepath.Base(os.Args[0])
	self = self[:min(15, len(self))]
	for name, shells := range map[string]int{"old": 2, "deep": levels + 1, "orphan": 2} {
		l := got[name]
		if len(l.names) < shells+2 {
			t.Errorf("%s: lineage %q", name, l.names)
			continue
		}
		for i, n := range l.names[:shells+2] {
			want := "sh"
			switch i {
			case 0:
				want = "cat"
			case shells + 1:
				want = self
			}
			if n != want || l.exes[i] == "" || l.pids[i] == "" {
				t.Errorf("%s: ancestor %d is %q (%q, pid %q), want %q", name, i, n, l.exes[i], l.pids[i], want)
			}
		}
		if l.session == nil || l.group == nil {
			t.Errorf("%s: session leader %v, group leader %v", name, l.session, l.group)
		}
	}
	if l := got["orphan"]; l.session != "sh" || len(l.pids) < 2 || value("proc.sid") == nil || l.sid == 0 {
		t.Errorf("orphan: session %d of %v", l.sid, l.session)
	}
}
