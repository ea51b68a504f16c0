package rule_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gyre-sec/gyre/evaluator/rule"
	"github.com/gyre-sec/gyre/schemas/alertv1"
)

const good = `# a comment
lists:
  shells: [sh, bash, "da\x73h"]
  numbers:
    - 1
    - x y
macros:
  is_shell: proc.name in shells
---
rules:
  - id: r1
    name: Rule one
    description: >
      What it
      says.
    condition: |
      evt.type == "open" &&
        is_shell
    output: "%proc.name did it"
    priority: warning
    tags: [a]
    mitre: [T1003.008]
    enabled: false
    fields: [proc.pid]
    references: [https://example.com/x]
`

func TestParse(t *testing.T) {
	f, err := rule.Parse("x.yaml", []byte(good))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"sh", "bash", "dash"}, f.Lists[0].Items); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"1", "x y"}, f.Lists[1].Items); d != "" {
		t.Error(d)
	}
	r := f.Rules[0]
	if r.ID != "r1" || r.Name != "Rule one" || r.Description != "What it says." || r.Source != "syscall" || r.Priority != alertv1.Warning || r.Enabled || r.Fields[0].Value != "proc.pid" {
		t.Errorf("rule %+v", r)
	}
	if f.Macros[0].Condition.Value != "proc.name in shells" {
		t.Errorf("macro %q", f.Macros[0].Condition.Value)
	}
}

// TestPlaces: every character X of a value is found where it stands in the file, in all scalar styles.
func TestPlaces(t *testing.T) {
	for _, scalar := range []string{
		"aX b", "\"aX b\"", "'it''s X'", "\"q\\\"u X\"", "|\n      first\n        X two", ">\n      first\n      X two", ">-\n\n      first\n      X",
		"a\n      b X", "|-\n        ä ö\n        ü X", "\"a\n      X\"",
	} {
		src := "lists:\n  l: [a]\nmacros:\n  m: " + scalar + "\n"
		f, err := rule.Parse("x", []byte(src))
		if err != nil {
			t.Errorf("%q: %v", scalar, err)
			continue
		}
		x := f.Macros[0].Condition
		i := 0
		for _, r := range x.Value {
			if r == 'X' {
				break
			}
			i++
		}
		want := rule.Pos{}
		for n, line := range strings.Split(src, "\n") {
			if c := strings.IndexRune(line, 'X'); c >= 0 {
				want = rule.Pos{Line: n + 1, Col: len([]rune(line[:c])) + 1}
			}
		}
		if got := x.At(i); got != want {
			t.Errorf("%q (value %q): X at %v, want %v", scalar, x.Value, got, want)
		}
	}
}

func TestErrors(t *testing.T) {
	head := "rules:\n  - id: r\n    name: n\n    condition: \"true\"\n    output: o\n    priority: error\n"
	for _, c := range []struct {
		name, src string
		want      []string
	}{
		{"not a mapping", "- a\n", []string{"f:1:1: a rule file must be a mapping, not a list"}},
		{"unknown key", "rule: []\n", []string{`f:1:1: unknown key "rule"`}},
		{"unknown rule key", head + "    prio: x\n", []string{`f:7:5: unknown key "prio" in a rule`}},
		{"repeated key", head + "    name: m\n", []string{`f:7:5: key "name" repeated, first on line 3`}},
		{"several", "lists:\n  A: [x]\n  b: y\nmacros:\n  in: x\n", []string{`f:2:3: "A" cannot be the name of a list`, "f:3:6: the list b must be a list, not text", `f:5:3: "in" is a word of CEL`}},
		{"missing", "rules:\n  - id: r\n", []string{"f:2:5: rule r has no name", "f:2:5: rule r has no condition", "f:2:5: rule r has no output", "f:2:5: rule r has no priority"}},
		{"bad priority", strings.Replace(head, "error", "loud", 1), []string{`f:6:15: unknown priority "loud"`}},
		{"bad mitre", head + "    mitre: [T1, T1003]\n", []string{`f:7:13: "T1" is no MITRE ATT&CK id`}},
		{"bad id", strings.Replace(head, "id: r", "id: R r", 1), []string{`f:2:9: "R r" cannot be a rule id`}},
		{"enabled", head + "    enabled: 1\n", []string{"f:7:14: enabled must be true or false, not a number"}},
		{"yaml", "rules: [\n", []string{"f:1:8: not valid YAML"}},
		{"tabs", "rules:\n\t- id: x\n", []string{"f:2:1: not valid YAML"}},
		{"empty condition", strings.Replace(head, `"true"`, `""`, 1), []string{"f:4:16: condition is empty"}},
		{"not utf-8", "\xff", []string{"f: not UTF-8 text"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := rule.Parse("f", []byte(c.src))
			var list rule.Errors
			if !errors.As(err, &list) {
				t.Fatalf("error %v", err)
			}
			if _, ok := errors.AsType[*rule.Error](err); !ok {
				t.Error("no *rule.Error within")
			}
			ok := len(list) == len(c.want)
			for i := 0; ok && i < len(list); i++ {
				ok = strings.HasPrefix(list[i].Error(), c.want[i])
			}
			if !ok {
				t.Errorf("got\n%v\nwant\n%s", err, strings.Join(c.want, "\n"))
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte("rules: [{id: a, condition: >-\n  x\n}]"))
	f.Add([]byte("macros: {m: &a x, n: *a}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := rule.Parse("f", data)
		if err != nil {
			if err.Error() == "" {
				t.Error("an error without words")
			}
			return
		}
		lines := strings.Count(string(data), "\n") + 1
		for _, r := range file.Rules {
			for i := range len([]rune(r.Condition.Value)) {
				if p := r.Condition.At(i); p.Line < 1 || p.Col < 1 || p.Line > lines+1 {
					t.Fatalf("character %d of %q at %v", i, r.Condition.Value, p)
				}
			}
		}
	})
}
