// Package policy says what a collector captures: which kinds of events, of which
// processes, with which detail. It is a part of the collector's configuration, and the
// same document in the bucket `config` replaces it while the collector runs: under
// the key `capture` for all nodes, under `capture.<node>` for one, which counts more.
//
//	capture:
//	  kinds: [execve, openat, connect]
//	  mute:
//	    exes: [/usr/bin/node_exporter]
//
// The package decides nothing about the kernel: see collector for how a policy is applied.
package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/gyre-sec/gyre/bpf"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/schemas/eventv1"
)

// Policy is what to capture.
type Policy struct {
	Kinds      []string      `yaml:"kinds" doc:"event kinds to capture; empty means all but write, which costs something on every write of every process"`
	Without    []string      `yaml:"without" doc:"event kinds to leave out of those"`
	Threads    bool          `yaml:"threads" doc:"report new threads too, not only new processes"`
	Env        []string      `yaml:"env" doc:"names of environment variables to tell of new programs, such as LD_PRELOAD; nothing else of the environment leaves the node"`
	FoldWindow time.Duration `yaml:"fold_window" doc:"opens of one file by one process in the same way are told once in this time, with a count; 0 tells each"`
	Full       []string      `yaml:"full" doc:"kinds of opens that are never folded"`
	Mute       Mute          `yaml:"mute" doc:"what to keep back in the kernel; starts and ends of processes are told all the same"`
}

// Mute lists what is kept back, counted per kind.
type Mute struct {
	Exes    []string `yaml:"exes" doc:"programs by their path, as their processes see it"`
	Cgroups []string `yaml:"cgroups" doc:"control groups by their path below the root of the hierarchy, with all below them"`
	Paths   []string `yaml:"paths" doc:"starts of paths: opens of such files"`
}

// Default captures all that detection is known to need.
func Default() Policy { return Policy{} }

// always are the kinds that the process table lives on, captured whatever else is asked for.
func always() []eventv1.Kind {
	return []eventv1.Kind{eventv1.Execve, eventv1.Execveat, eventv1.Clone, eventv1.Clone3, eventv1.Fork, eventv1.Vfork, eventv1.ProcExit, eventv1.Chdir, eventv1.Fchdir, eventv1.Setsid}
}

// Validate checks what can be checked without the kernel.
func (p *Policy) Validate() error {
	var errs []error
	add := func(key string, hint, format string, args ...any) {
		errs = append(errs, daemon.At(key, daemon.Hint(fmt.Errorf(format, args...), hint)))
	}
	for key, list := range map[string][]string{"kinds": p.Kinds, "without": p.Without, "full": p.Full} {
		for _, name := range list {
			k, ok := eventv1.ParseKind(name)
			switch {
			case !ok || k.IsSynthetic():
				add(key, "docs/events.md lists the kinds", "there is no kind %q to capture", name)
			case key == "full" && !k.IsOpen():
				add(key, "name open, openat, openat2 or creat", "%q is never folded", name)
			case key == "without" && slices.Contains(always(), k):
				add(key, "leave it out of the list: the process table lives on it", "%q is always captured", name)
			}
		}
	}
	if p.FoldWindow < 0 || p.FoldWindow > time.Minute {
		add("fold_window", "name a duration such as 1s", "%s is not between 0 and 1m", p.FoldWindow)
	}
	for _, name := range p.Env {
		if name == "" || strings.ContainsAny(name, "=\x00") {
			add("env", "write the name alone, such as LD_PRELOAD", "%q is no name of a variable", name)
		}
	}
	for key, list := range map[string][]string{"mute.exes": p.Mute.Exes, "mute.paths": p.Mute.Paths, "mute.cgroups": p.Mute.Cgroups} {
		if len(list) > maxMutes {
			add(key, "shorten the list, or mute control groups instead", "%d entries, at most %d", len(list), maxMutes)
		}
		for _, s := range list {
			switch {
			case !strings.HasPrefix(s, "/") || strings.ContainsRune(s, 0):
				add(key, "write it from / on", "%q is no absolute path", s)
			case len(s) > bpf.MaxMutePath:
				add(key, "name a shorter path above it", "%q has %d bytes, at most %d", s, len(s), bpf.MaxMutePath)
			case key == "mute.cgroups" && path.Clean(s) == "/":
				add(key, "name the groups to mute", "that would mute everything")
			}
		}
	}
	return errors.Join(errs...)
}

const maxMutes = 1024

// Selected lists the kinds to capture.
func (p *Policy) Selected() []eventv1.Kind {
	want := map[eventv1.Kind]bool{}
	for _, k := range eventv1.Kinds() {
		want[k] = len(p.Kinds) == 0 && k != eventv1.Write && !k.IsSynthetic()
	}
	for _, name := range p.Kinds {
		if k, ok := eventv1.ParseKind(name); ok {
			want[k] = true
		}
	}
	for _, name := range p.Without {
		if k, ok := eventv1.ParseKind(name); ok {
			want[k] = false
		}
	}
	for _, k := range always() {
		want[k] = true
	}
	var out []eventv1.Kind
	for _, k := range eventv1.Kinds() {
		if want[k] {
			out = append(out, k)
		}
	}
	return out
}

// Folded lists the kinds that may be folded.
func (p *Policy) Folded() []eventv1.Kind {
	if p.FoldWindow == 0 {
		return nil
	}
	var out []eventv1.Kind
	for _, k := range []eventv1.Kind{eventv1.Open, eventv1.Openat, eventv1.Openat2, eventv1.Creat} {
		if !slices.Contains(p.Full, k.String()) {
			out = append(out, k)
		}
	}
	return out
}

// Parse reads a document: YAML with the one section capture. It is strict; errors name the document, line and column.
func Parse(name string, doc []byte) (*Policy, error) {
	p := Default()
	if err := daemon.Load(daemon.LoadOptions{Path: name, Content: doc, Environ: []string{}, Sections: map[string]any{"capture": &p}}); err != nil {
		return nil, err
	}
	return &p, nil
}

// Digest names a document: the first 12 hexadecimal digits of its SHA-256.
func Digest(doc []byte) string {
	sum := sha256.Sum256(doc)
	return hex.EncodeToString(sum[:])[:12]
}
