package cli

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/bus/bustest"
)

// remoteRules is a fleet's NATS with a directory of rules.
type remoteRules struct {
	t        *testing.T
	url, dir string
	bus      *bus.Bus
}

func newRemoteRules(t *testing.T) *remoteRules {
	srv := bustest.Start(t)
	r := &remoteRules{t: t, url: "nats://" + srv.Token() + "@" + strings.TrimPrefix(srv.URL(), "nats://"), dir: filepath.Join(t.TempDir(), "rules"), bus: srv.Connect()}
	r.write(r.dir, "b-falco.yaml", "- macro: shell\n  condition: proc.name in (bash, sh)\n- rule: Shell\n  desc: d\n  condition: evt.type = execve and shell\n  output: shell %proc.name\n  priority: NOTICE\n")
	r.write(r.dir, "own/a.yaml", ownRule("one", "cat"))
	return r
}

func ownRule(id, name string) string {
	return "rules:\n  - id: " + id + "\n    name: " + id + "\n    description: d\n    condition: evt.type == \"execve\" && proc.name == \"" + name + "\"\n    output: \"%proc.name\"\n    priority: notice\n"
}

func (r *remoteRules) write(dir, name, text string) {
	r.t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// want runs gyre rules and looks for texts in what it says.
func (r *remoteRules) want(code int, args []string, texts ...string) string {
	r.t.Helper()
	got, out, errs := gyre(append(append([]string{"rules"}, args...), "--nats", r.url)...)
	if got != code {
		r.t.Fatalf("%v: exit code %d, want %d\n%s%s", args, got, code, out, errs)
	}
	for _, text := range texts {
		if !strings.Contains(out+errs, text) {
			r.t.Errorf("%v: no %q in\n%s%s", args, text, out, errs)
		}
	}
	return out
}

func cmd(args ...string) []string { return args }

// digests lists the versions by their digests.
func (r *remoteRules) digests() []string {
	r.t.Helper()
	var list []string
	dec := json.NewDecoder(strings.NewReader(r.want(0, cmd("versions", "--json"))))
	for dec.More() {
		var i versionInfo
		if err := dec.Decode(&i); err != nil {
			r.t.Fatal(err)
		}
		list = append(list, i.Digest)
	}
	return list
}

func TestRulesPushPull(t *testing.T) {
	r := newRemoteRules(t)
	r.want(0, cmd("versions"), "rule set default was never pushed")
	r.want(1, cmd("pull", t.TempDir()), "no rule set default", "hint: gyre rules push")
	r.want(0, cmd("diff", r.dir), "--- /dev/null", "+++ "+r.dir+"/own/a.yaml", "rules added    2: falco.shell, one")
	r.want(0, cmd("push", r.dir, "-m", "the first one"), "pushed default@", "2 files", "not signed")
	r.want(0, cmd("push", r.dir), "is current already: nothing pushed")
	r.want(0, cmd("list", "--remote"), "falco.shell", "one", "rules with default@")
	r.want(0, cmd("diff", r.dir), "are the same")

	// Another one pulls, changes a macro and a rule, and pushes.
	other := filepath.Join(t.TempDir(), "deep", "rules")
	r.want(0, cmd("pull", other), "wrote the 2 files of default@")
	r.write(other, "b-falco.yaml", strings.Replace(read(t, filepath.Join(other, "b-falco.yaml")), "bash, sh", "bash, sh, zsh", 1))
	r.write(other, "own/a.yaml", ownRule("two", "tac"))
	r.want(0, cmd("diff", other), "-  condition: proc.name in (bash, sh)", "+  condition: proc.name in (bash, sh, zsh)", "rules added    1: two", "rules removed  1: one", "rules changed  1: falco.shell")
	r.want(0, cmd("push", other), "rules added    1: two", "rules removed  1: one", "rules changed  1: falco.shell")

	// The first one's change is of the version before.
	r.write(r.dir, "own/a.yaml", ownRule("one", "dog"))
	r.want(1, cmd("push", r.dir), "changed by somebody else", "hint: see what differs with gyre rules diff DIR")
	r.want(1, cmd("pull", r.dir), "holds rule files that are not those of a version", "--force")
	r.want(0, cmd("pull", r.dir, "--force"), "wrote the 2 files")
	r.want(0, cmd("diff", r.dir, "current"), "are the same")
	r.write(r.dir, "c.yaml", ownRule("three", "cow"))
	r.want(0, cmd("push", r.dir), "3 files", "rules added    1: three")
	r.want(0, cmd("pull", other), "wrote the 3 files")

	list := r.digests()
	if len(list) != 3 {
		t.Fatalf("%d versions", len(list))
	}
	r.want(0, cmd("diff", list[0][7:15], list[1]), "rules added    1: two")
	r.want(0, cmd("rollback"), "rolled back to default@"+list[1][7:19], "rules removed  1: three")
	r.want(0, cmd("rollback", list[0][7:13]), "rolled back to default@"+list[0][7:19], "rules added    1: one")
	r.want(1, cmd("rollback", "0000000"), "no such version", "hint:")
	r.want(0, cmd("versions"), "the first one", "rollback to", "REVISION")
	r.want(0, cmd("pull", other), "wrote the 2 files")
	if _, err := os.Stat(filepath.Join(other, "c.yaml")); err == nil {
		t.Error("a file that is not of the version is left")
	}
	if got := r.digests(); len(got) != 5 || got[4] != list[0] || got[3] != list[1] {
		t.Errorf("%v, at first %v", got, list)
	}
	code, out, errs := gyre("status", "--nats", r.url)
	if code != 0 || !strings.Contains(out, "rule set   default@"+list[0][7:19]+" in the bucket, revision") {
		t.Errorf("%s%s", out, errs)
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestRulesPushRefused(t *testing.T) {
	r := newRemoteRules(t)
	r.write(r.dir, "own/a.yaml", strings.Replace(ownRule("one", "cat"), "proc.name ==", "proc.nmae ==", 1))
	r.want(1, cmd("push", r.dir), "own/a.yaml:5:")
	r.want(1, cmd("push", t.TempDir()), "no rule files")
	r.want(1, cmd("push", filepath.Join(r.dir, "none.yaml")), "none.yaml")
	r.write(r.dir, "own/a.yaml", ownRule("one", "cat"))
	r.want(1, cmd("push", filepath.Join(r.dir, "own/a.yaml"), filepath.Join(r.dir, "own/a.yaml")), "rule one is already defined")
	r.want(1, cmd("push", r.dir, "--rule-set", "a b"), "the name \"a b\"")
	noise := make([]byte, 1_500_000)
	for i := range noise {
		noise[i] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-"[rand.IntN(64)]
	}
	big := "# " + string(noise) + "\n" + ownRule("one", "cat")
	r.write(r.dir, "own/a.yaml", big)
	r.want(1, cmd("push", r.dir), "rule set too large", "bytes compressed, at most 1000000", "hint: divide the rules")
	r.want(0, cmd("versions"), "never pushed")
}

func TestRulesSigned(t *testing.T) {
	r := newRemoteRules(t)
	key := filepath.Join(t.TempDir(), "ada.key")
	code, out, errs := gyre("rules", "keygen", key)
	if code != 0 || !strings.Contains(out, "evaluator:\n  rule_keys:\n    - ") {
		t.Fatal(out, errs)
	}
	r.want(0, cmd("push", r.dir, "--key", key), "signed by key ")
	r.write(r.dir, "own/a.yaml", ownRule("two", "cat"))
	r.want(1, cmd("push", r.dir), "the current version is signed, the new one would not be", "hint: name your key")
	t.Setenv("GYRE_RULES_KEY", key)
	r.want(0, cmd("push", r.dir), "signed by key ")
	r.want(0, cmd("rollback"), "rolled back to", "signed by key ")
	r.want(1, cmd("push", r.dir, "--key", key+"x"), "hint: make one")
}
