package falco_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gyre-sec/gyre/evaluator/falco"
	"github.com/gyre-sec/gyre/evaluator/rule"
	"github.com/gyre-sec/gyre/evaluator/ruleset"
	"github.com/gyre-sec/gyre/evaluator/ruletest"
	"github.com/gyre-sec/gyre/schemas/alertv1"
	"github.com/gyre-sec/gyre/schemas/eventv1"
	"github.com/gyre-sec/gyre/schemas/field"
)

const base = "- rule: r\n  desc: d\n  condition: evt.type = openat\n  output: o %proc.name\n  priority: INFO\n"

// named makes a rule with a condition.
func named(name, condition string) string {
	return fmt.Sprintf("- rule: %s\n  desc: d\n  condition: %s\n  output: o\n  priority: INFO\n", name, condition)
}

func codes(list []falco.Issue) []falco.Code {
	var out []falco.Code
	for _, i := range list {
		out = append(out, i.Code)
	}
	return out
}

func TestErrors(t *testing.T) {
	for _, c := range []struct {
		name, src string
		code      falco.Code
		want      string
	}{
		{"no yaml", "- a: [\n", falco.ErrYAMLParse, ""},
		{"tab", "- a:\n\t- b\n", falco.ErrYAMLParse, "f:2:1"},
		{"mapping", "rules: []\n", falco.ErrYAMLValidate, "f:1:1: LOAD_ERR_YAML_VALIDATE: Rules content is not yaml array of objects"},
		{"scalar item", "- x\n", falco.ErrYAMLValidate, "Each element should be a yaml associative array"},
		{"no name", "- rule:\n  desc: d\n", falco.ErrYAMLValidate, "Mapping for key 'rule' is empty"},
		{"no condition", "- rule: r\n  desc: d\n", falco.ErrYAMLValidate, "Item has no mapping for key 'condition'"},
		{"empty output", strings.Replace(base, "o %proc.name", `""`, 1), falco.ErrYAMLValidate, "f:4:11: LOAD_ERR_YAML_VALIDATE: rule \"r\": Value must be non-empty"},
		{"priority", strings.Replace(base, "INFO", "LOUD", 1), falco.ErrYAMLValidate, "f:5:13: LOAD_ERR_YAML_VALIDATE: rule \"r\": Invalid priority"},
		{"enabled", base + "  enabled: perhaps\n", falco.ErrYAMLValidate, `"perhaps" is not true or false`},
		{"tags", base + "  tags: x\n", falco.ErrYAMLValidate, "Value is not a sequence"},
		{"items", "- list: l\n  items: [[a]]\n", falco.ErrYAMLValidate, "sequence value is not scalar"},
		{"grammar", named("r", "a.b ? c"), falco.ErrCompileCondition, "f:3:18: "},
		{"grammar, folded", "- rule: r\n  desc: d\n  condition: >\n    evt.type = openat\n      and proc.name ~ x\n  output: o\n  priority: INFO\n", falco.ErrCompileCondition, "f:5:21: "},
		{"field", named("r", "proc.nam = x"), falco.ErrCompileCondition, "f:3:14: LOAD_ERR_COMPILE_CONDITION: rule \"r\": nonexistent field proc.nam"},
		{"field in a macro", "- macro: m\n  condition: proc.nam = x\n" + named("r", "m"), falco.ErrCompileCondition, "f:2:14: LOAD_ERR_COMPILE_CONDITION: macro \"m\": nonexistent field proc.nam (in a macro of rule r)"},
		{"type", named("r", "evt.type = opnat"), falco.ErrCompileCondition, "f:3:25: LOAD_ERR_COMPILE_CONDITION: rule \"r\": unknown event type opnat"},
		{"output", strings.Replace(base, "%proc.name", "%proc.nam", 1), falco.ErrCompileOutput, "f:4:13: LOAD_ERR_COMPILE_OUTPUT: rule \"r\": nonexistent field proc.nam"},
		{"macro", named("r", "evt.type = openat and nosuch"), falco.ErrValidate, "f:3:36: LOAD_ERR_VALIDATE: rule \"r\": Undefined macro 'nosuch' used in filter."},
		{"later macro", "- macro: a\n  condition: b\n- macro: b\n  condition: evt.type = openat\n", falco.ErrValidate, "Undefined macro 'b' used in filter."},
		{"loop", "- macro: a\n  condition: evt.type = openat\n- macro: b\n  condition: a\n- macro: a\n  condition: b\n", falco.ErrValidate, "reference loop in macro"},
		{"engine", "- required_engine_version: 0.99.0\n", falco.ErrValidate, "Rules require engine version 0.99.0, but engine version is 0.63.0"},
		{"engine text", "- required_engine_version: new\n", falco.ErrYAMLValidate, "Unable to parse engine version 'new'"},
		{"plugin", "- required_plugin_versions:\n  - name: container\n    version: 1.0.0\n", falco.ErrValidate, "the rules require the plugin container 1.0.0"},
		{"plugin version", "- required_plugin_versions:\n  - name: x\n    version: 1\n", falco.ErrValidate, "Invalid required version '1' for plugin 'x'"},
		{"override", "- list: l\n  items: []\n  override:\n    items: remove\n", falco.ErrYAMLValidate, "Invalid override operation for key 'items': 'remove'"},
		{"override priority", base + base + "  override:\n    priority: append\n", falco.ErrYAMLValidate, "Key 'priority' cannot be appended to"},
		{"replace nothing", "- rule: x\n  enabled: false\n  override:\n    enabled: replace\n", falco.ErrValidate, "no rule of this name exists yet"},
		{"toggle nothing", "- rule: x\n  enabled: false\n", falco.ErrValidate, "Rule has 'enabled' key but no rule by that name already exists"},
		{"exception without fields", base + "  exceptions: [{name: e}]\n", falco.ErrYAMLValidate, "Item has no mapping for key 'fields'"},
		{"exception lengths", base + "  exceptions: [{name: e, fields: [proc.name, fd.name], comps: [=]}]\n", falco.ErrValidate, "Fields and comps lists must have equal length"},
		{"exception values", base + "  exceptions: [{name: e, fields: [proc.name, fd.name], values: [[a]]}]\n", falco.ErrValidate, "Fields and values lists must have equal length"},
		{"exception field", base + "  exceptions: [{name: e, fields: [proc.nam]}]\n", falco.ErrValidate, "'proc.nam' is not a supported filter field"},
		{"exception kinds", base + "  exceptions: [{name: e, fields: proc.name, comps: [in]}]\n", falco.ErrValidate, "Fields and comps must both be strings"},
		{"exception list value", base + "  exceptions: [{name: e, fields: proc.name, values: [[a]]}]\n", falco.ErrValidate, "Expected values array to contain a list of strings"},
		{"not utf-8", "- list: \xff\n", falco.ErrYAMLParse, "not UTF-8"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := falco.New(falco.Options{})
			res := l.Load("f", []byte(c.src))
			if res.Successful || len(res.Errors) != 1 || res.Errors[0].Code != c.code || !strings.Contains(res.String(), c.want) {
				t.Errorf("%s", res)
			}
			if res.Err() == nil || len(l.Rules()) != 0 {
				t.Errorf("%v, %d rules", res.Err(), len(l.Rules()))
			}
		})
	}
}

func TestWarnings(t *testing.T) {
	for _, c := range []struct {
		name, src string
		want      []falco.Code
	}{
		{"none", base, nil},
		{"unknown item", "- thing: x\n" + base, []falco.Code{falco.WarnUnknownItem}},
		{"unknown keys", base + "  colour: red\n  size: 3\n", []falco.Code{falco.WarnUnknownKey, falco.WarnUnknownKey}},
		{"source", base + "  source: k8s_audit\n", []falco.Code{falco.WarnUnknownSource}},
		{"plugin", "- required_plugin_versions:\n  - name: k8saudit\n    version: 0.7.0\n  - name: container\n    version: 0.2.0\n", []falco.Code{falco.WarnUnknownSource}},
		{"unused", "- list: l\n  items: [a]\n- macro: m\n  condition: evt.type = openat\n", []falco.Code{falco.WarnUnusedMacro, falco.WarnUnusedList}},
		{"names", "- list: a b\n  items: [a]\n- macro: a-b\n  condition: evt.type = openat\n", []falco.Code{falco.WarnListName, falco.WarnMacroName, falco.WarnUnusedMacro, falco.WarnUnusedList}},
		{"types", named("r", "proc.name = x"), []falco.Code{falco.WarnNoEventType}},
		{"types not wanted", named("r", "proc.name = x") + "  warn_evttypes: false\n", nil},
		{"types negated", named("r", "not evt.type = openat"), []falco.Code{falco.WarnNoEventType}},
		{"types negated twice", named("r", "not not evt.type = openat"), nil},
		{"de morgan", named("r", "not (not evt.type = openat or proc.name = x)"), nil},
		{"dir", named("r", "evt.type = openat and evt.dir = <"), []falco.Code{falco.WarnDeprecated}},
		{"skip field", named("r", "evt.type = openat and x.y = 1") + "  skip-if-unknown-filter: true\n", []falco.Code{falco.WarnUnknownFilter}},
		{"skip output", strings.Replace(base, "%proc.name", "%x.y", 1) + "  skip-if-unknown-filter: true\n", []falco.Code{falco.WarnUnknownFilter}},
		{"toggle", base + "- rule: r\n  enabled: false\n", []falco.Code{falco.WarnDeprecated}},
		{"exception twice", base + "  exceptions: [{name: e, fields: proc.name}, {name: e, fields: fd.name}]\n", []falco.Code{falco.WarnExceptionName}},
		{"exception without values", base + "  exceptions: [{name: e, fields: proc.name}]\n- rule: r\n  exceptions: [{name: e}]\n  override: {exceptions: append}\n", []falco.Code{falco.WarnAppendNoValues}},
		{"container.info", strings.Replace(base, "%proc.name", "%container.info", 1), []falco.Code{falco.WarnDeprecated}},
		{"missing", named("r", "evt.type = openat and util.cnt = 1"), []falco.Code{falco.WarnNotInGyre, falco.WarnNotInGyre}},
		{"alias", "- list: l\n  items: &a [x, y]\n- list: m\n  items: *a\n" + named("r", "evt.type = openat and proc.name in (l, m)"), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			res := falco.New(falco.Options{}).Load("f", []byte(c.src))
			if !res.Successful {
				t.Fatal(res)
			}
			if diff := cmp.Diff(c.want, codes(res.Warnings)); diff != "" {
				t.Errorf("%s\n%s", diff, res)
			}
		})
	}
}

// TestConditions follows a condition through lists, exceptions, overrides and several files.
func TestConditions(t *testing.T) {
	for _, c := range []struct {
		name  string
		files []string
		want  string
	}{
		{"empty list", []string{"- list: l\n  items: []\n" + named("r", "proc.name in (a, l)")}, "proc.name in (a)"},
		{"empty list first", []string{"- list: l\n  items: []\n" + named("r", "proc.name in (l, a)")}, "proc.name in (a)"},
		{"list with blanks", []string{"- list: l\n  items: [a b, '\"c d\"']\n" + named("r", "proc.name in (l)")}, `proc.name in ("a b", "c d")`},
		{"list of lists", []string{"- list: l\n  items: [a]\n- list: m\n  items: [l, b]\n" + named("r", "proc.name in (m)")}, "proc.name in (a, b)"},
		{"list name within words", []string{"- list: l\n  items: [x]\n" + named("r", "proc.name in (al, l-, l)")}, "proc.name in (al, l-, x)"},
		{"later list", []string{named("r", "proc.name in (l)"), "- list: l\n  items: [x]\n"}, "proc.name in (x)"},
		{"two files", []string{base, "- rule: r\n  condition: or evt.type = open\n  override: {condition: append}\n"}, "(evt.type = openat or evt.type = open)"},
		{"documents", []string{base + "---\n- rule: r\n  condition: and proc.name = x\n  append: true\n"}, "(evt.type = openat and proc.name = x)"},
		{
			"exceptions",
			[]string{base + "  exceptions:\n  - name: e\n    fields: [proc.name, fd.name]\n    comps: [=, in]\n    values:\n    - [a, [b, c]]\n    - [d, e]\n  - name: f\n    fields: proc.pname\n    values: [x, y z]\n  - name: g\n    fields: [proc.name]\n"},
			`(evt.type = openat and not ((proc.name = a and fd.name in (b, c)) or (proc.name = d and fd.name in (e))) and not proc.pname in (x, "y z"))`,
		},
		{
			"exception appended",
			[]string{base + "  exceptions: [{name: e, fields: proc.name, values: [a]}]\n- rule: r\n  exceptions: [{name: e, values: [b]}, {name: f, fields: proc.pname, comps: in, values: [c]}]\n  override: {exceptions: append}\n"},
			"(evt.type = openat and not proc.name in (a, b) and not proc.pname in (c))",
		},
		{"list in exception", []string{"- list: l\n  items: [a, b]\n" + base + "  exceptions: [{name: e, fields: [proc.name], comps: [in], values: [[l]]}]\n"}, "(evt.type = openat and not proc.name in (a, b))"},
		{"macro redefined", []string{"- macro: m\n  condition: evt.type = open\n" + named("r", "m"), "- macro: m\n  condition: evt.type = creat\n"}, "evt.type = creat"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := falco.New(falco.Options{})
			for i, f := range c.files {
				if res := l.Load(fmt.Sprint(i), []byte(f)); i == len(c.files)-1 && !res.Successful {
					t.Fatal(res)
				}
			}
			if got := l.Expanded(l.Rules()[0]).String(); got != c.want {
				t.Errorf("got %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestOverride(t *testing.T) {
	l := falco.New(falco.Options{})
	res := l.Load("f", []byte(base+"  tags: [b]\n- rule: r\n  desc: e\n  output: more\n  tags: [a, b]\n  priority: ERROR\n  enabled: false\n"+
		"  override: {desc: append, output: append, tags: append, priority: replace, enabled: replace}\n"))
	if !res.Successful {
		t.Fatal(res)
	}
	r := l.Rules()[0]
	if r.Description != "d e" || r.Output != "o %proc.name more" || r.Priority != alertv1.Error || r.Enabled || !slices.Equal(r.Tags, []string{"a", "b"}) {
		t.Errorf("%+v", r)
	}
}

func TestSelection(t *testing.T) {
	text := named("Write below etc", "evt.type = open") + "  tags: [x]\n" + named("Read secret", "evt.type = open") + named("Other/rule", "evt.type = open")
	for _, c := range []struct {
		o    falco.Options
		want []string
	}{
		{falco.Options{}, []string{"Write below etc", "Read secret", "Other/rule"}},
		{falco.Options{Select: []falco.Selection{{Rule: "*"}}}, nil},
		{falco.Options{Select: []falco.Selection{{Rule: "*"}, {Enable: true, Tag: "x"}}}, []string{"Write below etc"}},
		{falco.Options{Select: []falco.Selection{{Rule: "Read*"}, {Rule: "[broken"}}}, []string{"Write below etc", "Other/rule"}},
		{falco.Options{Select: []falco.Selection{{Rule: "*/rule"}, {Rule: "W*", Tag: "nosuch"}, {}}}, []string{"Write below etc", "Read secret"}},
		{falco.Options{HasThreshold: true, Threshold: alertv1.Notice}, nil},
	} {
		l := falco.New(c.o)
		if res := l.Load("f", []byte(text)); !res.Successful {
			t.Fatal(res)
		}
		var got []string
		for _, f := range l.Native(true) {
			for _, r := range f.Rules {
				got = append(got, r.Name)
			}
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%+v: %s", c.o, diff)
		}
	}
}

func TestNames(t *testing.T) {
	l := falco.New(falco.Options{})
	res := l.Load("f", []byte("- macro: A_b\n  condition: evt.type = open\n- macro: a_B\n  condition: evt.type = creat\n"+named("Same - Name", "A_b")+named("same name", "a_B or A_b")))
	if !res.Successful {
		t.Fatal(res)
	}
	f := l.Native(false)[0]
	if _, err := ruleset.Compile([]rule.File{f}, ruleset.Options{}); err != nil {
		t.Error(err)
	}
	if f.Rules[0].ID != "falco.same-name" || f.Rules[1].ID == f.Rules[0].ID || len(f.Macros) != 2 || f.Macros[0].Name == f.Macros[1].Name {
		t.Errorf("%+v", f)
	}
}

// TestConvertedOutput prints the same from a Falco rule and from the native rule that it becomes.
func TestConvertedOutput(t *testing.T) {
	const out = `%proc.name. (%20fd.name)[%proc.aname[1]] %k8smeta.pod.name %evt.rawarg.flags %evt.count %syscall.type %toupper(proc.name)%evt.arg[flags] %proc.env[A] %util.cnt`
	l := falco.New(falco.Options{})
	if res := l.Load("f", []byte(strings.Replace(base, "o %proc.name", "'"+out+"'", 1))); !res.Successful {
		t.Fatal(res)
	}
	data, err := ruletest.Batch(ruletest.Case{
		Event:   ruletest.Event{Kind: "openat", Ret: 3, Args: map[string]any{"name": "/etc/passwd", "flags": "O_RDWR"}},
		Process: &ruletest.Process{Name: "cat", Env: []string{"A=1"}, Ancestors: []ruletest.Process{{Name: "sh"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := "cat. (/etc/passwd         )[sh] <NA> O_RDWR 1 openat CATO_RDWR 1 <NA>"
	for _, files := range [][]rule.File{l.Native(true), {l.Convert("c")}} {
		set, err := ruleset.Compile(files, ruleset.Options{})
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		each(t, set, data, func(r *ruleset.Rule, v *field.View) { got = string(r.Output.Append(nil, v)) })
		if got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func TestByteOrderMark(t *testing.T) {
	if res := falco.New(falco.Options{}).Load("f", []byte("\ufeff"+strings.ReplaceAll(base, "\n", "\r\n"))); !res.Successful {
		t.Error(res)
	}
}

// TestManyItems keeps long lists out of conditions, whose size is bounded.
func TestManyItems(t *testing.T) {
	items := make([]string, 5000)
	for i := range items {
		items[i] = fmt.Sprintf("program-%d", i)
	}
	all := strings.Join(items, ", ")
	l := falco.New(falco.Options{})
	res := l.Load("f", []byte("- list: many\n  items: ["+all+"]\n"+named("r", "evt.type = open and proc.name in (x, many, y) and not proc.pname in ("+all+", z)")))
	if !res.Successful {
		t.Fatal(res)
	}
	if _, err := ruleset.Compile(l.Native(false), ruleset.Options{}); err != nil {
		t.Error(err)
	}
}

// TestLongCondition splits conditions whose CEL would be too long.
func TestLongCondition(t *testing.T) {
	var b strings.Builder
	b.WriteString(base + "  exceptions:\n  - name: e\n    fields: [proc.name, fd.name]\n    comps: [=, startswith]\n    values:\n")
	for i := range 1500 {
		fmt.Fprintf(&b, "    - [program-%d, /var/lib/some/directory/%d]\n", i, i)
	}
	l := falco.New(falco.Options{})
	if res := l.Load("f", []byte(b.String())); !res.Successful {
		t.Fatal(res)
	}
	set, err := ruleset.Compile(l.Native(false), ruleset.Options{})
	if err != nil {
		t.Fatal(err)
	}
	open := func(proc, name string) bool {
		data, err := ruletest.Batch(ruletest.Case{
			Event: ruletest.Event{Kind: "openat", Ret: 3, Args: map[string]any{"name": name}}, Process: &ruletest.Process{Name: proc},
		})
		if err != nil {
			t.Fatal(err)
		}
		return len(matches(t, set, data)) > 0
	}
	for _, c := range []struct {
		proc, name string
		want       bool
	}{{"program-7", "/var/lib/some/directory/7/x", false}, {"program-1499", "/var/lib/some/directory/1499", false}, {"program-7", "/var/lib/some/directory/8", true}, {"x", "/etc", true}} {
		if got := open(c.proc, c.name); got != c.want {
			t.Errorf("%s %s: %v", c.proc, c.name, got)
		}
	}
}

// matches returns the names of the rules that match the events of a batch.
func matches(t *testing.T, set *ruleset.Set, data []byte) []string {
	t.Helper()
	var out []string
	each(t, set, data, func(r *ruleset.Rule, _ *field.View) { out = append(out, r.Name) })
	return out
}

// each calls hit for every match of a batch.
func each(t *testing.T, set *ruleset.Set, data []byte, hit func(*ruleset.Rule, *field.View)) {
	t.Helper()
	var b eventv1.Batch
	if err := eventv1.NewDecoder().Decode(data, &b); err != nil {
		t.Fatal(err)
	}
	r, e, v := eventv1.NewReader(), eventv1.Event{}, field.NewView()
	r.Reset(&b)
	v.Batch(&b)
	for r.Next(&e) {
		v.Event(&e)
		set.Engine().Eval(v, &e, func(r *ruleset.Rule) { hit(r, v) })
	}
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
}

func TestIs(t *testing.T) {
	for src, want := range map[string]bool{
		base: true, "# c\n\n---\n" + base: true, "rules: []\n": false, "\ufeff" + base: true, "": false, "# only\n": false, "[{list: l, items: []}]": true, "lists:\n  - x": false,
	} {
		if got := falco.Is([]byte(src)); got != want {
			t.Errorf("%q: %v", src, got)
		}
	}
}

func FuzzLoad(f *testing.F) {
	for _, s := range []string{
		base, "- list: l\n  items: [a, 'b c']\n- macro: m\n  condition: proc.name in (l)\n" + named("r", "m and not m"),
		base + "  exceptions: [{name: e, fields: [proc.name, fd.name], comps: [=, in], values: [[a, [b, c]]]}]\n",
		"- rule: r\n  condition: and x\n  override: {condition: append}\n", "- required_engine_version: 26\n- &a [*a]\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		l := falco.New(falco.Options{})
		res := l.Load("f", []byte(s))
		if _, err := falco.JSON([]*falco.Result{res}); err != nil {
			t.Fatal(err)
		}
		if res.Successful != (len(res.Errors) == 0) || res.String() == "" {
			t.Fatal(res)
		}
		if !res.Successful {
			return
		}
		if _, err := ruleset.Compile(l.Native(false), ruleset.Options{}); err != nil && !strings.Contains(err.Error(), "at most") && !strings.Contains(err.Error(), "limit") {
			t.Fatalf("%q: %v", s, err)
		}
	})
}
