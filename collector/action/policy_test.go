package action

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gyre-sec/gyre/collector/proctable"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/schemas/actionv1"
	"github.com/gyre-sec/gyre/schemas/eventv1"
)

func TestPolicyErrors(t *testing.T) {
	key := public(newKey(0))
	for _, tc := range []struct{ name, text, want, hint string }{
		{"unknown section", "action:\n  keys: []\n", ":1:1: action: unknown section", `did you mean "actions"?`},
		{"unknown key", "actions:\n  alow: []\n", ":2:3: actions.alow: unknown key", `did you mean "allow"?`},
		{"unknown action", policyText("    - actions: [kill, reboot]\n", ""), `:6:23: actions.allow[0].actions[1]: invalid request: unknown action "reboot"`, "correct the value"},
		{"no actions", policyText("    - users: [1]\n", ""), ":6:7: actions.allow[0].actions: no action is named", "list the actions"},
		{"bad key", "actions:\n  keys:\n    - name: a\n      public_key: abc\n", ":4:19: actions.keys[0].public_key: want an Ed25519 public key", "correct"},
		{"no key", "actions:\n  keys:\n    - name: a\n", ":3:7: actions.keys[0].public_key: the key is missing", "keygen"},
		{"no name", "actions:\n  keys:\n    - public_key: " + key + "\n", ":3:7: actions.keys[0].name: the key has no name", "name"},
		{"key twice", policyText(everything, "")[:len("actions:\n  keys:\n")] + "    - {name: a, public_key: " + key + "}\n    - {name: b, public_key: " + key + "}\n", `:4:29: actions.keys[1].public_key: the same key as that of "a"`, "keep one"},
		{"unknown key name", policyText("    - actions: [kill]\n      keys: [ada, bob]\n", ""), `:7:19: actions.allow[0].keys[1]: there is no key "bob"`, "name one of keys"},
		{"relative glob", policyText("    - actions: [kill]\n      exes: [tmp/*]\n", ""), ":7:14: actions.allow[0].exes[0]: want a pattern of whole paths", "correct"},
		{"bad group", policyText("    - actions: [kill]\n      cgroup_prefix: /a/../b\n", ""), ":7:22: actions.allow[0].cgroup_prefix: want the path", "correct"},
		{"bad rate", policyText(everything, "  rate_limit: 0\n"), ":7:15: actions.rate_limit: 0 requests per minute", "allow entry"},
		{"type", policyText(everything, "  dry_run: maybe\n"), ":7:12: actions.dry_run: want true or false", ""},
		{"syntax", "actions: [\n", "not valid YAML", "correct the YAML"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "p.yaml")
			writePolicy(t, file, tc.text)
			_, err := LoadPolicy(file)
			if err == nil {
				t.Fatalf("accepted:\n%s", tc.text)
			}
			var b strings.Builder
			daemon.PrintError(&b, err)
			if !strings.Contains(b.String(), file) || !strings.Contains(b.String(), tc.want) || !strings.Contains(b.String(), tc.hint) {
				t.Errorf("got\n%swant %q and %q", b.String(), tc.want, tc.hint)
			}
		})
	}
}

func TestPolicyFileIsGuarded(t *testing.T) {
	file := filepath.Join(t.TempDir(), "p.yaml")
	p, err := LoadPolicy(file)
	if err != nil || !p.empty() || p.allows(actionv1.Kill, "ada") {
		t.Errorf("no file: %+v, %v", p, err)
	}
	writePolicy(t, file, policyText(everything, ""))
	if p, err = LoadPolicy(file); err != nil || !p.allows(actionv1.Kill, "ada") || p.RateLimit != defaultRate {
		t.Errorf("%+v, %v", p, err)
	}
	if err := os.Chmod(file, 0o620); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadPolicy(file); err == nil || daemon.Remedy(err) == "" {
		t.Errorf("writable by others: %v", err)
	}
	if _, err := LoadPolicy(filepath.Dir(file)); err == nil {
		t.Error("a directory was accepted")
	}
	if os.Geteuid() == 0 {
		if err := os.Chmod(file, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(file, 12345, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadPolicy(file); err == nil || !strings.Contains(err.Error(), "12345") {
			t.Errorf("of another user: %v", err)
		}
	}
}

func TestGlob(t *testing.T) {
	for _, tc := range []struct {
		glob, path string
		want       bool
	}{
		{"/tmp/*", "/tmp/x", true},
		{"/tmp/*", "/tmp/x/y", false},
		{"/tmp/**", "/tmp/x/y", true},
		{"/tmp/**", "/tmpx", false},
		{"**/xmrig", "/a/b/xmrig", true},
		{"**/xmrig", "/a/b/xmrig2", false},
		{"/a/?", "/a/b", true},
		{"/a/?", "/a//", false},
		{"/a.b", "/axb", false},
		{"/ü/*", "/ü/x", true},
		{"/a/*", "/a/\n\xff", true},
		{"/a[b]", "/a[b]", true},
		{"/a", "/a\n", false},
	} {
		var g Glob
		if err := g.UnmarshalText([]byte(tc.glob)); err != nil {
			t.Fatal(err)
		}
		if got := matches([]Glob{g}, tc.path); got != tc.want {
			t.Errorf("%q on %q: %t", tc.glob, tc.path, got)
		}
	}
}

func TestScopes(t *testing.T) {
	load := func(allow, rest string) *Policy {
		file := filepath.Join(t.TempDir(), "p.yaml")
		writePolicy(t, file, policyText(allow, rest))
		p, err := LoadPolicy(file)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	host := proctable.Facts{Exe: "/usr/bin/x", Cgroup: "/user.slice/a", Row: eventv1.Proc{PID: 9, UID: 1000, EUID: 1000}}
	boxed := proctable.Facts{Exe: "/usr/sbin/sshd", Cgroup: "/docker/abc", ContainerID: "abc"}
	setuid := host
	setuid.Row.EUID = 0
	for _, tc := range []struct {
		allow string
		want  [3]bool // host, boxed, setuid
	}{
		{"", [3]bool{true, true, true}},
		{"      containers_only: true\n", [3]bool{false, true, false}},
		{"      users: [1000]\n", [3]bool{true, false, false}},
		{"      users: [0, 1000]\n", [3]bool{true, true, true}},
		{"      exes: [/usr/bin/*]\n", [3]bool{true, false, true}},
		{"      cgroup_prefix: /docker\n", [3]bool{false, true, false}},
		{"      cgroup_prefix: /dock\n", [3]bool{false, false, false}},
		{"      cgroup_prefix: /user.slice/a\n      users: [1000]\n", [3]bool{true, false, false}},
		{"      exes: [/usr/bin/*]\n    - actions: [kill]\n      containers_only: true\n", [3]bool{true, true, true}},
	} {
		p := load("    - actions: [kill]\n"+tc.allow, "")
		got := [3]bool{p.permits(actionv1.Kill, "ada", &host), p.permits(actionv1.Kill, "ada", &boxed), p.permits(actionv1.Kill, "ada", &setuid)}
		if d := cmp.Diff(tc.want, got); d != "" {
			t.Errorf("%s(-want +got)\n%s", tc.allow, d)
		}
		if p.permits(actionv1.KillTree, "ada", &host) {
			t.Errorf("%s: an action that is not named is permitted", tc.allow)
		}
	}
	p := load(everything, "  protect:\n    exes: [/usr/sbin/sshd, /usr/bin/x]\n    pids: [77]\n")
	if p.protects(&host) == "" || p.protects(&boxed) != "" || p.protects(&proctable.Facts{Row: eventv1.Proc{PID: 77}}) == "" || p.protects(&proctable.Facts{}) != "" {
		t.Error("protect: what a container calls sshd is protected, or what is listed is not")
	}
}

func TestReloadKeepsWhatIsValid(t *testing.T) {
	e, _ := newTest(t, policyText(everything, ""))
	writePolicy(t, e.cfg.PolicyFile, "actions: {allow: [{actions: [reboot]}]}\n")
	if err := e.Reload(t.Context()); err == nil || !e.policy.Load().allows(actionv1.Kill, "ada") {
		t.Errorf("a bad policy replaced a good one: %v", err)
	}
	if err := os.Remove(e.cfg.PolicyFile); err != nil {
		t.Fatal(err)
	}
	if err := e.Reload(t.Context()); err != nil || !e.policy.Load().empty() {
		t.Errorf("a removed policy still allows: %v", err)
	}
}

func FuzzGlob(f *testing.F) {
	f.Add("/a/**/*?.so", "/a/b/c.so")
	f.Fuzz(func(t *testing.T, glob, path string) {
		var g Glob
		if err := g.UnmarshalText([]byte(glob)); err == nil {
			matches([]Glob{g}, path)
		}
	})
}
