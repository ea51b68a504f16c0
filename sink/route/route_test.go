package route

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gyre-sec/gyre/schemas/alertv1"
)

func alert(rule, node string, p alertv1.Priority) *alertv1.Alert {
	return &alertv1.Alert{
		ID: alertv1.EventID(rule, node, "b", 1), Time: 1_780_000_000_000_000_000, RuleID: strings.ToLower(rule), Rule: rule, Priority: p, Node: node, Source: "syscall",
		Tags: []string{"host", "network"}, MITRE: []string{"T1003.008"}, Fields: []alertv1.Field{{Name: "fd.name", Value: "/etc/shadow"}, {Name: "n", Value: int64(7)}, {Name: "gone"}, {Name: "l", Value: []string{"a", "b"}}},
		K8s: alertv1.K8s{Namespace: "prod", Pod: "web-0"}, Lineage: []alertv1.Process{{Name: "cat"}},
	}
}

func TestMatch(t *testing.T) {
	a := alert("Read shadow/file", "web-1", alertv1.Error)
	for _, tt := range []struct {
		name string
		m    Match
		want bool
	}{
		{"empty", Match{}, true},
		{"severe enough", Match{MinPriority: "warning"}, true},
		{"too mild", Match{MinPriority: "critical"}, false},
		{"rule glob over a slash", Match{Rules: []string{"other", "Read *"}}, true},
		{"rule id", Match{Rules: []string{"read shadow/file"}}, true},
		{"tag", Match{Tags: []string{"net*"}}, true},
		{"technique", Match{Tags: []string{"T1003*"}}, true},
		{"no tag", Match{Tags: []string{"container"}}, false},
		{"node and namespace", Match{Nodes: []string{"web-?"}, Namespaces: []string{"prod"}}, true},
		{"all must hold", Match{Nodes: []string{"web-?"}, Namespaces: []string{"dev"}}, false},
		{"source", Match{Sources: []string{"k8s*"}}, false},
		{"equal", Match{Matchers: []string{"fd.name=/etc/shadow", `n = "7"`}}, true},
		{"not equal", Match{Matchers: []string{"fd.name!=/etc/shadow"}}, false},
		{"regex is anchored", Match{Matchers: []string{"fd.name=~/etc"}}, false},
		{"regex", Match{Matchers: []string{"fd.name=~/etc/.*", "process!~sh|bash"}}, true},
		{"absent is empty", Match{Matchers: []string{"gone=", "never=", "gone!=x"}}, true},
		{"list", Match{Matchers: []string{"l=b", "l!=c", "tag=host"}}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := tt.m.Compile()
			if err != nil {
				t.Fatal(err)
			}
			if got := c.Match(a); got != tt.want {
				t.Errorf("got %v", got)
			}
		})
	}
	for _, m := range []Match{{MinPriority: "loud"}, {Rules: []string{"["}}, {Matchers: []string{"x"}}, {Matchers: []string{"=x"}}, {Matchers: []string{"x=~("}}, {Matchers: []string{`x="a`}}, {Matchers: []string{"x!y"}}} {
		if err := m.Validate(); err == nil {
			t.Errorf("%+v was accepted", m)
		}
	}
}

func FuzzCond(f *testing.F) {
	for _, s := range []string{"a=b", "a!=b", "a=~b|c", `a!~"x"`, "=", "a=\"", "a=~("} {
		f.Add(s)
	}
	a := alert("r", "n", alertv1.Error)
	f.Fuzz(func(t *testing.T, s string) {
		c, err := parseCond(s)
		if err != nil {
			return
		}
		positive := c
		positive.not = !c.not
		if c.match(a) == positive.match(a) {
			t.Errorf("%q and its opposite agree", s)
		}
	})
}

func TestTree(t *testing.T) {
	night, err := IntervalConfig{Name: "night", Times: []string{"22:00-06:00"}}.Compile()
	if err != nil {
		t.Fatal(err)
	}
	tree, err := Route{
		Outputs: []string{"log"}, GroupInterval: time.Minute,
		Routes: []Route{
			{Match: Match{MinPriority: "critical"}, Outputs: []string{"pager"}, Continue: true},
			{Match: Match{Namespaces: []string{"prod"}}, Outputs: []string{"chat"}, GroupBy: []string{"rule", "node"}, Routes: []Route{
				{Match: Match{Rules: []string{"Noisy"}}, Outputs: []string{"none"}},
				{Match: Match{Rules: []string{"Late"}}, MuteIntervals: []string{"night"}},
			}},
		},
	}.Compile([]string{"log", "pager", "chat"}, map[string]*Interval{"night": night})
	if err != nil {
		t.Fatal(err)
	}
	other := alert("X", "n", alertv1.Notice)
	other.K8s.Namespace = "dev"
	noon, late := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC), time.Date(2026, 5, 1, 23, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name string
		a    *alertv1.Alert
		now  time.Time
		want string
	}{
		{"continue", alert("X", "n", alertv1.Critical), noon, "pager chat"},
		{"first that matches", alert("X", "n", alertv1.Notice), noon, "chat"},
		{"nowhere", alert("Noisy", "n", alertv1.Notice), noon, ""},
		{"root", other, noon, "log"},
		{"by day", alert("Late", "n", alertv1.Notice), noon, "chat"},
		{"muted", alert("Late", "n", alertv1.Notice), late, "chat(muted)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, target := range tree.Targets(tt.a, tt.now) {
				s := target.Output
				if target.Muted {
					s += "(muted)"
				}
				got = append(got, s)
				if target.Output == "chat" && (target.Group.Wait != 30*time.Second || target.Group.Interval != time.Minute || target.Group.Key(tt.a) == target.Group.Key(alert("X", "other", 0))) {
					t.Errorf("group %+v", target.Group)
				}
			}
			if d := cmp.Diff(tt.want, strings.Join(got, " ")); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
		})
	}
	for want, r := range map[string]Route{
		`no output "mail"`:                 {Outputs: []string{"mail"}},
		`route.routes[0]: there is no int`: {Routes: []Route{{MuteIntervals: []string{"x"}}}},
		"the root takes no conditions":     {Match: Match{MinPriority: "error"}},
		"group_wait is -1s":                {GroupWait: -time.Second},
	} {
		if _, err := r.Compile([]string{"log"}, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v gives %v, want %s", r, err, want)
		}
	}
}

func TestInterval(t *testing.T) {
	at := func(s string) time.Time {
		v, err := time.Parse("2006-01-02 15:04", s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, tt := range []struct {
		c    IntervalConfig
		t    string
		want bool
	}{
		{IntervalConfig{Times: []string{"09:00-17:00"}}, "2026-05-04 09:00", true},
		{IntervalConfig{Times: []string{"09:00-17:00"}}, "2026-05-04 17:00", false},
		{IntervalConfig{Times: []string{"22:00-06:00"}}, "2026-05-04 05:59", true},
		{IntervalConfig{Times: []string{"00:00-24:00"}}, "2026-05-04 23:59", true},
		{IntervalConfig{Weekdays: []string{"sat-sun"}}, "2026-05-03 12:00", true},
		{IntervalConfig{Weekdays: []string{"mon-fri"}}, "2026-05-03 12:00", false},
		{IntervalConfig{Days: []string{"-1"}}, "2026-02-28 12:00", true},
		{IntervalConfig{Days: []string{"-3--1"}}, "2026-02-25 12:00", false},
		{IntervalConfig{Months: []string{"12-2"}}, "2026-01-25 12:00", true},
		{IntervalConfig{Times: []string{"12:00-13:00"}, Location: "Europe/Berlin"}, "2026-07-01 10:30", true},
	} {
		tt.c.Name = "i"
		i, err := tt.c.Compile()
		if err != nil {
			t.Fatal(err)
		}
		if got := i.Contains(at(tt.t)); got != tt.want {
			t.Errorf("%+v at %s: %v", tt.c, tt.t, got)
		}
	}
	for _, c := range []IntervalConfig{{}, {Name: "a", Times: []string{"9-17"}}, {Name: "a", Weekdays: []string{"foo"}}, {Name: "a", Months: []string{"13"}}, {Name: "a", Location: "Nowhere/X"}, {Name: "a", Days: []string{""}}} {
		if _, err := c.Compile(); err == nil {
			t.Errorf("%+v was accepted", c)
		}
	}
}

func TestInhibit(t *testing.T) {
	in, err := NewInhibitor([]InhibitConfig{{Source: Match{Rules: []string{"Down"}}, Target: Match{MinPriority: "debug", Rules: []string{"*"}}, Equal: []string{"node"}, For: time.Minute}})
	if err != nil {
		t.Fatal(err)
	}
	src, same, other, later := alert("Down", "a", alertv1.Error), alert("X", "a", alertv1.Notice), alert("X", "b", alertv1.Notice), alert("X", "a", alertv1.Notice)
	later.Time += int64(2 * time.Minute)
	if in.Inhibited(same) {
		t.Error("before the source")
	}
	in.Observe(src)
	for _, tt := range []struct {
		name string
		a    *alertv1.Alert
		want bool
	}{{"the source", src, false}, {"same node", same, true}, {"other node", other, false}, {"later", later, false}} {
		if got := in.Inhibited(tt.a); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
	if _, err := NewInhibitor([]InhibitConfig{{}}); err == nil {
		t.Error("an empty rule was accepted")
	}
}

func TestSilences(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	var s Silences
	if err := s.Set(Silence{ID: "1", Match: Match{Nodes: []string{"a"}}, Starts: now, Ends: now.Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	a := alert("X", "a", alertv1.Error)
	for _, tt := range []struct {
		at   time.Time
		a    *alertv1.Alert
		want string
	}{{now, a, "1"}, {now.Add(-time.Second), a, ""}, {now.Add(time.Hour), a, ""}, {now, alert("X", "b", alertv1.Error), ""}} {
		if got := s.Silenced(tt.a, tt.at); got != tt.want {
			t.Errorf("%s at %s: %q", tt.a.Node, tt.at, got)
		}
	}
	s.Delete("1")
	if s.Silenced(a, now) != "" {
		t.Error("deleted")
	}
	for _, data := range []string{"", "{}", `{"id":"1","match":{},"starts":"2026-01-01T00:00:00Z","ends":"2026-01-02T00:00:00Z"}`, `{"id":"1","match":{"nodes":["["]},"starts":"2026-01-01T00:00:00Z","ends":"2026-01-02T00:00:00Z"}`} {
		if _, err := ParseSilence([]byte(data)); err == nil {
			t.Errorf("%s was accepted", data)
		}
	}
}

func TestGrouper(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	g := NewGrouper[int](2, time.Second)
	by := &Group{ID: "r", By: []string{"node"}, Wait: 10 * time.Second, Interval: time.Minute, Repeat: time.Hour}
	plain := &Group{ID: "p"}
	sizes := func(at time.Time, all bool) []int {
		out := []int{}
		b, _ := g.Due(at, all)
		for _, items := range b {
			out = append(out, len(items))
		}
		return out
	}
	step := func(name string, at time.Time, all bool, want ...int) {
		t.Helper()
		if want == nil {
			want = []int{}
		}
		if d := cmp.Diff(want, sizes(at, all)); d != "" {
			t.Errorf("%s (-want +got)\n%s", name, d)
		}
	}
	g.Add(alert("X", "a", 0), plain, 1, now)
	step("a batch waits", now, false)
	g.Add(alert("Y", "a", 0), plain, 1, now)
	step("a batch is full", now, false, 2)
	g.Add(alert("X", "a", 0), by, 1, now)
	if g.Add(alert("X", "a", 0), by, 2, now.Add(time.Second)) {
		t.Error("a repetition was taken")
	}
	if !g.Add(alert("Y", "a", 0), by, 3, now.Add(time.Second)) || g.Held() != 2 {
		t.Error("another rule was not taken")
	}
	step("group wait", now.Add(9*time.Second), false)
	step("group", now.Add(10*time.Second), false, 2)
	g.Add(alert("Z", "a", 0), by, 4, now.Add(11*time.Second))
	step("group interval", now.Add(60*time.Second), false)
	step("group interval over", now.Add(70*time.Second), false, 1)
	g.Add(alert("X", "a", 0), by, 5, now.Add(61*time.Minute))
	b, _ := g.Due(now.Add(62*time.Minute), false)
	if len(b) != 1 || b[0][0].Repeats != 1 {
		t.Errorf("folded: %+v", b)
	}
	g.Add(alert("X", "c", 0), by, 5, now)
	step("all", now, true, 1)
	if g.Held() != 0 || len(g.Drain()) != 0 {
		t.Error("something is held")
	}
}
