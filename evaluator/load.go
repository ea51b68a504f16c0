package evaluator

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gyre-sec/gyre/evaluator/falco"
	"github.com/gyre-sec/gyre/evaluator/rule"
	"github.com/gyre-sec/gyre/evaluator/rules"
	"github.com/gyre-sec/gyre/evaluator/ruleset"
)

// Layers of rule files: what a higher one defines replaces the same name in lower ones. The n-th directory is layerDirs+n.
const (
	layerBuiltin = 0
	layerDirs    = 1
	layerKV      = 1 << 16
)

// input is a rule file before it is parsed.
type input struct {
	name  string
	layer int
	data  []byte
}

// ReadFiles reads and parses rule files and directories of them, as the evaluator does; files may be Falco's.
func ReadFiles(paths []string) ([]rule.File, error) {
	var in []input
	for _, p := range paths {
		more, err := readPath(p, layerDirs)
		if err != nil {
			return nil, err
		}
		in = append(in, more...)
	}
	files, _, err := parse(in, falco.Options{})
	return files, err
}

// readPath reads a rule file or those of a directory.
func readPath(path string, layer int) ([]input, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read rules: %w", err)
	}
	if st.IsDir() {
		return readDir(path, layer)
	}
	return readFiles([]string{path}, layer)
}

// RuleFiles lists the rule files below a directory: *.yaml and *.yml, without hidden ones and cases.yaml.
func RuleFiles(dir string) ([]string, error) {
	var list []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if path != dir && strings.HasPrefix(name, ".") { // editors' and Kubernetes' hidden entries
			if d.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		if ext := filepath.Ext(name); !d.IsDir() && name != "cases.yaml" && (ext == ".yaml" || ext == ".yml") {
			list = append(list, path)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read rules: %w", err)
	}
	return list, nil
}

func readDir(dir string, layer int) ([]input, error) {
	paths, err := RuleFiles(dir)
	if err != nil {
		return nil, err
	}
	return readFiles(paths, layer)
}

func readFiles(paths []string, layer int) ([]input, error) {
	list := make([]input, 0, len(paths))
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read rules: %w", err)
		}
		list = append(list, input{path, layer, data})
	}
	return list, nil
}

// inputs reads everything that rules are made of now.
func (e *Evaluator) inputs() ([]input, remote, error) {
	var all []input
	for i, dir := range e.cfg.Dirs {
		in, err := readDir(dir, layerDirs+i)
		if err != nil {
			return nil, remote{}, err
		}
		all = append(all, in...)
	}
	r := e.fromBucket()
	return append(all, r.files...), r, r.err
}

func (e *Evaluator) fromBucket() remote {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.remote
}

func fingerprint(in []input, from remote) [32]byte {
	h := sha256.New()
	fmt.Fprintln(h, from.revision)
	for _, x := range in {
		fmt.Fprintf(h, "%d %q %d\n", x.layer, x.name, len(x.data))
		h.Write(x.data)
	}
	return [32]byte(h.Sum(nil))
}

// load builds a new rule set from everything and puts it in force; on an error the old one stays.
// Without a change since the last attempt it does nothing.
func (e *Evaluator) load() error {
	in, from, err := e.inputs()
	if err != nil {
		sum := sha256.Sum256([]byte(err.Error()))
		if sum == e.tried {
			return nil
		}
		e.tried = sum
		return e.refused(err)
	}
	sum := fingerprint(in, from)
	if sum == e.tried {
		return nil
	}
	e.tried = sum
	o, err := e.cfg.falco()
	if err != nil {
		return e.refused(err)
	}
	files, warnings, err := parse(in, o)
	if err != nil {
		return e.refused(err)
	}
	if e.cfg.Builtin {
		shipped, err := rules.Files()
		if err != nil {
			return e.refused(err)
		}
		files = append(files, shipped...)
	}
	set, err := ruleset.Compile(files, ruleset.Options{MaxRules: e.cfg.MaxRules, OnError: func(id string, _ error) {
		e.m.ruleErrors.WithLabelValues(id).Inc()
	}})
	if err != nil {
		return e.refused(err)
	}
	for _, w := range warnings {
		if w.Code == falco.WarnNotInGyre || w.Code == falco.WarnUnknownSource {
			e.log.Warn("rule of a Falco file is not fully supported", "err", w.String())
		}
	}
	name := set.Digest()
	if from.name != "" {
		name += " " + from.name
	}
	e.current.Store(newGeneration(set, name, e.throttle, e.cfg.FalcoMatching == matchFirst, e.every))
	e.m.perRule.set.Store(set)
	e.m.loads.WithLabelValues("ok").Inc()
	e.m.rules.Set(float64(len(set.Rules())))
	e.m.version(from)
	e.bundle.Store(e.bundleOf(in, set.Digest()))
	e.setInfo(Info{Digest: set.Digest(), Count: len(set.Rules()), Loaded: time.Now(), Set: from.name, Revision: from.revision, Signer: from.signer})
	return nil
}

func (e *Evaluator) refused(err error) error {
	e.m.loads.WithLabelValues("refused").Inc()
	e.m.refused.WithLabelValues(reason(err)).Inc()
	i := e.Rules()
	i.Error = err.Error()
	e.setInfo(i)
	return fmt.Errorf("load rules: %w", err)
}

func (e *Evaluator) setInfo(i Info) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.info = i
}

// reload is load for a running evaluator: the result is logged.
func (e *Evaluator) reload() {
	before := e.Rules()
	if err := e.load(); err != nil {
		e.log.Error("new rules refused, the old ones stay in force", "err", err)
		return
	}
	if after := e.Rules(); after.Loaded != before.Loaded {
		e.log.Info("rules loaded", "count", after.Count, "version", after.Digest, "rule_set", after.Set, "key_id", after.Signer)
	}
}

// follow reloads when a directory or the bucket changed, until ctx ends.
func (e *Evaluator) follow(ctx context.Context) error {
	tick := time.NewTicker(e.cfg.Poll)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-e.changed:
		}
		if e.settled(ctx) {
			e.reload()
		}
	}
}

// settleTime is how long rule files must stay the same before they are loaded: an editor or a copy may be
// in the middle of writing them, and a truncated file can be a valid, empty one.
const settleTime = 100 * time.Millisecond

// settled waits until the files are the same for a while; false means that ctx has ended.
func (e *Evaluator) settled(ctx context.Context) bool {
	look := func() (sum [32]byte) {
		if in, from, err := e.inputs(); err == nil {
			sum = fingerprint(in, from)
		}
		return sum
	}
	for last := look(); last != e.tried; {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(settleTime):
		}
		now := look()
		if now == last {
			break
		}
		last = now
	}
	return true
}

// poke asks follow to look now.
func (e *Evaluator) poke() {
	select {
	case e.changed <- struct{}{}:
	default:
	}
}
