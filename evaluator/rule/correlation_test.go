package rule

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const sequenceRule = `rules:
  - id: s
    name: S
    kind: sequence
    scope: lineage
    by: [proc.exepath]
    within: 5m
    steps:
      - name: load
        condition: evt.type == "openat"
      - {name: run, condition: 'evt.type == "execve" && proc.exepath == load.fd.name', by: [fd.name], count: 2, every: 30s}
    until: evt.type == "procexit"
    output: "%load.fd.name"
    priority: notice
    throttle: {window: 1h}
`

func TestParseCorrelation(t *testing.T) {
	f, err := Parse("f", []byte(sequenceRule))
	if err != nil {
		t.Fatal(err)
	}
	c := f.Rules[0].Correlation
	if c.Kind != KindSequence || c.Scope != ScopeLineage || c.Within != 5*time.Minute || len(c.Steps) != 2 || c.Steps[1].Count != 2 || c.Steps[1].Every != 30*time.Second || c.Until.Value == "" {
		t.Errorf("%+v", c)
	}
	f, err = Parse("f", []byte("rules: [{id: t, name: T, kind: threshold, by: [fd.cip], within: 1m, count: 5, condition: 'true', output: o, priority: notice}]"))
	if err != nil {
		t.Fatal(err)
	}
	if c = f.Rules[0].Correlation; c.Scope != ScopeNode || len(c.Steps) != 1 || c.Steps[0].Name != StepEvent || c.Count != 5 {
		t.Errorf("%+v", c)
	}
}

func TestCorrelationErrors(t *testing.T) {
	head := "rules: [{id: r, name: n, output: o, priority: error, "
	for _, c := range []struct{ text, want string }{
		{"kind: often}]", `f:1:60: unknown kind "often"`},
		{"condition: 'true', within: 5m}]", "f:1:73: within is for correlation rules, this rule has no kind"},
		{"kind: threshold, condition: x, count: 3}]", "f:1:10: rule r of kind threshold has no within"},
		{"kind: threshold, condition: x, count: 1, within: 5m}]", "f:1:85: count is 1, want 2 to 10000"},
		{"kind: threshold, condition: x, count: 9, within: 48h}]", "f:1:95: within is 48h0m0s, at most 24h0m0s"},
		{"kind: threshold, condition: x, count: 9, within: 5m, steps: []}]", "f:1:107: a rule of kind threshold has no steps"},
		{"kind: sequence, within: soon}]", `f:1:78: "soon" cannot be the time of within`},
		{"kind: sequence, within: 5m, steps: [{name: a, condition: x}]}]", "f:1:82: steps is 1, want 2 to 8"},
		{"kind: sequence, within: 5m, steps: [{name: a, condition: x}, {name: a, condition: x}]}]", `f:1:116: step "a" repeated, first on line 1`},
		{"kind: sequence, within: 5m, steps: [{name: a, condition: x}, {name: b}]}]", "f:1:116: a step needs a name and a condition"},
		{"kind: sequence, within: 5m, steps: [{name: a, cond: x}]}]", `f:1:100: unknown key "cond" in a step`},
		{"kind: sequence, within: 5m, by: [fd.cip], steps: [{name: a, condition: x, by: []}, {name: b, condition: x}]}]", "f:1:105: step a has 0 fields in by, the rule 1"},
		{"kind: rate, within: 5m, condition: x, count: 3, factor: 3}]", "f:1:92: baseline and factor go together"},
		{"kind: rate, within: 5m, condition: x, count: 3, factor: 3, baseline: 6m}]", "f:1:113: baseline is 6m0s, want 2 to 288 times within"},
		{"kind: rate, within: 5m, condition: x, count: 3, factor: much, baseline: 1h}]", `f:1:110: "much" cannot be a factor`},
		{"kind: distinct, within: 5m, condition: x, count: many, distinct: fd.cip}]", `f:1:103: count is "many", want a number`},
		{"kind: threshold, condition: x, count: 9, within: 5m, throttle: {key: [a], window: 5m}}]", "f:1:124: throttle of a correlation rule has no key"},
	} {
		_, err := Parse("f", []byte(head+c.text))
		if err == nil || !strings.Contains("\n"+err.Error(), "\n"+c.want) {
			t.Errorf("%s\ngot  %v\nwant %s", c.text, err, c.want)
		}
	}
}

func TestConjuncts(t *testing.T) {
	for _, c := range []struct {
		text string
		want []string
	}{
		{"a", []string{"a"}},
		{"a && b\n  && (c || d && e)", []string{"a", "b", "(c || d && e)"}},
		{"a && b || c", []string{"a && b || c"}},
		{`a == "x && y" && b == '\' && ' && c == r'\' && d`, []string{`a == "x && y"`, `b == '\' && '`, `c == r'\'`, "d"}},
		{"a // && no\n && b", []string{"a // && no", "b"}},
		{`a == """x" && """ && b`, []string{`a == """x" && """`, "b"}},
	} {
		var got []string
		for _, x := range Plain(c.text).Conjuncts() {
			got = append(got, x.Value)
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s\n%s", c.text, d)
		}
	}
	parts := Plain("a &&\n  bb.c").Conjuncts()
	if p := parts[1].At(1); p != (Pos{2, 4}) {
		t.Error(p)
	}
	j := Join(parts)
	if i := strings.Index(j.Value, "bb"); j.At(i+1) != (Pos{2, 4}) {
		t.Errorf("%q: %v", j.Value, j.At(i+1))
	}
	for text, want := range map[string]bool{"load.fd.name == x": true, "x.load.y": false, `"load.x" == y`: false, "preload.x": false, "load": false, "!load.x": true} {
		if got := Plain(text).Names([]string{"load"}); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}
