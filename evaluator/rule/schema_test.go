package rule

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gyre-sec/gyre/schemas/alertv1"
)

// TestSchema: the schema names the keys, forms and priorities that the parser takes.
func TestSchema(t *testing.T) {
	type object struct {
		Properties map[string]struct {
			Pattern string
			Items   struct{ Pattern string }
		}
		Required []string
	}
	var s struct {
		Properties map[string]any
		Defs       struct {
			Name       struct{ Pattern string }
			Priority   struct{ Enum []string }
			Exceptions struct{ Items object }
			Throttle   object
			Rule       object
			Step       object
			Override   object
		} `json:"$defs"`
	}
	if err := json.Unmarshal([]byte(Schema), &s); err != nil {
		t.Fatal(err)
	}
	same := func(what string, got []string, want []string) {
		t.Helper()
		want = slices.Sorted(slices.Values(want))
		if d := cmp.Diff(want, slices.Sorted(slices.Values(got))); d != "" {
			t.Errorf("%s (-parser +schema)\n%s", what, d)
		}
	}
	same("file", slices.Collect(maps.Keys(s.Properties)), fileKeys)
	same("rule", slices.Collect(maps.Keys(s.Defs.Rule.Properties)), ruleKeys)
	same("step", slices.Collect(maps.Keys(s.Defs.Step.Properties)), stepKeys)
	same("override", slices.Collect(maps.Keys(s.Defs.Override.Properties)), overrideKeys)
	same("throttle", slices.Collect(maps.Keys(s.Defs.Throttle.Properties)), throttleKeys)
	same("exception", slices.Collect(maps.Keys(s.Defs.Exceptions.Items.Properties)), exceptionKeys)
	var priorities []string
	for _, p := range s.Defs.Priority.Enum {
		if _, err := alertv1.ParsePriority(p); err != nil {
			t.Error(err)
		}
		priorities = append(priorities, p)
	}
	if len(priorities) != 8 {
		t.Errorf("priorities %v", priorities)
	}
	for pattern, form := range map[string]*regexp.Regexp{
		s.Defs.Name.Pattern: nameForm, s.Defs.Rule.Properties["id"].Pattern: idForm, s.Defs.Rule.Properties["mitre"].Items.Pattern: mitreForm,
	} {
		if pattern != form.String() {
			t.Errorf("pattern %s, the parser has %s", pattern, form)
		}
	}
}

func TestParseOverrides(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"overrides: [{enabled: true}]", "f:1:14: an override names no rule"},
		{"overrides: [{rule: r, prio: x}]", `f:1:23: unknown key "prio" in an override`},
		{"overrides: [{rule: r, enabled: x}]", "f:1:32: enabled must be true or false, not text"},
		{"overrides: [{rule: r, exceptions: [{name: a}]}]", "f:1:37: an exception needs a name and a condition"},
		{"overrides: [{rule: r, exceptions: [{name: a, condition: x}, {name: a, condition: y}]}]", `f:1:62: exception "a" repeated, first on line 1`},
		{"overrides: [{rule: r, throttle: {window: 5}}]", `f:1:42: "5" cannot be a window`},
		{"overrides: [{rule: r, throttle: {key: [proc.name]}}]", "f:1:23: throttle has no window"},
		{"overrides: [{rule: r, throttle: {window: 5s, by: x}}]", `f:1:46: unknown key "by" in throttle`},
		{"overrides: {}", "f:1:12: overrides must be a list, not a mapping"},
	} {
		_, err := Parse("f", []byte(c.text))
		if err == nil || len(err.Error()) < len(c.want) || err.Error()[:len(c.want)] != c.want {
			t.Errorf("%s: %v, want %s", c.text, err, c.want)
		}
	}
	f, err := Parse("f", []byte("overrides: [{rule: r, enabled: false, exceptions: [{name: a, condition: 'true'}]}]"))
	if err != nil || len(f.Overrides) != 1 || *f.Overrides[0].Enabled || f.Overrides[0].Priority != nil || f.Overrides[0].Exceptions[0].Condition.Value != "true" {
		t.Errorf("%+v, %v", f, err)
	}
}
