// Package docs holds no code: its tests keep documents and deployment files in step with the programs.
package docs

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/evaluator"
	"github.com/gyre-sec/gyre/evaluator/falco"
	"github.com/gyre-sec/gyre/evaluator/falco/translate"
	"github.com/gyre-sec/gyre/evaluator/rule"
	"github.com/gyre-sec/gyre/evaluator/rules"
	"github.com/gyre-sec/gyre/evaluator/ruleset"
	"github.com/gyre-sec/gyre/gyre/up"
)

const root = "../.."

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestDeployedConfigurationLoads(t *testing.T) {
	cfg := up.DefaultConfig()
	if err := daemon.Load(daemon.LoadOptions{Path: filepath.Join(root, "deploy/gyre.yaml"), Sections: cfg.Sections(), Environ: []string{}}); err != nil {
		t.Error(err)
	}
	if cfg.NATS.Replicas != 3 {
		t.Errorf("replicas %d", cfg.NATS.Replicas)
	}
}

func TestNATSConfigurationParses(t *testing.T) {
	conf := read(t, "deploy/nats/nats.conf")
	// The certificates are not here; everything else is read as the server does.
	start, end := strings.Index(conf, "tls {"), strings.Index(conf, "authorization {")
	path := filepath.Join(t.TempDir(), "nats.conf")
	conf = conf[:start] + conf[end:]
	for _, who := range []string{"UNODE_REPLACE_WITH_THE_PUBLIC_NKEY_OF_THE_NODE", "UWORK_REPLACE_WITH_THE_PUBLIC_NKEY_OF_THE_WORKERS"} {
		if !strings.Contains(conf, who) {
			t.Errorf("no %s", who)
		}
	}
	conf = strings.ReplaceAll(conf, "nkey: \"UNODE_REPLACE_WITH_THE_PUBLIC_NKEY_OF_THE_NODE\"", "user: a, password: a")
	conf = strings.ReplaceAll(conf, "nkey: \"UWORK_REPLACE_WITH_THE_PUBLIC_NKEY_OF_THE_WORKERS\"", "user: b, password: b")
	if err := os.WriteFile(path, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	o, err := server.ProcessConfigFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(o.Users) != 2 || o.MaxPayload != 8<<20 {
		t.Errorf("%d users, max payload %d", len(o.Users), o.MaxPayload)
	}
}

func TestUnitsNamePrograms(t *testing.T) {
	for _, s := range []string{"collector", "enricher", "evaluator", "sink"} {
		if unit := read(t, "deploy/systemd/gyre-"+s+".service"); !strings.Contains(unit, "ExecStart=/usr/bin/gyre-"+s+" -config ") {
			t.Errorf("gyre-%s.service starts something else", s)
		}
		if _, err := os.Stat(filepath.Join(root, s, "cmd/gyre-"+s, "main.go")); err != nil {
			t.Error(err)
		}
	}
}

func TestMakeTargetsExist(t *testing.T) {
	makefile := read(t, "Makefile")
	for _, doc := range []string{"README.md", "CONTRIBUTING.md", "docs/performance.md"} {
		for _, m := range regexp.MustCompile("[`\n](?:sudo )?make ([a-z-]+)").FindAllStringSubmatch(read(t, doc), -1) {
			if !strings.Contains(makefile, "\n"+m[1]+":") {
				t.Errorf("%s says make %s; the Makefile has no such target", doc, m[1])
			}
		}
	}
}

func TestLinksAndExamples(t *testing.T) {
	docs := []string{"README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "docs/rules.md", "docs/falco.md", "docs/operations.md", "docs/performance.md", "docs/actions.md", "docs/events.md", "docs/outputs.md", "docs/sql.md", "docs/rules-shipped.md", "docs/rules-noise.md", "docs/replay.md", "docs/context.md", "docs/context-cluster.md", "docs/correlation.md", "docs/clickhouse.md", "docs/events-table.md"}
	for _, doc := range docs {
		for _, m := range regexp.MustCompile(`\]\(([^)#:]+)\)`).FindAllStringSubmatch(read(t, doc), -1) {
			if _, err := os.Stat(filepath.Join(root, filepath.Dir(doc), m[1])); err != nil {
				t.Errorf("%s links to %s: %v", doc, m[1], err)
			}
		}
	}
	for _, m := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(read(t, "docs/rules.md"), -1) {
		f, err := rule.Parse("docs/rules.md", []byte(m[1]))
		if err != nil {
			t.Fatal(err)
		}
		f.Layer = 1
		shipped, err := rules.Files()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ruleset.Compile(append(shipped, f), ruleset.Options{}); err != nil {
			t.Error(err)
		}
	}
}

// TestFalcoExamples translates the conditions of docs/falco.md, which stand above their CEL.
func TestFalcoExamples(t *testing.T) {
	doc := read(t, "docs/falco.md")
	n := 0
	for _, block := range regexp.MustCompile("(?s)```text\n(.*?)```").FindAllStringSubmatch(doc, -1) {
		for pair := range strings.SplitSeq(strings.TrimSpace(block[1]), "\n\n") {
			in, want, _ := strings.Cut(pair, "\n")
			c, err := translate.Parse(in, translate.Scope{})
			if err != nil || c.CEL != want {
				t.Errorf("%s\nis %s, %v\nwant %s", in, c.CEL, err, want)
			}
			n++
		}
	}
	if n < 10 {
		t.Errorf("%d examples", n)
	}
	for _, m := range regexp.MustCompile("`(?:evaluator\\.)?(falco_[a-z_]+)(?::[^`]*)?`").FindAllStringSubmatch(doc, -1) {
		if m[1] == falco.Prefix {
			continue
		}
		if !slices.ContainsFunc(reflect.VisibleFields(reflect.TypeFor[evaluator.Config]()), func(f reflect.StructField) bool { return f.Tag.Get("yaml") == m[1] }) {
			t.Errorf("docs/falco.md names %s, which the configuration does not have", m[1])
		}
	}
}
