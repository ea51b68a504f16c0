package cli

import (
	"strings"
	"testing"
)

const explained = `macros:
  shell: proc.name in ["sh", "bash"]
rules:
  - id: mine
    name: My rule
    description: What it
      means.
    condition: evt.type == "execve" && shell && "sshd" in proc.aname.ancestors()
    output: "%proc.name of %user.name"
    priority: notice
    mitre: [T1059.004]
    throttle: {key: [proc.exepath], window: 10m}
    exceptions:
      - name: backup
        condition: proc.cwd == "/backup"
  - id: slow
    name: Slow
    description: d
    condition: evt.type == "openat" && shell && fd.name.matches("^/etc") && [1, 2] == [1, evt.rawres]
    output: x
    priority: notice
overrides:
  - rule: mine
    exceptions:
      - name: restic
        condition: proc.exepath == "/usr/bin/restic"
`

func TestExplain(t *testing.T) {
	file := write(t, "r.yaml", explained)
	for _, id := range []string{"mine", "my RULE"} {
		code, out, errs := gyre("rules", "explain", id, file)
		if code != 0 {
			t.Fatal(errs)
		}
		for _, want := range []string{
			"rule        mine (notice, ", "meaning     What it means.", "mitre       T1059.004", "events      execve\n", "fields      evt.type proc.aname proc.cwd proc.exepath proc.name\n",
			"in alerts   proc.name user.name", "output      %proc.name of %user.name", "except      backup: proc.cwd ==", "except      restic: proc.exepath ==",
			"throttle    one alert in 10m0s for each proc.exepath", "compiled    (", `proc.name.in["bash", "sh"]`, `ancestors(proc.aname)`, "cost        about ", "the first time",
		} {
			if !strings.Contains(out, want) {
				t.Errorf("no %q in\n%s", want, out)
			}
		}
	}
	_, out, _ := gyre("rules", "explain", "slow", file)
	for _, want := range []string{"compiled    no, it runs slower: ", "fields      evt.rawres evt.type fd.name proc.name\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if code, _, errs := gyre("rules", "explain", "none", file); code != 1 || !strings.Contains(errs, "there is no enabled rule none") {
		t.Errorf("%d %s", code, errs)
	}
}
