package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/evaluator"
	"github.com/gyre-sec/gyre/schemas/rulesv1"
)

// markFile is what push and pull leave in a directory: the version that its files were made of.
const markFile = ".gyre-rules.json"

// workTree says of which version a directory is.
type workTree struct {
	RuleSet string `json:"rule_set"`
	Digest  string `json:"digest"`
	// Files are the names in the order in which they are loaded.
	Files []string `json:"files"`
}

func workTreeOf(set, digest string, files []rulesv1.File) workTree {
	m := workTree{set, digest, make([]string, len(files))}
	for i, f := range files {
		m.Files[i] = f.Name
	}
	return m
}

// readWorkTree reads of which version of a rule set a directory is; the zero workTree if it does not say.
func readWorkTree(dir, set string) (workTree, error) {
	var m workTree
	name := filepath.Join(dir, markFile)
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err != nil {
		return m, fmt.Errorf("read rules: %w", err)
	}
	if err := json.Unmarshal(data, &m); err != nil {
		return workTree{}, daemon.Hint(fmt.Errorf("read %s: %w", name, err), "remove it; then push and pull need --force once")
	}
	if m.RuleSet != set {
		return workTree{}, nil
	}
	return m, nil
}

func (m workTree) write(root *os.Root) error {
	data, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	return replaceFile(root, markFile, append(data, '\n'))
}

// localFiles reads rule files and directories of them as the files of a rule set. Files of a directory have their names
// below it and come in the order of that version, new ones after them; those named alone have the last part of their path.
func localFiles(paths []string, m workTree) ([]rulesv1.File, error) {
	var files []rulesv1.File
	for _, p := range paths {
		st, err := os.Stat(p)
		if err != nil {
			return nil, fmt.Errorf("read rules: %w", err)
		}
		list, base := []string{p}, filepath.Dir(p)
		if st.IsDir() {
			base = p
			if list, err = evaluator.RuleFiles(p); err != nil {
				return nil, err
			}
			if len(list) == 0 {
				return nil, fmt.Errorf("read rules: there are no rule files (*.yaml, *.yml) below %s", p)
			}
		}
		for _, name := range list {
			data, err := os.ReadFile(name)
			if err != nil {
				return nil, fmt.Errorf("read rules: %w", err)
			}
			rel, err := filepath.Rel(base, name)
			if err != nil {
				return nil, fmt.Errorf("read rules: %w", err)
			}
			files = append(files, rulesv1.File{Name: filepath.ToSlash(rel), Data: data})
		}
	}
	if len(m.Files) > 0 {
		at := func(f rulesv1.File) int {
			if i := slices.Index(m.Files, f.Name); i >= 0 {
				return i
			}
			return len(m.Files)
		}
		slices.SortStableFunc(files, func(a, b rulesv1.File) int { return at(a) - at(b) })
	}
	return files, nil
}

// writeFiles makes the rule files below a directory those of a version; other files stay.
func writeFiles(dir string, old, files []rulesv1.File, m workTree) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("write rules: %w", err)
	}
	root, err := os.OpenRoot(dir) // names stay below it, whatever links are there
	if err != nil {
		return fmt.Errorf("write rules: %w", err)
	}
	defer func() { _ = root.Close() }()
	for _, f := range files {
		if err := replaceFile(root, f.Name, f.Data); err != nil {
			return err
		}
	}
	for _, f := range old {
		if !slices.ContainsFunc(files, func(x rulesv1.File) bool { return x.Name == f.Name }) {
			if err := root.Remove(f.Name); err != nil {
				return fmt.Errorf("write rules: %w", err)
			}
		}
	}
	return m.write(root)
}

// replaceFile writes a file so that readers see the old or the new one.
func replaceFile(root *os.Root, name string, data []byte) error {
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return fmt.Errorf("write rules: %w", err)
	}
	part := path.Join(path.Dir(name), "."+path.Base(name)+".part")
	if err := root.WriteFile(part, data, 0o644); err != nil {
		return fmt.Errorf("write rules: %w", err)
	}
	if err := root.Rename(part, name); err != nil {
		return errors.Join(fmt.Errorf("write rules: %w", err), root.Remove(part))
	}
	return nil
}
