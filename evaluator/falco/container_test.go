package falco_test

import (
	"slices"
	"testing"

	"github.com/gyre-sec/gyre/evaluator/falco"
	"github.com/gyre-sec/gyre/evaluator/ruleset"
	"github.com/gyre-sec/gyre/evaluator/ruletest"
)

// TestContainerConditions decides conditions on containers of which the facts are there, are not there, and on the host.
func TestContainerConditions(t *testing.T) {
	const id = "3f1c9a7be0d24c55a1f0b7d3c526a1e4f0e9d531c2f3a4b5c6d7e8f901234567"
	with := ruletest.Process{Name: "cat", Container: id, Facts: &ruletest.Facts{
		Name: "web", Image: "docker.io/library/nginx:1.27", Privileged: true, Labels: []string{"team=shop", "io.kubernetes.pod.name=web-0"},
		Mounts: []string{"/var/run/docker.sock:/run/docker.sock", "/proc:/host/proc:ro"}, Pod: "web-0", Namespace: "shop",
	}}
	without, host := ruletest.Process{Name: "cat", Container: id}, ruletest.Process{Name: "cat"}
	for condition, want := range map[string][3]bool{ // with, without, host
		"container.id != host":                                 {true, true, false},
		"container.name = web":                                 {true, false, false},
		"container.name = host":                                {false, false, true},
		"container.image.repository endswith /nginx":           {true, false, false},
		"container.image.repository != other":                  {true, false, true}, // empty on the host, absent without facts
		"container.image.tag exists":                           {true, false, true},
		"container.privileged = true":                          {true, false, false},
		"container.privileged = false":                         {false, false, true},
		"container.mount.dest[docker.sock] = /run/docker.sock": {true, false, false},
		"container.mount.rdwr[/proc] = false":                  {true, false, false},
		"container.mount.source[/host/proc] = /proc":           {true, false, false},
		"container.mount[1] startswith /proc:/host/proc:ro":    {true, false, false},
		"container.mount.dest[2] exists":                       {false, false, false},
		"container.mounts contains /host/proc:ro:false":        {true, false, false},
		"container.label[team] = shop":                         {true, false, false},
		"container.label.team = shop":                          {true, false, false},
		"container.labels = 'team:shop'":                       {true, false, false},
		"k8s.ns.name = shop and k8s.pod.name = web-0":          {true, false, false},
		"not k8s.pod.name exists":                              {false, true, true},
		"proc.apid[0] = 1000":                                  {true, true, true},
		"proc.apid[0] > 1000":                                  {false, false, false},
	} {
		l := falco.New(falco.Options{})
		text := "- rule: r\n  desc: d\n  condition: evt.type = openat and " + condition + "\n  output: x\n  priority: INFO\n"
		if res := l.Load("r.yaml", []byte(text)); !res.Successful || len(res.Warnings) > 0 {
			t.Errorf("%s: %+v", condition, res)
			continue
		}
		set, err := ruleset.Compile(l.Native(true), ruleset.Options{OnError: func(_ string, err error) { t.Errorf("%s: %v", condition, err) }})
		if err != nil {
			t.Errorf("%s: %v", condition, err)
			continue
		}
		for i, p := range []ruletest.Process{with, without, host} {
			data, err := ruletest.Batch(ruletest.Case{Event: ruletest.Event{Kind: "openat", Ret: 3}, Process: &p})
			if err != nil {
				t.Fatal(err)
			}
			if got := slices.Contains(matches(t, set, data), "r"); got != want[i] {
				t.Errorf("%s: case %d is %v, want %v", condition, i, got, want[i])
			}
		}
	}
}
