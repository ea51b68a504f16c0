package filter_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gyre-sec/gyre/evaluator/falco/filter"
)

// material opens a file of the Falco project's test data beside the repository.
func material(t testing.TB, name string) *os.File {
	t.Helper()
	f, err := os.Open(filepath.Join("..", "..", "..", "..", "shared", "falco", name))
	if errors.Is(err, os.ErrNotExist) {
		if os.Getenv("CI") == "true" {
			t.Fatalf("the Falco project's test data is not there: %v", err)
		}
		t.Skipf("SKIPPED, the Falco project's test data is not beside the repository: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func TestUpstreamCases(t *testing.T) {
	n := 0
	lines := bufio.NewScanner(material(t, "filter-parser.jsonl"))
	for lines.Scan() {
		var c struct{ Filter, Expect string }
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
		n++
		e, err := filter.Parse(c.Filter)
		switch {
		case c.Expect == "accept" && err != nil:
			t.Errorf("%s\nrefused: %v", c.Filter, err)
		case c.Expect == "reject" && err == nil:
			t.Errorf("%s\naccepted as %s", c.Filter, e)
		case err == nil:
			again(t, e)
		}
	}
	if err := lines.Err(); err != nil || n < 250 {
		t.Errorf("%d cases, %v", n, err)
	}
}

// again checks that the normal form of e parses to the same tree.
func again(t *testing.T, e filter.Expr) {
	t.Helper()
	e2, err := filter.Parse(e.String())
	if err != nil {
		if strings.Contains(err.Error(), "nested") { // the normal form has more parentheses
			return
		}
		t.Fatalf("normal form %s: %v", e, err)
	}
	if e2.String() != e.String() {
		t.Errorf("normal form changes:\n%s\n%s", e, e2)
	}
}

func TestString(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"a.b=1 or b.b=2 and c", `(a.b = 1 or (b.b = 2 and c))`},
		{"not not(a)", "a"},
		{"not(a.b exists)", "not a.b exists"},
		{"not a and b", "(not a and b)"},
		{"a and (b or c)", "(a and (b or c))"},
		{`proc.cmdline contains "curl 127.0.0.1"`, `proc.cmdline contains "curl 127.0.0.1"`},
		{"p.n  in ( a,'b' , \"c d\")", `p.n in (a, b, "c d")`},
		{"p.n startswith oneof ( a)", "p.n startswith oneof (a)"},
		{"p.n = oneof list", "p.n = oneof (list)"},
		{"p.n = oneof and b", "(p.n = oneof and b)"},
		{"p.n in list", "p.n in (list)"},
		{"p.n in ()", "p.n in ()"},
		{"p.a[2] = x", "p.a[2] = x"},
		{`p.a["x y"] = x`, `p.a["x y"] = x`},
		{"tolower( p.n ) = val(a.b[1])", "tolower(p.n) = val(a.b[1])"},
		{`join("-", (p.n, "x", 1)) = a`, `join("-", (p.n, "x", "1")) = a`},
		{"getopt(p.args, \"ab:\")[b] = x", `getopt(p.args, "ab:")[b] = x`},
		{`p.n = ""`, `p.n = ""`},
		{`p.n = "\x01\n\"\\ "`, `p.n = "\x01\n\"\\ "`},
		{`p.n = 'a\'b'`, `p.n = "a'b"`},
		{`p.n = "a \x5c"`, `p.n = "a \x5c"`},
		{"not (not a)", "not (not a)"},
		{"p.n <= 0x10", "p.n <= 0x10"},
	} {
		e, err := filter.Parse(c.in)
		if err != nil {
			t.Errorf("%s: %v", c.in, err)
			continue
		}
		if got := e.String(); got != c.want {
			t.Errorf("%s: %s, want %s", c.in, got, c.want)
		}
	}
}

func TestErrors(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", "1:1: the condition is empty"},
		{"a b", "1:3: unexpected token after 'a', expecting 'or', 'and'"},
		{"a\nand\n  or b", "3:6: unexpected token after 'or', expecting 'or', 'and'"},
		{"a andb", "1:6: expected blank or '(' after 'and'"},
		{"p.n ? x", "1:5: expected a valid check operator: one of 'exists'"},
		{`p.n = "\q"`, `1:7: unknown escape \q`},
		{`p.n = '\"'`, `1:7: \" cannot be used inside of ' quotes`},
		{`p.n = "\x1"`, `1:7: \x must be followed by two hexadecimal digits`},
		{`p.n = "\xzz"`, `1:7: \x must be followed by two hexadecimal digits, not "zz"`},
		{"p.n < x", "1:7: expected a number value"},
		{"p.n in 1", "1:8: expected a list, an identifier"},
		{"p.n[a = 1", "1:6: expected a ']' token"},
		{"a and \x00", "1:7: a NUL byte"},
		{strings.Repeat("(", 2000), "nested more than 1000 deep"},
	} {
		_, err := filter.Parse(c.in)
		var e *filter.Error
		if !errors.As(err, &e) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %s", c.in, err, c.want)
		}
	}
}

func TestDepth(t *testing.T) {
	deep := strings.Repeat("(", 190) + "a" + strings.Repeat(")", 190)
	if _, err := filter.Parse(deep); err != nil {
		t.Errorf("190 parentheses: %v", err)
	}
}

func TestOperand(t *testing.T) {
	for _, c := range []struct {
		in   string
		want int
	}{{"proc.name.", 9}, {"proc.aname[2] x", 13}, {"toupper(proc.name))", 18}, {"nothing", 0}, {"", 0}, {"proc.name[", 0}} {
		if got := filter.OperandLen(c.in); got != c.want {
			t.Errorf("%q: %d, want %d", c.in, got, c.want)
		}
	}
	if o, err := filter.ParseOperand("tolower(a.b)"); err != nil || o.String() != "tolower(a.b)" {
		t.Error(o, err)
	}
	if _, err := filter.ParseOperand("a.b c"); err == nil {
		t.Error("trailing text accepted")
	}
}

func TestPositions(t *testing.T) {
	e, err := filter.Parse("a and\n  not b.c in (x)")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	filter.Walk(e, func(x filter.Expr) { got = append(got, x.String()) })
	if diff := cmp.Diff([]string{"(a and not b.c in (x))", "a", "not b.c in (x)", "b.c in (x)"}, got); diff != "" {
		t.Error(diff)
	}
	check := e.(*filter.And).Parts[1].(*filter.Not).Part
	if p := check.Pos(); p != (filter.Pos{Offset: 12, Line: 2, Col: 7}) {
		t.Errorf("at %+v", p)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"a and not (b.c in (x, 'y') or d.e[1] exists)", `tolower(a.b) = val(c.d)`, `a.b startswith anyof (x)`,
		`join("-", (a.b, "x")) != "\x41\n"`, "not not(a)", "a.b >= -1.5e+3 or c",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e, err := filter.Parse(s)
		if err != nil {
			var x *filter.Error
			if !errors.As(err, &x) || x.Pos.Offset > len(s) || x.Pos.Line < 1 || x.Pos.Col < 1 {
				t.Fatalf("%v", err)
			}
			return
		}
		again(t, e)
	})
}
