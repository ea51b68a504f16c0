package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// run runs a command line.
func run(args ...string) (code int, out, errs string) {
	var o, e bytes.Buffer
	code = Main(args, &o, &e)
	return code, o.String(), e.String()
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

const falcoRules = `
- list: shells
  items: [bash, sh]
- rule: Shell
  desc: a shell
  condition: evt.type = execve and proc.name in (shells)
  output: "%10proc.name by %proc.aname[2] (%util.cnt)"
  priority: WARNING
`

func TestConvertCondition(t *testing.T) {
	for _, c := range []struct {
		name, in  string
		code      int
		out, errs string
	}{
		{"good", "evt.type=open and not proc.name != x", 0, "evt.type == \"open\" && !(has(proc.name) && proc.name != \"x\")\n", ""},
		{"field", "evt.type=open and proc.nam=x", 1, "", "evt.type=open and proc.nam=x\n                  ^\nerror: nonexistent field proc.nam\n"},
		{"grammar", "evt.type=open\n  and or x", 1, "", "  and or x\n         ^\nerror: unexpected token after 'or', expecting 'or', 'and'\n"},
		{"wide characters", "proc.name = 'äö' and x.y = 1", 1, "", "proc.name = 'äö' and x.y = 1\n                     ^\nerror: nonexistent field x.y\n"},
		{"missing", "evt.wait_latency > 1", 0, "false\n", "warning: gyre does not have evt.wait_latency, it counts as never there: only the ends of calls are reported\n"},
		{"empty", "", 1, "", "\n^\nerror: the condition is empty\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, out, errs := run("rules", "convert", "--condition", c.in)
			if code != c.code || out != c.out || errs != c.errs {
				t.Errorf("code %d, output %q, errors %q", code, out, errs)
			}
		})
	}
	if code, _, errs := run("rules", "convert"); code != 1 || !strings.Contains(errs, "there is nothing to convert") {
		t.Error(code, errs)
	}
}

func TestConvertFiles(t *testing.T) {
	code, out, errs := run("rules", "convert", write(t, "f.yaml", falcoRules))
	if code != 0 || !strings.Contains(errs, "gyre does not have util.cnt, the output shows <NA>: it is for Sysdig's tables only") {
		t.Fatal(code, errs)
	}
	want := `lists:
  falco_shells: ["bash", "sh"]
rules:
  - id: falco.shell
    name: "Shell"
    description: "a shell"
    condition: |-
      evt.type == "execve" && proc.name in falco_shells
    output: "%10proc.name by %proc.aname[2] (<NA>)"
    priority: warning
`
	if out != want {
		t.Errorf("got\n%s\nwant\n%s", out, want)
	}
	if code, out, errs := run("rules", "check", write(t, "native.yaml", out)); code != 0 || !strings.Contains(out, "1 rules: ok") {
		t.Error(code, out, errs)
	}
	impossible := falcoRules + "- rule: Never\n  desc: d\n  condition: evt.type = open and evt.type = creat\n  output: o\n  priority: DEBUG\n"
	if code, out, errs := run("rules", "convert", write(t, "f.yaml", impossible)); code != 0 || out != want || !strings.Contains(errs, `no event type satisfies the rule "Never"`) {
		t.Error(code, out, errs)
	}
	code, out, errs = run("rules", "convert", write(t, "f.yaml", strings.Replace(falcoRules, "(shells)", "shells shells", 1)))
	if code != 1 || out != "" || !strings.Contains(errs, "LOAD_ERR_COMPILE_CONDITION") {
		t.Error(code, out, errs)
	}
}

func TestCheck(t *testing.T) {
	good, native := write(t, "good.yaml", falcoRules), write(t, "native.yaml", "rules: []\n")
	bad := write(t, "bad.yaml", strings.Replace(falcoRules, "proc.name in", "proc.name iin", 1))
	worse := write(t, "worse.yaml", "rules:\n  - id: x\n")
	for _, c := range []struct {
		name  string
		files []string
		code  int
		want  string
	}{
		{"falco", []string{good}, 0, "Ok, with warnings"},
		{"both", []string{good, native}, 0, "2 files, 1 rules: ok"},
		{"bad", []string{bad}, 1, "bad.yaml:6:46: LOAD_ERR_COMPILE_CONDITION: rule \"Shell\": expected a valid check operator"},
		{"too long a pattern", []string{write(t, "long.yaml", strings.Replace(falcoRules, "in (shells)", "regex "+strings.Repeat("a", 1200), 1))}, 1, ""},
		{"directory", []string{filepath.Dir(good)}, 0, "good.yaml: Ok, with warnings"},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, out, errs := run(append([]string{"rules", "check"}, c.files...)...)
			if code != c.code || !strings.Contains(out, c.want) {
				t.Errorf("code %d, output %s, errors %s", code, out, errs)
			}
		})
	}
	code, out, _ := run("rules", "check", "--json", good, bad, worse, native)
	var got struct {
		Results []struct {
			Name       string
			Successful bool
			Errors     []struct {
				Code, Codedesc, Message string
				Context                 struct {
					Locations []struct {
						ItemType string `json:"item_type"`
						ItemName string `json:"item_name"`
						Position struct {
							Name                 string
							Line, Column, Offset int
						}
					}
					Snippet string
				}
			}
			Warnings []struct{ Code string }
		} `json:"falco_load_results"`
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil || code != 1 || len(got.Results) != 4 {
		t.Fatal(err, code, out)
	}
	for i, want := range []bool{true, false, false, true} {
		if got.Results[i].Successful != want {
			t.Errorf("%s: %v", got.Results[i].Name, got.Results[i].Successful)
		}
	}
	e := got.Results[1].Errors[0]
	last := e.Context.Locations[len(e.Context.Locations)-1]
	if e.Code != "LOAD_ERR_COMPILE_CONDITION" || e.Context.Locations[1].ItemName != "Shell" || last.ItemType != "condition expression" || e.Context.Snippet == "" {
		t.Errorf("%+v", e)
	}
	long := write(t, "long.yaml", strings.Replace(falcoRules, "in (shells)", "regex "+strings.Repeat("a", 1200), 1))
	if code, out, _ := run("rules", "check", "--json", long); code != 1 || !strings.Contains(out, `"successful":false`) || !strings.Contains(out, "at most 1000 are allowed") {
		t.Error(code, out)
	}
	if code, _, errs := run("rules", "check", "/no/such/file"); code != 1 || !strings.Contains(errs, "no such file") {
		t.Error(code, errs)
	}
}

func TestFalcoFields(t *testing.T) {
	code, out, errs := run("fields", "--falco", "--json")
	if code != 0 {
		t.Fatal(errs)
	}
	n := map[string]int{}
	for line := range strings.Lines(out) {
		var f falcoField
		if err := json.Unmarshal([]byte(line), &f); err != nil {
			t.Fatal(err)
		}
		n[f.Gyre]++
		if want := map[string]string{"proc.name": "yes", "evt.wait_latency": "no", "ka.verb": "only for k8s_audit", "fd.net": "yes"}[f.Name]; want != "" && f.Gyre != want {
			t.Errorf("%+v", f)
		}
	}
	if n["yes"] < 90 || n["yes"]+n["no"] < 280 {
		t.Errorf("%v", n)
	}
	if code, out, _ := run("fields", "--falco", "--markdown", "fd.ip"); code != 0 || !strings.Contains(out, "| fd.ip | ipaddr | syscall | yes |  |") {
		t.Error(out)
	}
}
