// Package rules holds the rules that come with the program: one directory per rule with
// the rule (rule.yaml), its cases (cases.yaml) and what people need to know of it (README.md),
// common.yaml with the lists and macros that they share, and correlation.yaml with those of the rules about several events.
package rules

import (
	"embed"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/gyre-sec/gyre/evaluator/rule"
)

//go:embed common.yaml correlation.yaml */rule.yaml */cases.yaml
var content embed.FS

// Files parses the shipped rule files, in layer 0.
func Files() ([]rule.File, error) {
	var files []rule.File
	err := walk("rule.yaml", func(name string, data []byte) error {
		f, err := rule.Parse("builtin:"+name, data)
		files = append(files, f)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read shipped rules: %w", err)
	}
	return files, nil
}

// All is [Files] with those rules switched on that are off by default, to test and to document them.
func All() ([]rule.File, error) {
	files, err := Files()
	for i := range files {
		for j := range files[i].Rules {
			files[i].Rules[j].Enabled = true
		}
	}
	return files, err
}

// Cases returns the content of every cases.yaml by rule id.
func Cases() (map[string][]byte, error) {
	cases := map[string][]byte{}
	err := walk("cases.yaml", func(name string, data []byte) error {
		if strings.Contains(name, "/") {
			cases[path.Dir(name)] = data
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read shipped cases: %w", err)
	}
	return cases, nil
}

func walk(base string, fn func(name string, data []byte) error) error {
	return fs.WalkDir(content, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path.Base(name) != base && strings.Contains(name, "/") {
			return err
		}
		data, err := content.ReadFile(name)
		if err != nil {
			return err
		}
		return fn(name, data)
	})
}
