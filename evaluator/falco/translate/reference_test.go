package translate_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/gyre-sec/gyre/evaluator/celenv"
	"github.com/gyre-sec/gyre/evaluator/falco/filter"
	"github.com/gyre-sec/gyre/evaluator/falco/translate"
	"github.com/gyre-sec/gyre/evaluator/rule"
	"github.com/gyre-sec/gyre/evaluator/ruleset"
	"github.com/gyre-sec/gyre/evaluator/ruletest"
	"github.com/gyre-sec/gyre/schemas/alertv1"
	"github.com/gyre-sec/gyre/schemas/eventv1"
	"github.com/gyre-sec/gyre/schemas/field"
)

// The reference evaluates the tree of a condition directly on the values of an event, as
// Falco's semantics are written down, without CEL, guards or folding.

// subject is a field of the generator: its kind and, if it is one, the values of several fields of which any counts.
type subject struct {
	name string
	kind string // text, number, bool, address, network
	// of reads the values; either is set if both ends of a connection count.
	of     func(*field.View) []any
	either bool
	any    bool // one of the values suffices, as for proc.aname
}

func read(names ...string) func(*field.View) []any {
	return func(v *field.View) []any {
		var out []any
		for _, n := range names {
			f, ok := field.Lookup(n)
			if !ok {
				panic("no field " + n)
			}
			out = append(out, f.Value(v))
		}
		return out
	}
}

func lineage(v *field.View) []string {
	f, _ := field.Lookup("proc.aname")
	l, _ := f.List(v)
	return l
}

func subjects() []subject {
	var out []subject
	for kind, names := range map[string][]string{
		"text":    {"proc.name", "proc.pname", "proc.cmdline", "fd.name", "fd.directory", "evt.arg.flags", "evt.arg.name", "container.id", "fd.typechar"},
		"number":  {"proc.pid", "user.uid", "user.loginuid", "fd.num", "evt.rawres", "proc.tty"},
		"port":    {"fd.sport"},
		"bool":    {"evt.is_open_write", "proc.is_exe_from_memfd", "fd.connected"},
		"address": {"fd.sip", "fd.cip"},
	} {
		for _, n := range names {
			out = append(out, subject{name: n, kind: kind, of: read(n)})
		}
	}
	for n := range 4 {
		out = append(out, subject{name: fmt.Sprintf("proc.aname[%d]", n), kind: "text", of: func(v *field.View) []any {
			if l := lineage(v); n < len(l) {
				return []any{l[n]}
			}
			return []any{nil}
		}})
	}
	out = append(
		out,
		subject{name: "evt.type", kind: "type", of: read("evt.type")},
		subject{name: "fd.snet", kind: "network", of: read("fd.sip")},
		subject{name: "fd.ip", kind: "address", of: read("fd.cip", "fd.sip"), either: true},
		subject{name: "fd.net", kind: "network", of: read("fd.cip", "fd.sip"), either: true},
		subject{name: "fd.port", kind: "port", of: read("fd.cport", "fd.sport"), either: true},
		subject{name: "proc.aname", kind: "text", any: true, of: func(v *field.View) []any {
			var out []any
			for _, s := range lineage(v)[min(1, len(lineage(v))):] {
				out = append(out, s)
			}
			return out
		}},
	)
	slices.SortFunc(out, func(a, b subject) int { return strings.Compare(a.name, b.name) })
	return out
}

var values = map[string][]string{
	"text":    {"bash", "sshd", "cat", "/etc/passwd", "/etc", "", "a", "sh", "O_RDONLY", "host", "4", "nginx: worker", "passwd"},
	"number":  {"0", "-1", "1000", "1", "443", "0x3e8", "3", "-2"},
	"port":    {"0", "443", "1", "1000", "ssh"},
	"bool":    {"true", "false"},
	"address": {"10.0.0.1", "::1", "192.168.1.1", "0:0:0:0:0:0:0:1"},
	"network": {"10.0.0.0/8", "::/64", "192.168.1.1/32", "0.0.0.0/0"},
	"type":    {"openat", "execve", "connect", "unlink", "get_mempolicy"},
}

var patterns = map[string][]string{
	"glob": {"*", "/etc/*", "b?sh", "[a-c]*", "", "*passw[dq]"}, "iglob": {"*", "B*", "/ETC/*"}, "regex": {".*", "b.*", "/etc/[a-z]+", "^bash$", "x|bash"}, "pmatch": {"/etc", "/", "/e*/passwd", "/usr"},
}

var operators = map[string][]string{
	"text":   {"=", "!=", "contains", "icontains", "startswith", "endswith", "in", "glob", "iglob", "regex", "pmatch", "exists", "intersects"},
	"number": {"=", "!=", "<", "<=", ">", ">=", "in", "exists"},
	"port":   {"=", "!=", "<", "<=", ">", ">=", "in", "exists"},
	"bool":   {"=", "!=", "in", "exists"}, "address": {"=", "!=", "in", "exists"}, "network": {"=", "!=", "in", "exists"}, "type": {"=", "!=", "in", "exists"},
}

// generator writes random conditions.
type generator struct {
	r        *rand.Rand
	subjects []subject
}

func (g *generator) pick(list []string) string { return list[g.r.IntN(len(list))] }

func (g *generator) condition(depth int) string {
	if depth > 0 {
		switch g.r.IntN(5) {
		case 0:
			return "not (" + g.condition(depth-1) + ")"
		case 1, 2:
			return "(" + g.condition(depth-1) + " and " + g.condition(depth-1) + ")"
		case 3:
			return "(" + g.condition(depth-1) + " or " + g.condition(depth-1) + ")"
		}
	}
	s := g.subjects[g.r.IntN(len(g.subjects))]
	op := g.pick(operators[s.kind])
	pool := values[s.kind]
	if p := patterns[op]; p != nil {
		pool = p
	}
	many := func() string {
		var items []string
		for range 1 + g.r.IntN(3) {
			items = append(items, filter.Quote(g.pick(pool)))
		}
		return "(" + strings.Join(items, ", ") + ")"
	}
	switch {
	case op == "exists":
		return s.name + " exists"
	case op == "in" || op == "pmatch" || op == "intersects":
		return s.name + " " + op + " " + many()
	case g.r.IntN(4) == 0 && filter.Modifiable(op) && !s.either:
		return s.name + " " + op + " " + g.pick([]string{filter.OneOf, filter.AnyOf, filter.AllOf}) + " " + many()
	}
	value := g.pick(pool)
	if value == "ssh" && op != "=" && op != "!=" { // the grammar wants digits here
		value = "22"
	}
	return s.name + " " + op + " " + filter.Quote(value)
}

// reference decides a condition on an event.
type reference struct {
	subjects []subject
	v        *field.View
}

func (x reference) holds(e filter.Expr) bool {
	switch e := e.(type) {
	case *filter.And:
		return !slices.ContainsFunc(e.Parts, func(p filter.Expr) bool { return !x.holds(p) })
	case *filter.Or:
		return slices.ContainsFunc(e.Parts, x.holds)
	case *filter.Not:
		return !x.holds(e.Part)
	}
	return x.check(e.(*filter.Check))
}

func (x reference) check(c *filter.Check) bool {
	i := slices.IndexFunc(x.subjects, func(s subject) bool { return s.name == c.Left.String() })
	s := x.subjects[i]
	got := s.of(x.v)
	there := slices.ContainsFunc(got, func(v any) bool { return v != nil })
	if c.Op == filter.Exists || !there {
		return there
	}
	var want []string
	switch r := c.Right.(type) {
	case *filter.Text:
		want = []string{r.Value}
	case *filter.List:
		for _, i := range r.Items {
			want = append(want, i.(*filter.Text).Value)
		}
	}
	if s.name == "fd.net" && c.Op == "in" {
		want = want[:1]
	}
	one := func(v any) bool {
		if s.name == "user.uid" && v == int64(-1) { // unsigned in Falco
			v = int64(math.MaxUint32)
		}
		if s.name == "user.uid" || s.name == "proc.tty" { // negative constants wrap around
			want = slices.Clone(want)
			for i := range want {
				want[i] = strings.NewReplacer("-1", "4294967295", "-2", "4294967294").Replace(want[i])
			}
		}
		return v != nil && counted(v, s.kind, c.Op, c.Mod, want)
	}
	if s.either && c.Op == "!=" { // a known end must differ; one that is not known does
		return !slices.ContainsFunc(got, func(v any) bool { return v != nil && !one(v) })
	}
	return slices.ContainsFunc(got, one)
}

// counted applies the operator to each value and the modifier to how many hold.
func counted(v any, kind, op, mod string, want []string) bool {
	n := 0
	for _, w := range want {
		if compare(v, kind, op, w) {
			n++
		}
	}
	switch mod {
	case filter.OneOf:
		return n == 1
	case filter.AllOf:
		return n == len(want)
	default:
		return n > 0
	}
}

func compare(v any, kind, op, want string) bool {
	switch op {
	case "in", "intersects":
		op = "="
	case "!=":
		return !compare(v, kind, "=", want)
	}
	switch kind {
	case "number", "port":
		a := v.(int64)
		want = strings.Replace(want, "ssh", "22", 1)
		b, _ := strconv.ParseInt(want, 0, 64)
		return map[string]bool{"=": a == b, "<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}[op]
	case "bool":
		return strconv.FormatBool(v.(bool)) == want
	case "address":
		return netip.MustParseAddr(v.(string)) == netip.MustParseAddr(want)
	case "network":
		return netip.MustParsePrefix(want).Contains(netip.MustParseAddr(v.(string)))
	}
	s := v.(string)
	switch op {
	case "=":
		return s == want
	case "contains":
		return strings.Contains(s, want)
	case "icontains":
		return strings.Contains(strings.ToLower(s), strings.ToLower(want))
	case "startswith":
		return strings.HasPrefix(s, want)
	case "endswith":
		return strings.HasSuffix(s, want)
	case "glob":
		return celenv.FNMatch(s, want)
	case "iglob":
		return celenv.FNMatch(strings.ToLower(s), strings.ToLower(want))
	case "pmatch":
		return celenv.PathMatch(s, want)
	}
	return regexp.MustCompile("^(?:" + want + ")$").MatchString(s)
}

// events are the events that conditions are tried on.
func events(t *testing.T) []*field.View {
	t.Helper()
	ancestors := []ruletest.Process{{Name: "bash"}, {Name: "sshd"}, {Name: "sh"}}
	procs := []*ruletest.Process{
		nil,
		{Name: "bash", Args: []string{"bash", "-c", "cat /etc/passwd"}, UID: 1000, Ancestors: ancestors, TTY: "pts0"},
		{Name: "cat", Ancestors: ancestors[1:2], Memfd: true},
		{Name: "nginx: worker", Container: "3f1c9a7be0d24c55a1f0b7d3c526a1e4f0e9d531c2f3a4b5c6d7e8f901234567"},
		{Name: "a", Args: []string{"a"}, Ancestors: ancestors[:1]},
	}
	kinds := []ruletest.Event{
		{Kind: "openat", Ret: 3, Args: map[string]any{"name": "/etc/passwd", "flags": "O_RDONLY", "fd": 3}},
		{Kind: "openat", Ret: -2, Args: map[string]any{"name": "/etc", "flags": "O_RDWR|O_CREAT", "fd": -1}},
		{Kind: "execve"},
		{Kind: "unlink", Args: map[string]any{"name": "/etc/passwd"}},
		{Kind: "connect", Args: map[string]any{"family": "AF_INET", "saddr": "192.168.1.1", "daddr": "10.0.0.1", "sport": 1000, "dport": 443, "proto": "tcp"}},
		{Kind: "connect", Ret: -1, Args: map[string]any{"family": "AF_INET6", "daddr": "::1", "dport": 1, "proto": "udp"}},
		{Kind: "connect", Args: map[string]any{"family": "AF_UNIX", "sun_path": "/etc"}},
	}
	var out []*field.View
	for _, p := range procs {
		for _, k := range kinds {
			data, err := ruletest.Batch(ruletest.Case{Event: k, Process: p})
			if err != nil {
				t.Fatal(err)
			}
			b := &eventv1.Batch{}
			if err := eventv1.NewDecoder().Decode(data, b); err != nil {
				t.Fatal(err)
			}
			r, e := eventv1.NewReader(), &eventv1.Event{}
			r.Reset(b)
			if !r.Next(e) {
				t.Fatal(r.Err())
			}
			v := field.NewView()
			v.Batch(b)
			v.Event(e)
			out = append(out, v)
		}
	}
	return out
}

// TestAgainstReference compares random conditions in CEL with the reference on every event.
func TestAgainstReference(t *testing.T) {
	all := subjects()
	g := &generator{rand.New(rand.NewPCG(1, 2)), all}
	views := events(t)
	yes, no := 0, 0
	for range 8 {
		var f rule.File
		exprs := map[string]filter.Expr{}
		for i := range 400 {
			text := g.condition(g.r.IntN(4))
			e, err := filter.Parse(text)
			if err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			c, err := translate.Translate(e, translate.Scope{})
			if err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			id := fmt.Sprintf("r%d", i)
			exprs[id] = e
			f.Rules = append(f.Rules, rule.Rule{ID: id, Name: id, Source: "syscall", Enabled: true, Priority: alertv1.Debug, Condition: rule.Plain(c.CEL), Output: rule.Plain("o"), Falco: i + 1})
		}
		set, err := ruleset.Compile([]rule.File{f}, ruleset.Options{OnError: func(id string, err error) { t.Errorf("%s: %v", exprs[id], err) }})
		if err != nil {
			t.Fatal(err)
		}
		engine := set.Engine()
		for _, v := range views {
			hit := map[string]bool{}
			_, e := v.Current()
			engine.Eval(v, e, func(r *ruleset.Rule) { hit[r.ID] = true })
			for i, r := range f.Rules {
				want := reference{all, v}.holds(exprs[r.ID])
				if want {
					yes++
				} else {
					no++
				}
				if hit[r.ID] != want {
					t.Errorf("%s\nis %v, want %v for %s\nCEL: %s", exprs[r.ID], hit[r.ID], want, e.Kind, f.Rules[i].Condition.Value)
				}
			}
		}
	}
	t.Logf("%d times true, %d times false", yes, no)
	if yes < 10_000 || no < 10_000 {
		t.Errorf("%d times true, %d times false: the conditions say too little", yes, no)
	}
}
