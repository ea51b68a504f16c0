package evaluator

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/gyre-sec/gyre/bus/bustest"
	"github.com/gyre-sec/gyre/evaluator/ruletest"
	"github.com/gyre-sec/gyre/schemas/alertv1"
)

const falcoFile = `
- list: shells
  items: [bash, sh]
- macro: spawned
  condition: evt.type in (execve, execveat)
- rule: Shell started
  desc: a shell was started
  condition: spawned and proc.name in (shells)
  output: shell %proc.name by %proc.aname[1] (%util.cnt)
  priority: NOTICE
  tags: [shell, T1059]
- rule: Anything started
  desc: a program was started
  condition: spawned
  output: "%proc.name was started"
  priority: DEBUG
`

// alerts evaluates one event with the rules of a directory.
func alerts(t *testing.T, cfg Config, c ruletest.Case) []alertv1.Alert {
	t.Helper()
	e, err := New(cfg, bustest.Start(t).Connect(), slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	data, err := ruletest.Batch(c)
	if err != nil {
		t.Fatal(err)
	}
	w := e.current.Load().pool.New().(*work)
	if err := w.run(data); err != nil {
		t.Fatal(err)
	}
	var out []alertv1.Alert
	for _, o := range w.out {
		a, err := alertv1.Unmarshal(o.msg.Data)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, a)
	}
	return out
}

func TestFalcoFiles(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"falco.yaml": falcoFile, "native.yaml": rulesFor("bash")} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	exec := ruletest.Case{Event: ruletest.Event{Kind: "execve"}, Process: &ruletest.Process{Name: "bash", Ancestors: []ruletest.Process{{Name: "sshd"}}}}
	for _, c := range []struct {
		name   string
		change func(*Config)
		want   []string
	}{
		{"first", func(*Config) {}, []string{"Mine", "Shell started"}},
		{"all", func(c *Config) { c.FalcoMatching = "all" }, []string{"Anything started", "Shell started", "Mine"}},
		{"disabled", func(c *Config) { c.FalcoDisable = []string{"Shell*"} }, []string{"Mine", "Anything started"}},
		{"by tag", func(c *Config) { c.FalcoDisable = []string{"*"}; c.FalcoEnable = []string{"tag:shell"} }, []string{"Mine", "Shell started"}},
		{"priority", func(c *Config) { c.FalcoPriority, c.FalcoMatching = "notice", "all" }, []string{"Shell started", "Mine"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := DefaultConfig()
			cfg.Builtin, cfg.KV, cfg.Dirs = false, "", []string{dir}
			c.change(&cfg)
			var got []string
			for _, a := range alerts(t, cfg, exec) {
				got = append(got, a.Rule)
				if a.Rule == "Shell started" {
					if a.Output != "shell bash by sshd (<NA>)" || a.RuleID != "falco.shell-started" || a.Priority != alertv1.Notice {
						t.Errorf("%+v", a)
					}
					if diff := cmp.Diff([]alertv1.Field{{Name: "proc.name", Value: "bash"}, {Name: "proc.aname[1]", Value: "sshd"}, {Name: "util.cnt"}}, a.Fields); diff != "" {
						t.Error(diff)
					}
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFalcoOutput(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Builtin, cfg.KV, cfg.Dirs = false, "", []string{t.TempDir()}
	cfg.FalcoOutput, cfg.FalcoFields = "container_id=%container.id", []string{"proc.env"}
	if err := os.WriteFile(filepath.Join(cfg.Dirs[0], "f.yaml"), []byte(falcoFile), 0o600); err != nil {
		t.Fatal(err)
	}
	got := alerts(t, cfg, ruletest.Case{Event: ruletest.Event{Kind: "execve"}, Process: &ruletest.Process{Name: "cat", Env: []string{"A=1", "B=2"}}})
	if len(got) != 1 || got[0].Output != "cat was started container_id=host" {
		t.Fatalf("%+v", got)
	}
	if diff := cmp.Diff([]alertv1.Field{{Name: "proc.name", Value: "cat"}, {Name: "container.id", Value: "host"}, {Name: "proc.env", Value: "A=1 B=2"}}, got[0].Fields); diff != "" {
		t.Error(diff)
	}
}

func TestFalcoFileRefused(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Builtin, cfg.KV, cfg.Dirs = false, "", []string{t.TempDir()}
	text := strings.Replace(falcoFile, "proc.name in", "proc.nam in", 1)
	if err := os.WriteFile(filepath.Join(cfg.Dirs[0], "f.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := New(cfg, bustest.Start(t).Connect(), slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err == nil || !strings.Contains(err.Error(), "f.yaml:8:26: nonexistent field proc.nam") {
		t.Error(err)
	}
	for _, change := range []func(*Config){func(c *Config) { c.FalcoMatching = "some" }, func(c *Config) { c.FalcoPriority = "loud" }} {
		c := DefaultConfig()
		change(&c)
		if err := c.Validate(); err == nil {
			t.Errorf("accepted %+v", c)
		}
	}
}
