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
		{`proc.name.glob("` + strings.Repeat("*a", 300) + `")`, `f:5:22: glob pattern of 600 bytes`},
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
		{doubling(40) + ruleText("r", "!m40"), "with its macros the condition has"},
		{ruleText("r", "true") + strings.TrimPrefix(ruleText("r", "true"), "rules:\n"), "rule r is already defined at f:2:5"},
	} {
		_, err := ruleset.Compile([]rule.File{parse(t, "f", c.text)}, ruleset.Options{})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.text, err, c.want)
		}
	}
}

// doubling makes macros of which each names the one before twice.
func doubling(n int) string {
	s := "macros:\n  m0: evt.cpu == 0\n"
	for i := range n {
		s += fmt.Sprintf("  m%[2]d: m%[1]d && evt.cpu != %[2]d || m%[1]d && proc.pid != %[2]d\n", i, i+1)
	}
	return s
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
		{`"Y2F0".b64decode() == proc.name && "Y2F0".b64decode() == "cat" && "a-_b".b64decode() != "" && "%".b64decode() == ""`, [2]bool{true, false}},
		{`fd.name.iequals(["x", "/HOME/ADA/.SSH/ID_RSA"]) && fd.name.icontains("ADA") && fd.name.istartsWith("/Home")`, [2]bool{true, false}},
		{`fd.name.iendsWith("RSA") && fd.name.iglob("/HOME/*/ID_?sa") && !fd.name.glob("/HOME/*") && !"É".iequals("é")`, [2]bool{true, false}},
		{`proc.aname.ancestor(0) == "cat" && proc.aname.ancestor(1) == "" && proc.aname.ancestor(-1) == ""`, [2]bool{true, false}},
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

// TestNoAllocation: an event that raises no alert costs no memory. A connection whose address is asked for
// costs the text of the address, which the accessor of the field makes.
func TestNoAllocation(t *testing.T) {
	for name, files := range map[string][]rule.File{"shipped": shipped(t), "many": manyRules(t, 90)} {
		set := compileSet(t, files, ruleset.Options{SampleEvery: -1}) // to time a rule forgets what is known of the process
		if n := set.Interpreted(); n > 0 {
			t.Errorf("%s: %d rules are not compiled", name, n)
		}
		batch, events := sample(t)
		engine, v := set.Engine(), field.NewView()
		var quiet []*eventv1.Event
		hit := false
		emit := func(*ruleset.Rule) { hit = true }
		run := func(e *eventv1.Event) {
			v.Event(e)
			engine.Eval(v, e, emit)
		}
		engine.Batch(v, batch)
		for i := range events {
			hit = false
			if run(&events[i]); !hit {
				quiet = append(quiet, &events[i])
			}
		}
		allocs := func(connects bool) (float64, float64) {
			n := 0.0
			return testing.AllocsPerRun(20, func() {
				n = 0
				for _, e := range quiet {
					if (e.Kind == eventv1.Connect) == connects {
						run(e)
						n++
					}
				}
			}), n
		}
		if n, events := allocs(false); n != 0 {
			t.Errorf("%s: %v allocations for %v events without an alert", name, n, events)
		}
		if n, events := allocs(true); n > events {
			t.Errorf("%s: %v allocations for %v connections without an alert", name, n, events)
		}
		if len(quiet) < len(events)*9/10 {
			t.Errorf("%s: %d of %d events raise no alert, too few to say much", name, len(quiet), len(events))
		}
	}
}

// TestStats: what becomes of rules is counted, also of one that fails.
func TestStats(t *testing.T) {
	files := []rule.File{
		parse(t, "a", ruleText("a", `evt.type == "openat"`)),
		parse(t, "b", ruleText("b", `10 / (evt.cpu - evt.cpu) > 1`)),
		parse(t, "c", ruleText("c", `timestamp(evt.time.iso8601).getFullYear() == 2026`)),
	}
	var failed []string
	set, err := ruleset.Compile(files, ruleset.Options{SampleEvery: 7, OnError: func(id string, _ error) { failed = append(failed, id) }})
	if err != nil {
		t.Fatal(err)
	}
	batch, events := sample(t)
	engine, v := set.Engine(), field.NewView()
	engine.Batch(v, batch)
	opens := 0
	for i := range events {
		if events[i].Kind == eventv1.Openat {
			opens++
		}
		v.Event(&events[i])
		engine.Eval(v, &events[i], func(*ruleset.Rule) {})
	}
	engine.Flush()
	n := uint64(len(events))
	want := []ruleset.RuleStats{
		{ID: "a", Evaluated: uint64(opens), Matched: uint64(opens)},
		{ID: "b", Evaluated: n, Errors: n, LastError: "division by zero"},
		{ID: "c", Evaluated: n, Matched: n},
	}
	got := set.Stats()
	for i := range got {
		if got[i].Samples == 0 || got[i].Time == 0 {
			t.Errorf("rule %s was never timed", got[i].ID)
		}
		got[i].Samples, got[i].Time = 0, 0
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	if len(failed) != len(events) {
		t.Errorf("%d errors reported, want %d", len(failed), len(events))
	}
	if set.Interpreted() != 1 || set.Rules()[2].Interpreted == "" || set.Rules()[0].Form == "" {
		t.Errorf("interpreted %d, %q", set.Interpreted(), set.Rules()[2].Interpreted)
	}
}

// TestExceptions: exceptions of a rule and of overrides keep it from matching, compiled and interpreted alike.
func TestExceptions(t *testing.T) {
	text := ruleText("r", `evt.type == "openat"`) + "    exceptions:\n      - {name: two, condition: 'evt.rawres == 3'}\n"
	over := parse(t, "o", "overrides:\n  - rule: r\n    priority: debug\n    tags: [mine]\n    exceptions:\n      - {name: new, condition: 1 / (evt.rawres - 4) == 1}\n      - {name: two, condition: proc.name == \"bash\"}\n")
	over.Layer = 1
	for _, interpret := range []bool{false, true} {
		failed := 0
		set, err := ruleset.Compile([]rule.File{parse(t, "f", text), over}, ruleset.Options{Interpret: interpret, OnError: func(string, error) { failed++ }})
		if err != nil {
			t.Fatal(err)
		}
		if r := set.Rules()[0]; r.Priority.String() != "debug" || strings.Join(r.Tags, " ") != "mine" {
			t.Errorf("priority %s, tags %v", r.Priority, r.Tags)
		}
		batch, events := sample(t)
		engine, v := set.Engine(), field.NewView()
		engine.Batch(v, batch)
		var hits, wantHits, wantFailed int
		for i := range events {
			e := &events[i]
			v.Event(e)
			engine.Eval(v, e, func(*ruleset.Rule) { hits++ })
			if p := batch.Proc(e.Proc); e.Kind != eventv1.Openat || batch.Text(p.Comm) == "bash" || e.Ret == 5 {
				continue
			}
			if e.Ret == 4 { // the exception divides by zero
				wantFailed++
				continue
			}
			wantHits++
		}
		if hits != wantHits || failed != wantFailed || hits == 0 || failed == 0 {
			t.Errorf("interpret %v: %d hits, %d errors, want %d and %d", interpret, hits, failed, wantHits, wantFailed)
		}
	}
	for _, c := range []struct{ text, want string }{
		{"overrides: [{rule: nope, enabled: false}]", "f:1:20: there is no rule nope to override"},
		{ruleText("r", "true") + "    exceptions: [{name: x, condition: proc.nmae == 1}]\n", "f:8:39: undeclared reference"},
	} {
		if _, err := ruleset.Compile([]rule.File{parse(t, "f", c.text)}, ruleset.Options{}); err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.text, err, c.want)
		}
	}
}
