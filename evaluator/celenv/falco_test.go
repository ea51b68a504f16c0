package celenv_test

import (
	"testing"

	"cel.dev/cel-go/common/types"
	"github.com/google/go-cmp/cmp"

	"github.com/gyre-sec/gyre/evaluator/celenv"
	"github.com/gyre-sec/gyre/evaluator/rule"
)

func TestFNMatch(t *testing.T) {
	for _, c := range []struct {
		s, pattern string
		want, fold bool
	}{
		{"/etc/passwd", "/etc/*", true, true},
		{"/etc/a/b", "/etc/*", true, true},
		{"ABC", "a?c", false, true},
		{"ABC", "[a-b]B[[:lower:]]", false, true},
		{"a]c", "a[]]c", true, true},
		{"a-c", "a[x-]c", true, true},
		{"abc", "a[^b]c", false, false},
		{"abc", "a[!x]c", true, true},
		{"a*c", `a\*c`, true, true},
		{"abc", `a\*c`, false, false},
		{"a\\", `a\`, false, false},
		{"a5", "a[[:digit:]]", true, true},
		{"a[c", "a[c", true, true},
		{"a]", `a[\]]`, true, true},
		{"", "", true, true},
		{"", "*", true, true},
		{"", "?", false, false},
		{"aaaaaaaaaaaaaaaaaaaaaaaa", "*a*a*a*a*a*a*a*b", false, false},
	} {
		if got := celenv.FNMatch(c.s, c.pattern); got != c.want {
			t.Errorf("FNMatch(%q, %q) = %v", c.s, c.pattern, got)
		}
		if got := celenv.FNMatchFold(c.s, c.pattern); got != c.fold {
			t.Errorf("FNMatchFold(%q, %q) = %v", c.s, c.pattern, got)
		}
	}
}

func TestPathMatch(t *testing.T) {
	for _, c := range []struct {
		s, pattern string
		want       bool
	}{
		{"/opt/dir/subdir/file.txt", "/opt/dir", true},
		{"/opt/dir/subdir/file.txt", "/opt/dir2", false},
		{"/opt/dir", "/opt/dir/subdir", false},
		{"/opt2/x", "/opt", false},
		{"/opt/dir/subdir/x", "/opt/di?/subdir", true},
		{"/opt/dir/subdir/x", "/opt/di[!r]/subdir", false},
		{"/opt/dir/subdir/x", "/opt/*/*", true},
		{"/opt/dir/subdir", "/opt/*/*/subsubdir", false},
		{"//opt///dir", "/opt/dir/", true},
		{"/anything", "/", true},
		{"", "/", false},
	} {
		if got := celenv.PathMatch(c.s, c.pattern); got != c.want {
			t.Errorf("PathMatch(%q, %q) = %v", c.s, c.pattern, got)
		}
	}
}

func TestGetOpt(t *testing.T) {
	for _, c := range []struct {
		args []string
		spec string
		want []string
	}{
		{[]string{"-l", "-p", "80", "-e", "/bin/sh", "x", "-q"}, "lp:e:", []string{"l", "p", "80", "e", "/bin/sh"}},
		{[]string{"-lpe", "/bin/sh"}, "lp:e:", []string{"l", "p", "e"}},
		{[]string{"-n", "--", "-t"}, "nt", []string{"n"}},
		{[]string{"--long", "-x", "-n"}, "n", []string{"?", "n"}},
		{[]string{"-t"}, ":t:", []string{""}},
		{[]string{"-"}, "n", []string{}},
		{[]string{"-t", ""}, "t:", []string{"t", ""}},
	} {
		if diff := cmp.Diff(c.want, celenv.GetOpt(c.args, c.spec)); diff != "" {
			t.Errorf("%v %s: %s", c.args, c.spec, diff)
		}
	}
	args := []string{"-t", "a", "-n", "-tb", "-o"}
	for letter, want := range map[string]string{"t": "b", "n": "n", "o": ""} {
		if got, ok := celenv.OptValue(args, "t:no:", letter); !ok || got != want {
			t.Errorf("-%s is %q, %v", letter, got, ok)
		}
	}
	if _, ok := celenv.OptValue(args, "t:no:", "q"); ok {
		t.Error("an option that was not given")
	}
}

func TestFalcoFunctions(t *testing.T) {
	env, err := celenv.New(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, src := range []string{
		`"a/b".pmatch("a") && "a/b".pmatch(["x", "a"]) && !"a".pmatch("a/b")`,
		`"Kernel".icontains("KERN") && "x".icontains(["y", "X"]) && !"\u212a".icontains("k")`,
		`"hello".bcontains("6c6c") && "hello".bstartsWith("6865") && !"hello".bstartsWith("6c") && !"a".bcontains("zz")`,
		`"ÄbC".lowerAscii() == "Äbc" && "ÄbC".upperAscii() == "ÄBC" && ["A"].lowerAscii() == ["a"]`,
		`"YWFh".b64decode() == "aaa" && "YQ==".isBase64() && !"?".isBase64() && "?".b64decode() == ""`,
		`["a", "b"].join("-") == "a-b" && [].join("-") == ""`,
		`["a", "b"].ancestors() == ["b"] && [].ancestors() == []`,
		`["A=1", "B=x=y"].valueOf("B") == "x=y" && ["A=1"].hasValue("A") && !["A=1"].hasValue("B")`,
		`["-p", "1"].getopt("p:") == ["p", "1"] && ["-p", "1"].optValue("p:", "p") == "1" && !["-p"].hasOpt("p", "q")`,
		`"AB".ifnmatch("a*") && !"AB".fnmatch("a*") && "a".fnmatch(["b", "[a]"])`,
	} {
		a, errs := env.Compile("t", rule.Plain(src))
		if len(errs) > 0 {
			t.Fatal(errs)
		}
		p, err := env.Program(a)
		if err != nil {
			t.Fatal(err)
		}
		out, _, err := p.Eval(map[string]any{})
		if err != nil || out != types.True {
			t.Errorf("%s: %v, %v", src, out, err)
		}
	}
}

func TestRegexSize(t *testing.T) {
	env, err := celenv.New(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		src string
		ok  bool
	}{
		{`proc.name.matches("^a{2}[b-c]{1,3}$")`, true},
		{`proc.name.matches("((a{50}){20}){10}")`, false}, // more than 10,000 instructions
		{`proc.name.matches("(")`, false},
	} {
		if _, errs := env.Compile("t", rule.Plain(c.src)); (len(errs) == 0) != c.ok {
			t.Errorf("%s: %v", c.src, errs)
		}
	}
}
