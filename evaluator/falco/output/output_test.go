package output_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gyre-sec/gyre/evaluator/falco/output"
	"github.com/gyre-sec/gyre/evaluator/falco/vocab"
	"github.com/gyre-sec/gyre/evaluator/ruletest"
	"github.com/gyre-sec/gyre/schemas/eventv1"
	"github.com/gyre-sec/gyre/schemas/field"
)

func view(t *testing.T) *field.View {
	t.Helper()
	data, err := ruletest.Batch(ruletest.Case{
		Event: ruletest.Event{Kind: "openat", Ret: 3, Args: map[string]any{"name": "/etc/a\x1bb", "flags": "O_RDWR|O_CREAT", "fd": 3}},
		Process: &ruletest.Process{
			Name: "Cat", Args: []string{"cat", "YWFh"}, Env: []string{"HOME=/root", "A=1"}, Ancestors: []ruletest.Process{{Name: "bash"}, {Name: "sshd"}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	var b eventv1.Batch
	if err := eventv1.NewDecoder().Decode(data, &b); err != nil {
		t.Fatal(err)
	}
	r, e := eventv1.NewReader(), eventv1.Event{}
	r.Reset(&b)
	if !r.Next(&e) {
		t.Fatal(r.Err())
	}
	v := field.NewView()
	v.Batch(&b)
	v.Event(&e)
	return v
}

func TestTemplate(t *testing.T) {
	v := view(t)
	for _, c := range []struct{ in, want string }{
		{"plain", "plain"},
		{"*%proc.name.", "Cat."},
		{"%proc.name%proc.pname", "Catbash"},
		{"%proc.namex", "Catx"},
		{"[%10proc.name]", "[Cat       ]"},
		{"[%2proc.name]", "[Ca]"},
		{"%proc.aname[2] %proc.aname[7]", "sshd <NA>"},
		{"%proc.env[HOME] %proc.env", "/root HOME=/root A=1"},
		{"%evt.arg.flags %evt.arg[flags] %evt.arg.fd", "O_RDWR|O_CREAT O_RDWR|O_CREAT 3"},
		{"%fd.name", `/etc/a\x1bb`},
		{"%toupper(proc.name) %tolower(proc.name) %len(proc.name) %b64(proc.args)", "CAT cat 3 aaa"},
		{`%join("-", (proc.name, proc.pname)) %concat("a", proc.name) %basename(fd.name) %tolower(container.name)`, `Cat-bash aCat a\x1bb host`},
		{"%util.cnt and %container.image.repository", "<NA> and "},
		{"%syscall.type %evt.count %k8smeta.pod.name", "openat 1 <NA>"},
		{"a\nb", "a b"},
		{"%evt.is_open_write %evt.rawres %evt.type", "true 3 openat"},
	} {
		p, err := output.Parse(c.in)
		if err != nil {
			t.Errorf("%s: %v", c.in, err)
			continue
		}
		if got := string(p.Append(nil, v)); got != c.want {
			t.Errorf("%s: %q, want %q", c.in, got, c.want)
		}
	}
}

func TestFields(t *testing.T) {
	p, err := output.Parse("%proc.aname[2] %fd.name %toupper(proc.name) %fd.name %evt.arg.fd %util.cnt %evt.rawres")
	if err != nil {
		t.Fatal(err)
	}
	v := view(t)
	got := map[string]any{}
	var names []string
	for _, f := range p.Fields() {
		names = append(names, f.Name)
		got[f.Name] = f.Value(v)
	}
	if diff := cmp.Diff([]string{"proc.aname[2]", "fd.name", "proc.name", "evt.arg.fd", "util.cnt", "evt.rawres"}, names); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]any{
		"proc.aname[2]": "sshd", "fd.name": "/etc/a\x1bb", "proc.name": "Cat", "evt.arg.fd": "3", "util.cnt": nil, "evt.rawres": int64(3),
	}, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"util.cnt"}, p.Missing()); diff != "" {
		t.Error(diff)
	}
}

func TestRefused(t *testing.T) {
	for _, c := range []struct {
		in, want string
		at       int
		unknown  bool
	}{
		{"", "the output is empty", 0, false},
		{"100%", "cannot end with a percent sign", 3, false},
		{"*x %20", "cannot end with a percent sign or a width", 3, false},
		{"a %proc.nam b", "nonexistent field proc.nam", 2, true},
		{"%%", `there is no field "%"`, 0, true},
		{"50% of", `there is no field "%"`, 2, true},
		{"%fd.ip", "for conditions only", 0, false},
		{"%99999999999proc.name", "more than 4096", 0, false},
		{"%evt.arg", "needs an argument", 0, false},
	} {
		_, err := output.Parse(c.in)
		var e *output.Error
		if !errors.As(err, &e) || !strings.Contains(err.Error(), c.want) || e.Offset != c.at || errors.Is(err, vocab.ErrUnknown) != c.unknown {
			t.Errorf("%q: %v at %+v", c.in, err, e)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"%proc.name %20fd.name", `%join("-", (proc.name, "x"))`, "*%evt.arg[1]%", "%proc.aname[2"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := output.Parse(s)
		var e *output.Error
		if err != nil && (!errors.As(err, &e) || e.Offset > len(s)) {
			t.Fatalf("%q: %v", s, err)
		}
		for _, f := range p.Fields() {
			if f.Name == "" {
				t.Fatalf("%q has a field without a name", s)
			}
		}
	})
}
