package ruleset_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gyre-sec/gyre/evaluator/rule"
	"github.com/gyre-sec/gyre/evaluator/ruleset"
	"github.com/gyre-sec/gyre/schemas/eventv1"
	"github.com/gyre-sec/gyre/schemas/field"
)

const shared = `
lists: {opens: [open, openat], names: [a, b]}
macros:
  opened: evt.type in opens
  both: opened || evt.type == "creat"
`

func parse(t testing.TB, name, text string) rule.File {
	t.Helper()
	f, err := rule.Parse(name, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func ruleText(id, condition string) string {
	return fmt.Sprintf("rules:\n  - id: %s\n    name: n\n    condition: |\n      %s\n    output: \"%%proc.name, 100%%%%.\"\n    priority: error\n", id, condition)
}

func TestKinds(t *testing.T) {
	for _, c := range []struct {
		condition string
		want      string
	}{
		{`evt.type == "open"`, "open"},
		{`"open" == evt.type && proc.name == "x"`, "open"},
		{`evt.type in ["open", "creat"] && evt.type != "open"`, "creat"},
		{`opened`, "open openat"},
		{`both && !opened`, "creat"},
		{`!(evt.type != "connect" || proc.name == "x")`, "connect"},
		{`evt.type == "open" || evt.type == "connect" && proc.pid > 1`, "open connect"},
		{`has(fd.rport)`, "connect bind listen accept accept4 sendto sendmsg sendmmsg recvfrom recvmsg dup dup2 dup3 fcntl"},
		{`evt.is_open_write && evt.type != "open"`, "openat openat2 creat"},
		{`(proc.pid > 1 ? true : false) && evt.type == "fork"`, "fork"},
	} {
		set, err := ruleset.Compile([]rule.File{parse(t, "s", shared), parse(t, "f", ruleText("r", c.condition))}, ruleset.Options{})
		if err != nil {
			t.Errorf("%s: %v", c.condition, err)
			continue
		}
		var got []string
		for _, k := range set.Rules()[0].Kinds {
			got = append(got, k.String())
			if len(set.ForKind(k)) != 1 {
				t.Errorf("%s is not indexed under %s", c.condition, k)
			}
		}
		if d := cmp.Diff(c.want, strings.Join(got, " ")); d != "" {
			t.Errorf("%s (-want +got)\n%s", c.condition, d)
		}
	}
	set, err := ruleset.Compile([]rule.File{parse(t, "f", ruleText("r", `proc.name != "x"`))}, ruleset.Options{})
	if err != nil || len(set.ForKind(999)) != 1 {
		t.Errorf("a rule about every kind must meet those of newer releases too: %v", err)
	}
}

func TestCompileErrors(t *testing.T) {
	for _, c := range []struct{ condition, want string }{
		{`proc.nmae == "x"`, "f:5:7: undeclared reference"},
		{`proc.name == 1`, "f:5:17: found no matching overload"},
		{`proc.name == `, "f:5:"},
		{`proc.name`, "f:5:7: a condition must be bool"},
		{`has(proc.x)`, "f:5:"},
		{`evt.type == "opne"`, `f:5:19: there is no event type "opne"`},
		{`evt.type == "open" && evt.type == "creat"`, "f:5:7: condition of rule r can never be true"},
		{`proc.name.matches("(")`, "f:5:"},
		{`proc.name.matches(proc.exe)`, "f:5:29: the pattern of matches() must be constant"},
		{`proc.name.matches("` + strings.Repeat("a{900}", 12) + `")`, `f:5:25: regular expression of`},
		{`fd.sip.inCidr("10.0.0.0")`, `f:5:21: "10.0.0.0" is no network`},
		{strings.Repeat("(", 100) + "true" + strings.Repeat(")", 100), "f:5:"},
		{`proc.aname.exists(a, proc.aname.exists(b, proc.aname.exists(c, a == c && b == c)))`, "f:5:"},
	} {
		_, err := ruleset.Compile([]rule.File{parse(t, "f", ruleText("r", c.condition))}, ruleset.Options{})
		if err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%.60s: %v, want %s", c.condition, err, c.want)
		}
	}
	for _, c := range []struct{ text, want string }{
		{"macros: {x: y, y: \"!x\"}", "recursive: x -> y -> x"},
		{"lists: {proc: [a]}", "first part of field names"},
		{strings.Replace(ruleText("r", "true"), "%proc.name", "%proc.nope", 1), `f:6:14: there is no field "%proc.nope"`},
		{ruleText("r", "true") + strings.TrimPrefix(ruleText("r", "true"), "rules:\n"), "rule r is already defined at f:2:5"},
	} {
		_, err := ruleset.Compile([]rule.File{parse(t, "f", c.text)}, ruleset.Options{})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.text, err, c.want)
		}
	}
}

func TestDigestAndLayers(t *testing.T) {
	a, b := parse(t, "a", ruleText("a", "true")), parse(t, "b", ruleText("b", "evt.cpu == 1"))
	digest := func(files ...rule.File) string {
		t.Helper()
		s, err := ruleset.Compile(files, ruleset.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return s.Digest()
	}
	if digest(a, b) != digest(b, a) || digest(a) == digest(a, b) {
		t.Error("digest does not follow the content")
	}
	over := parse(t, "o", strings.Replace(ruleText("a", "false || true"), "priority", "enabled: false\n    priority", 1))
	over.Layer = 1
	if digest(over, a, b) != digest(b) {
		t.Error("a rule of a higher layer did not disable the lower one")
	}
}

// TestSemantics: absent fields and the functions.
func TestSemantics(t *testing.T) {
	b := eventv1.NewBuilder()
	b.Reset(eventv1.Header{Node: "n", BootID: "b", Source: "syscall"})
	row := b.AddProc(eventv1.Proc{PID: 7, Parent: -1, Comm: b.InternString("cat"), Exe: b.InternString("/usr/bin/cat"), Container: -1, User: -1, LoginUser: -1})
	e := eventv1.Event{Kind: eventv1.Openat, Seq: 1, Proc: row}
	e.Args[eventv1.OpenName] = int64(b.InternString("/home/ada/.ssh/id_rsa"))
	b.Add(&e)
	e.Proc, e.Kind = -1, eventv1.Connect
	e.Args = [16]int64{3, 2, 1, 6, 0, 0, int64(b.InternString("\x0a\x00\x00\x05")), 443}
	b.Add(&e)
	var batch eventv1.Batch
	if err := eventv1.NewDecoder().Decode(b.Encode(), &batch); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		condition string
		want      [2]bool
	}{
		{`has(proc.name)`, [2]bool{true, false}},
		{`!has(proc.pname) && proc.pname == ""`, [2]bool{true, true}},
		{`proc.pid == -1`, [2]bool{false, true}},
		{`user.uid == 0`, [2]bool{true, false}},
		{`proc.aname.exists(a, a == "cat")`, [2]bool{true, false}},
		{`size(proc.aname) == 0`, [2]bool{false, true}},
		{`fd.name.glob("/home/*/.ssh/id_*")`, [2]bool{true, false}},
		{`fd.name.glob("/home/*")`, [2]bool{true, false}},
		{`fd.name.glob(["/x", "/home/**"])`, [2]bool{true, false}},
		{`fd.name.pathPrefix("/home/ada")`, [2]bool{true, false}},
		{`fd.name.pathPrefix(["/home/ad"])`, [2]bool{false, false}},
		{`fd.rip.inCidr("10.0.0.0/8")`, [2]bool{false, true}},
		{`fd.rip.inCidr(["::1/128", "10.0.0.5/32"]) && fd.rport == 443`, [2]bool{false, true}},
		{`fd.name.basename() == "id_rsa"`, [2]bool{true, false}},
		{`"X".lower() == "x"`, [2]bool{true, true}},
		{`proc.name.startsWithAny(["x", "c"]) && proc.name.endsWithAny(["t"]) && proc.name.containsAny(["a"])`, [2]bool{true, false}},
	} {
		f, err := ruleset.NewFilter(c.condition)
		if err != nil {
			t.Errorf("%s: %v", c.condition, err)
			continue
		}
		r, v := eventv1.NewReader(), field.NewView()
		r.Reset(&batch)
		v.Batch(&batch)
		for i := 0; r.Next(&e); i++ {
			v.Event(&e)
			if got, err := f.Match(v); err != nil || got != c.want[i] {
				t.Errorf("%s on event %d: %v, %v", c.condition, i, got, err)
			}
		}
	}
}
