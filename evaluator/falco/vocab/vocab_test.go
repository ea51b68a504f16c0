package vocab_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/gyre-sec/gyre/evaluator/falco/vocab"
)

func TestTables(t *testing.T) {
	if n := len(vocab.Names()); n != 573 {
		t.Errorf("%d fields", n)
	}
	for _, name := range vocab.Names() {
		f, _ := vocab.Lookup(name)
		if f.Type == "" || f.Source == "" || f.ArgRequired && !f.ArgAllowed {
			t.Errorf("%+v", f)
		}
	}
	if vocab.Codes() < 450 {
		t.Errorf("%d event codes", vocab.Codes())
	}
	for _, c := range []struct {
		name string
		ok   bool
	}{{"openat", true}, {"procexit", true}, {"sethostname", true}, {"opnat", false}} {
		if got := len(vocab.CodesOf(c.name)) > 0; got != c.ok {
			t.Errorf("event type %s: %v", c.name, got)
		}
	}
	if p := vocab.ParamsAt(1); !slices.Contains(p["uid"], "setuid") {
		t.Errorf("second parameters: %v", p)
	}
}

func TestResolve(t *testing.T) {
	for _, c := range []struct {
		name, arg string
		has       bool
		typ       vocab.Type
		ok        bool
	}{
		{"proc.name", "", false, "string", true},
		{"proc.name", "1", true, "", false},
		{"proc.aname", "2", true, "string", true},
		{"proc.aname", "x", true, "", false},
		{"evt.arg.flags", "", false, "string", true},
		{"evt.arg", "flags", true, "string", true},
		{"evt.arg", "0", true, "string", true},
		{"evt.arg", "", false, "", false},
		{"evt.arg.nosuch", "", false, "", false},
		{"evt.rawarg.uid", "", false, "uint32", true},
		{"evt.rawarg.res", "", false, "errno", true},
		{"evt.abspath.src", "", false, "string", true},
		{"evt.abspath.up", "", false, "", false},
		{"container.mount.dest", "/proc", true, "string", true},
		{"container.mount.dest", "", false, "", false},
		{"no.such", "", false, "", false},
	} {
		u, err := vocab.Resolve(c.name, c.arg, c.has)
		if (err == nil) != c.ok {
			t.Errorf("%s[%s]: %v", c.name, c.arg, err)
			continue
		}
		if err == nil && u.ValueType() != c.typ {
			t.Errorf("%s[%s] is %s", c.name, c.arg, u.ValueType())
		}
	}
	if _, err := vocab.Resolve("no.such", "", false); !errors.Is(err, vocab.ErrUnknown) {
		t.Error(err)
	}
}
