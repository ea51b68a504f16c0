package translate_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gyre-sec/gyre/evaluator/celenv"
	"github.com/gyre-sec/gyre/evaluator/falco/translate"
	"github.com/gyre-sec/gyre/evaluator/rule"
)

// scope has a list and the macros that the cases name.
var scope = translate.Scope{
	List: func(items []string) (string, int) {
		if len(items) >= 3 && strings.Join(items[:3], ",") == "ash,bash,sh" {
			return "falco_shells", 3
		}
		return "", 0
	},
	Macro: func(name string) (translate.Condition, string, error) {
		switch name {
		case "never":
			return translate.Condition{CEL: "false", Const: translate.AlwaysFalse}, "falco_never", nil
		case "spawned":
			return translate.Condition{CEL: `evt.type == "execve"`}, "falco_spawned", nil
		}
		return translate.Condition{}, "", errors.New("undefined macro '" + name + "' used in filter")
	},
}

func TestTranslate(t *testing.T) {
	env, err := celenv.New([]rule.List{{Name: "falco_shells", Items: []string{"ash", "bash", "sh"}}}, []string{"falco_spawned"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ in, want string }{
		{"proc.name = bash", `proc.name == "bash"`},
		{"proc.name != bash", `has(proc.name) && proc.name != "bash"`},
		{"not proc.name = bash", `!(proc.name == "bash")`},
		{"not proc.name != bash", `!(has(proc.name) && proc.name != "bash")`},
		{`proc.name = ""`, `has(proc.name) && proc.name == ""`},
		{"proc.name in (ash, bash, sh)", `proc.name in falco_shells`},
		{"proc.name in (x, ash, bash, sh, y)", `proc.name in falco_shells || proc.name in ["x", "y"]`},
		{"proc.name in (a, b)", `proc.name in ["a", "b"]`},
		{"proc.name in (a)", `proc.name == "a"`},
		{"proc.name in ()", `false`},
		{"proc.name contains 'a b'", `proc.name.contains("a b")`},
		{"proc.name icontains aB", `proc.name.icontains("aB")`},
		{"fd.name startswith /etc and fd.name endswith .conf", `fd.name.startsWith("/etc") && fd.name.endsWith(".conf")`},
		{"fd.name glob /etc/*", `fd.name.glob("/etc/*")`},
		{"fd.name glob *", `has(fd.name) && fd.name.glob("*")`},
		{"fd.name glob '[a-c]*'", `fd.name.fnmatch("[a-c]*")`},
		{"fd.name iglob /ETC/*", `fd.name.ifnmatch("/ETC/*")`},
		{"fd.name pmatch (/etc, /opt/*/x)", `fd.name.pmatch(["/etc", "/opt/*/x"])`},
		{"proc.name regex '[a-z]+[0-9]'", `proc.name.matches("^(?:[a-z]+[0-9])$")`},
		{"proc.name regex '^a|b$'", `proc.name.matches("\\A(?m:^a|b$)\\z")`},
		{"proc.name regex '.*'", `has(proc.name) && proc.name.matches("^(?:.*)$")`},
		{"proc.name exists", `has(proc.name)`},
		{"evt.type exists", `true`},
		{"proc.pid = 1", `proc.pid == 1`},
		{"proc.pid != 1", `has(proc.pid) && proc.pid != 1`},
		{"proc.pid > 0x10", `proc.pid > 16`},
		{"proc.pid < 5", `has(proc.pid) && proc.pid < 5`},
		{"proc.pid = -1", `has(proc.pid) && proc.pid == -1`},
		{"proc.pid in (1, 2)", `proc.pid in [1, 2]`},
		{"user.uid = 4294967295", `has(user.uid) && user.uid == -1`},
		{"user.uid = -1", `has(user.uid) && user.uid == -1`},
		{"user.loginuid = -1", `has(user.loginuid) && user.loginuid == -1`},
		{"user.uid < 1000", `has(user.uid) && user.uid < 1000 && !(user.uid == -1)`},
		{"user.uid >= 1000", `has(user.uid) && (user.uid >= 1000 || user.uid == -1)`},
		{"user.loginuid >= 1000", `user.loginuid >= 1000`},
		{"fd.sport = ssh", `fd.sport == 22`},
		{"fd.sport in (80, 443)", `fd.sport in [80, 443]`},
		{"fd.port = 53", `fd.cport == 53 || fd.sport == 53`},
		{"fd.ip = 10.0.0.1", `fd.cip == "10.0.0.1" || fd.sip == "10.0.0.1"`},
		{"fd.ip != 10.0.0.1", `(has(fd.cip) || has(fd.sip)) && fd.cip != "10.0.0.1" && fd.sip != "10.0.0.1"`},
		{"fd.sip = 0:0:0:0:0:0:0:1", `fd.sip == "::1"`},
		{"fd.sip != 10.0.0.1", `has(fd.sip) && fd.sip != "10.0.0.1"`},
		{"fd.sip in (10.0.0.1, ::1)", `fd.sip in ["10.0.0.1", "::1"]`},
		{"fd.snet = 10.1.2.3/8", `fd.sip.inCidr("10.0.0.0/8")`},
		{"fd.snet != 10.0.0.0/8", `has(fd.sip) && !fd.sip.inCidr("10.0.0.0/8")`},
		{"fd.snet in (10.0.0.0/8, 127.0.0.0/8)", `fd.sip.inCidr(["10.0.0.0/8", "127.0.0.0/8"])`},
		{"fd.net in (10.0.0.0/8, 127.0.0.0/8)", `fd.cip.inCidr("10.0.0.0/8") || fd.sip.inCidr("10.0.0.0/8")`},
		{"fd.sip = allof (1.1.1.1, 2.2.2.2)", `fd.sip == "1.1.1.1" && fd.sip == "2.2.2.2"`},
		{"fd.sip != allof (1.1.1.1, 2.2.2.2)", `has(fd.sip) && !(fd.sip in ["1.1.1.1", "2.2.2.2"])`},
		{"evt.is_open_write = true", `evt.is_open_write`},
		{"evt.is_open_write = false", `has(evt.is_open_write) && !evt.is_open_write`},
		{"evt.is_open_write != true", `has(evt.is_open_write) && !evt.is_open_write`},
		{"evt.type = openat", `evt.type == "openat"`},
		{"evt.type != openat", `evt.type != "openat"`},
		{"evt.type in (execve, execveat)", `evt.type in ["execve", "execveat"]`},
		{"evt.type != oneof (get_mempolicy)", `true`},
		{"evt.type = allof (openat)", `evt.type == "openat"`},
		{"evt.type != allof (openat, get_mempolicy)", `!(evt.type == "openat")`},
		{"evt.type != anyof (openat, get_mempolicy)", `true`},
		{"evt.type glob open*", `evt.type.glob("open*")`},
		{"evt.dir = <", `true`},
		{"evt.dir = > or spawned", `falco_spawned`},
		{"evt.num = 0", `false`},
		{"evt.num >= 1 and spawned", `falco_spawned`},
		{"not never and spawned", `falco_spawned`},
		{"spawned and (never or proc.name = x)", `falco_spawned && proc.name == "x"`},
		{"a or b", ``},
		{"proc.aname[2] = sshd", `proc.aname.size() > 2 && proc.aname[2] == "sshd"`},
		{"not proc.aname[9] != x", `!(proc.aname.size() > 9 && proc.aname[9] != "x")`},
		{"proc.aname = sshd", `"sshd" in proc.aname.ancestors()`},
		{"proc.aname in (a, b)", `proc.aname.ancestors().exists(a, a in ["a", "b"])`},
		{"proc.aname startswith x", `proc.aname.ancestors().exists(a, a.startsWith("x"))`},
		{"proc.aname != x", `proc.aname.ancestors().exists(a, a != "x")`},
		{"proc.aname exists", `proc.aname.size() > 1`},
		{"proc.apid[1] = 7", `proc.apid.size() > 1 && int(proc.apid[1]) == 7`},
		{"proc.apid = 7", `"7" in proc.apid.ancestors()`},
		{"container.mount[0] contains /proc", `container.mount.size() > 0 && container.mount[0].contains("/proc")`},
		{"container.mount.dest[^/proc] = /host/proc", `container.mount.source.indexOfMatch("^/proc") >= 0 && container.mount.dest[container.mount.source.indexOfMatch("^/proc")] == "/host/proc"`},
		{"container.mount.source[/host/proc] exists", `container.mount.dest.indexOfMatch("/host/proc") >= 0`},
		{"container.label[team] = shop", `container.label.valueOf("team") == "shop"`},
		{"container.label.team != shop", `container.label.hasValue("team") && container.label.valueOf("team") != "shop"`},
		{"k8s.pod.label[app.kubernetes.io/name] = web", `k8s.pod.label.valueOf("app.kubernetes.io/name") == "web"`},
		{"proc.env contains LD_PRELOAD", `proc.env.join(" ").contains("LD_PRELOAD")`},
		{"proc.env[HOME] = /root", `proc.env.valueOf("HOME") == "/root"`},
		{"proc.env[HOME] != /root", `proc.env.hasValue("HOME") && proc.env.valueOf("HOME") != "/root"`},
		{"proc.name = val(proc.pname)", `has(proc.name) && has(proc.pname) && proc.name == proc.pname`},
		{"tolower(proc.name) = bash", `proc.name.lowerAscii() == "bash"`},
		{"toupper(proc.name) != val(proc.pname)", `has(proc.name) && has(proc.pname) && proc.name.upperAscii() != proc.pname`},
		{"len(proc.name) > 3", `has(proc.name) && bytes(proc.name).size() > 3`},
		{"b64(proc.args) contains x", `proc.args.b64decode().contains("x")`},
		{"b64(proc.args) != x", `has(proc.args) && proc.args.isBase64() && proc.args.b64decode() != "x"`},
		{"basename(proc.exepath) = sh", `proc.exepath.basename() == "sh"`},
		{`join("-", (proc.name, "x")) = a`, `has(proc.name) && [proc.name, "x"].join("-") == "a"`},
		{`concat(proc.name, "x") = a`, `has(proc.name) && (proc.name + "x") == "a"`},
		{`getopt(("-p", "80"), "p:")[p] = 80`, `["-p", "80"].hasOpt("p:", "p") && ["-p", "80"].optValue("p:", "p") == "80"`},
		{"proc.name startswith anyof (a, b)", `proc.name.startsWithAny(["a", "b"])`},
		{"proc.name = oneof (a, b, c, b)", `proc.name in ["a", "c"]`},
		{"proc.name contains oneof (a, b)", `proc.name.contains("a") != proc.name.contains("b")`},
		{"proc.name contains oneof (a, b, c)", `[proc.name.contains("a"), proc.name.contains("b"), proc.name.contains("c")].exists_one(x, x)`},
		{"proc.name != oneof (a, b)", `(has(proc.name) && proc.name != "a") != (has(proc.name) && proc.name != "b")`},
		{"proc.name contains allof (a, b)", `proc.name.contains("a") && proc.name.contains("b")`},
		{"proc.name glob anyof (a*, b*)", `proc.name.glob("a*") || proc.name.glob("b*")`},
		{"evt.count = 1", `1 == 1`},
	} {
		got, err := translate.Parse(c.in, scope)
		if c.want == "" {
			if err == nil {
				t.Errorf("%s: accepted as %s", c.in, got.CEL)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.in, err)
			continue
		}
		if got.CEL != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.in, got.CEL, c.want)
		}
		if _, errs := env.Compile("t", rule.Plain(got.CEL)); len(errs) > 0 {
			t.Errorf("%s: %s does not compile: %v", c.in, got.CEL, errs)
		}
	}
}

func TestRefused(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"proc.nam = x", "nonexistent field proc.nam"},
		{"evt.type = opnat", "unknown event type opnat"},
		{"proc.name bcontains 00", "operator not supported for string filters"},
		{"proc.pid contains 1", "'contains' operator not supported for numeric filters"},
		{"evt.is_open_write > 1", "'>' operator not supported for boolean filters"},
		{"evt.is_open_write = yes", "unrecognized boolean value yes"},
		{"fd.sip startswith 10.", "'startswith' operator not supported for ip address"},
		{"fd.sip = 10.0.0", "unrecognized IP address 10.0.0"},
		{"fd.snet = 10.0.0.1", "unrecognized IP network 10.0.0.1"},
		{"fd.snet = 10.0.0.0/64", "invalid netmask 64"},
		{"fd.sport = nosuchservice", "unrecognized protocol nosuchservice"},
		{"proc.pid = x", `"x" is no int64`},
		{"user.uid = 4294967296", `"4294967296" is no uint32`},
		{"evt.buffer bcontains xyz", "must be bytes in hexadecimal"},
		{"proc.name regex '('", "invalid regex pattern"},
		{"proc.name regex val(proc.pname)", "operator 'regex' does not support fields"},
		{"proc.name = val(proc.pid)", "the types of proc.name (string) and proc.pid (int64) differ"},
		{"proc.name = val(proc.aname)", "proc.aname cannot be used on the right-hand side"},
		{"tolower(fd.ip) = x", "field fd.ip cannot be used in a transformer"},
		{"join(\"-\") = foo", "join() takes 2 arguments, not 1"},
		{"concat(\"a\") = foo", "concat() takes 2 arguments, not 1"},
		{"evt.arg.nosuch = x", "no event type has an argument nosuch"},
		{"proc.aname[x] = y", "counts generations"},
		{"fd.types = x", "'=' operator not supported for list filters"},
		{"proc.name = \"a\\x00\"", "NUL"},
		{"ka.verb = get and no.macro", "expected a valid check operator"},
	} {
		_, err := translate.Parse(c.in, scope)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.in, err, c.want)
		}
	}
	_, err := translate.Parse("proc.pid = 1 and\n  proc.nam = x", scope)
	var e *translate.Error
	if !errors.As(err, &e) || e.Pos.Line != 2 || e.Pos.Col != 3 || !errors.Is(err, translate.ErrUnknown) {
		t.Errorf("%+v", err)
	}
}

func TestMissing(t *testing.T) {
	c, err := translate.Parse("util.cnt = 1 or not evt.wait_latency > 3 or evt.type in (openat, get_mempolicy)", scope)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"evt.wait_latency", "util.cnt"}, c.Missing); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"get_mempolicy"}, c.Unseen); diff != "" {
		t.Error(diff)
	}
	if c.Const != translate.AlwaysTrue {
		t.Errorf("%s", c.CEL)
	}
}

func FuzzTranslate(f *testing.F) {
	for _, s := range []string{
		"proc.name in (a, '') and not proc.aname[2] != x", "fd.net = 10.0.0.0/8 or fd.ip in (::1, 1.2.3.4)", `len(join("-", (proc.name, "x"))) >= 3`,
		"evt.arg[1] contains x", "proc.env[A] = b", "user.uid < -1", "proc.name regex '^a.*(b|c)$'", "proc.name glob oneof ('[a', b)",
	} {
		f.Add(s)
	}
	env, err := celenv.New(nil, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := translate.Parse(s, translate.Scope{})
		if err != nil {
			return
		}
		if _, errs := env.Compile("t", rule.Plain(c.CEL)); len(errs) > 0 && !strings.Contains(errs.Error(), "limit") && !strings.Contains(errs.Error(), "at most") {
			t.Fatalf("%s\n%s\n%v", s, c.CEL, errs)
		}
	})
}
