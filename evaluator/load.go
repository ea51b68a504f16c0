package evaluator

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gyre-sec/gyre/bus"
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
		list := []string{p}
		if st, err := os.Stat(p); err != nil {
			return nil, fmt.Errorf("read rules: %w", err)
		} else if st.IsDir() {
			if list, err = RuleFiles(p); err != nil {
				return nil, err
			}
		}
		more, err := readFiles(list, layerDirs)
		if err != nil {
			return nil, err
		}
		in = append(in, more...)
	}
	files, _, err := parse(in, falco.Options{})
	return files, err
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
func (e *Evaluator) inputs() ([]input, error) {
	var all []input
	for i, dir := range e.cfg.Dirs {
		in, err := readDir(dir, layerDirs+i)
		if err != nil {
			return nil, err
		}
		all = append(all, in...)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(e.kv)) {
		all = append(all, input{"kv:" + key, layerKV, e.kv[key]})
	}
	return all, nil
}

func fingerprint(in []input) [32]byte {
	h := sha256.New()
	for _, x := range in {
		fmt.Fprintf(h, "%d %q %d\n", x.layer, x.name, len(x.data))
		h.Write(x.data)
	}
	return [32]byte(h.Sum(nil))
}

// load builds a new rule set from everything and puts it in force; on an error the old one stays.
// Without a change since the last attempt it does nothing.
func (e *Evaluator) load() error {
	in, err := e.inputs()
	if err != nil {
		sum := sha256.Sum256([]byte(err.Error()))
		if sum == e.tried {
			return nil
		}
		e.tried = sum
		return e.refused(err)
	}
	sum := fingerprint(in)
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
	e.current.Store(newGeneration(set, e.throttle, e.cfg.FalcoMatching == matchFirst, e.every))
	e.m.perRule.set.Store(set)
	e.m.loads.WithLabelValues("ok").Inc()
	e.m.rules.Set(float64(len(set.Rules())))
	e.setInfo(Info{Digest: set.Digest(), Count: len(set.Rules()), Loaded: time.Now()})
	return nil
}

func (e *Evaluator) refused(err error) error {
	e.m.loads.WithLabelValues("refused").Inc()
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
		e.log.Info("rules loaded", "count", after.Count, "version", after.Digest)
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
		if in, err := e.inputs(); err == nil {
			sum = fingerprint(in)
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

// watchKV keeps the bucket's rule files; current is called when all that are there have been read.
func (e *Evaluator) watchKV(ctx context.Context, current func()) error {
	kv, err := e.bus.KV(ctx, e.cfg.KV)
	if err != nil {
		return fmt.Errorf("open bucket %s: %w", e.cfg.KV, err)
	}
	ready := false
	err = kv.Watch(ctx, ">", func(x bus.Entry) {
		e.mu.Lock()
		if x.Deleted {
			delete(e.kv, x.Key)
		} else {
			e.kv[x.Key] = x.Value
		}
		e.mu.Unlock()
		if ready {
			e.poke()
		}
	}, func() {
		ready = true
		current()
	})
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("watch bucket %s: %w", e.cfg.KV, err)
	}
	return nil
}

// poke asks follow to look now.
func (e *Evaluator) poke() {
	select {
	case e.changed <- struct{}{}:
	default:
	}
}
