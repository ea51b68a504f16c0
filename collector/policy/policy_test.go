package policy

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gyre-sec/gyre/schemas/eventv1"
)

func TestSelected(t *testing.T) {
	p := Default()
	all := p.Selected()
	if slices.Contains(all, eventv1.Write) || !slices.Contains(all, eventv1.Ptrace) || slices.Contains(all, eventv1.ResponseAction) || len(all) != len(eventv1.Kinds())-3 {
		t.Errorf("by default %d kinds", len(all))
	}
	p = Policy{Kinds: []string{"write", "connect", "bind"}, Without: []string{"bind"}}
	got := p.Selected()
	for k, want := range map[eventv1.Kind]bool{eventv1.Write: true, eventv1.Connect: true, eventv1.Bind: false, eventv1.Openat: false, eventv1.Execve: true, eventv1.ProcExit: true, eventv1.Chdir: true} {
		if slices.Contains(got, k) != want {
			t.Errorf("%s: %v", k, !want)
		}
	}
	p = Policy{FoldWindow: time.Second, Full: []string{"openat"}}
	if f := p.Folded(); slices.Contains(f, eventv1.Openat) || !slices.Contains(f, eventv1.Open) {
		t.Errorf("folded %v", f)
	}
	if p = Default(); p.Folded() != nil {
		t.Error("folds without a window")
	}
}

func TestParse(t *testing.T) {
	p, err := Parse("capture", []byte("capture:\n  kinds: [execve, openat]\n  fold_window: 2s\n  env: [LD_PRELOAD]\n  mute:\n    exes: [/usr/bin/x]\n    paths: [/proc/]\n    cgroups: [/system.slice/a.service]\n"))
	if err != nil || p.FoldWindow != 2*time.Second || p.Mute.Paths[0] != "/proc/" || len(p.Kinds) != 2 {
		t.Errorf("%+v, %v", p, err)
	}
	for name, tt := range map[string]struct{ doc, want string }{
		"unknown key":  {"capture:\n  kind: [x]\n", "capture:2:3"},
		"unknown kind": {"capture:\n  kinds: [opened]\n", `there is no kind "opened"`},
		"unknown part": {"captured: {}\n", "captured"},
		"no list":      {"capture:\n  kinds: 5\n", "capture:2"},
		"window":       {"capture:\n  fold_window: 2h\n", "between 0 and 1m"},
		"relative":     {"capture:\n  mute: {exes: [bin/x]}\n", "no absolute path"},
		"long":         {"capture:\n  mute: {paths: [/" + strings.Repeat("x", 300) + "]}\n", "301 bytes"},
		"root":         {"capture:\n  mute: {cgroups: [/]}\n", "mute everything"},
		"always":       {"capture:\n  without: [execve]\n", "always captured"},
		"never folded": {"capture:\n  full: [connect]\n", "never folded"},
		"variable":     {"capture:\n  env: [A=b]\n", "no name of a variable"},
		"not YAML":     {"capture: [", "capture:1"},
		"response":     {"capture:\n  kinds: [response_action]\n", "no kind"},
	} {
		if _, err := Parse("capture", []byte(tt.doc)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q in it", name, err, tt.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("capture:\n  kinds: [execve]\n  mute: {exes: [/x]}\n")
	f.Fuzz(func(_ *testing.T, doc string) {
		if p, err := Parse("capture", []byte(doc)); err == nil {
			p.Selected()
			p.Folded()
		}
	})
}
