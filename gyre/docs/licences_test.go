package docs

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// programs are what is shipped.
func programs() []string {
	return []string{"../cmd/gyre", "../../collector/cmd/gyre-collector", "../../enricher/cmd/gyre-enricher", "../../evaluator/cmd/gyre-evaluator", "../../sink/cmd/gyre-sink"}
}

// chosen are modules that leave the choice between licences, and a part of the text of the one that we take.
func chosen() map[string]string {
	return map[string]string{
		"github.com/eclipse/paho.golang":                "Eclipse Distribution License v1.0", // beside EPL-2.0; it is the BSD 3-clause licence
		"kernel.org/pub/linux/libs/security/libcap/cap": "BSD-3-Clause OR GPL-2.0-only",      // BSD
		"kernel.org/pub/linux/libs/security/libcap/psx": "BSD-3-Clause OR GPL-2.0-only",      // BSD
	}
}

var (
	blanks = regexp.MustCompile(`[\s*/#"“”]+`)
	// taken are words of Apache, MIT, BSD, ISC and the Unlicense, as plain writes them.
	taken = regexp.MustCompile(`apache license,? version 2\.0|permission is hereby granted, free of charge, to any person obtaining|redistribution and use in source and binary forms|permission to use, copy, modify, (and or |and |and/or )?distribute this software|this is free and unencumbered software released into the public domain`)
	// refused are names of licences that ask for the source of what is linked with them, or that restrict its use.
	refused = regexp.MustCompile(`mozilla public license|gnu (lesser |library |affero )?general public license|eclipse public license|common development and distribution license|server side public license|business source license|elastic license|commons clause|\b(a|l)?gpl-?[23]|\bmpl-?[12]`)
	// licenceFile is the name of a file with a licence.
	licenceFile = regexp.MustCompile(`(?i)^(licen[cs]e|copying|unlicense)([.-].*)?$`)
)

// plain writes a text in small letters with single blanks.
func plain(text string) string { return blanks.ReplaceAllString(strings.ToLower(text), " ") }

// licenceProblem says what is wrong with a licence, "" if nothing is.
func licenceProblem(text string) string {
	text = plain(text)
	if name := refused.FindString(text); name != "" {
		return "it is under the " + name
	}
	if !taken.MatchString(text) {
		return "its licence is none that is known here"
	}
	return ""
}

// TestLicences: all that is linked into a program is under Apache, MIT, BSD, ISC or the Unlicense. A package may have a licence of
// its own, in its folder or in one between it and its module.
func TestLicences(t *testing.T) {
	dirs, modules := map[string]string{}, map[string]bool{} // folder that may have a licence -> module
	for _, arch := range []string{"amd64", "arm64"} {
		cmd := exec.CommandContext(t.Context(), "go", append([]string{"list", "-deps", "-f", "{{with .Module}}{{.Path}}\t{{.Dir}}\t{{$.Dir}}{{end}}"}, programs()...)...)
		cmd.Env = append(os.Environ(), "GOARCH="+arch)
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("list packages: %v", err)
		}
		for line := range strings.Lines(string(out)) {
			f := strings.Split(strings.TrimSpace(line), "\t")
			if len(f) != 3 || strings.HasPrefix(f[0], "github.com/gyre-sec/gyre/") {
				continue
			}
			modules[f[0]] = true
			for dir := f[2]; len(dir) >= len(f[1]); dir = filepath.Dir(dir) {
				dirs[dir] = f[0]
			}
		}
	}
	choices, licensed := chosen(), map[string]bool{}
	for dir, module := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.IsDir() || !licenceFile.MatchString(e.Name()) || strings.HasSuffix(e.Name(), ".go") {
				continue
			}
			path := filepath.Join(dir, e.Name())
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			licensed[module] = true
			if words, ok := choices[module]; ok {
				if !strings.Contains(plain(string(text)), plain(words)) {
					t.Errorf("%s does not say %q any more", path, words)
				}
				continue
			}
			if problem := licenceProblem(string(text)); problem != "" {
				t.Errorf("%s is linked into a program, but %s (%s): use another library", module, problem, path)
			}
		}
	}
	for module := range modules {
		if !licensed[module] {
			t.Errorf("%s is linked into a program and has no licence file", module)
		}
	}
	for module := range maps.Keys(choices) {
		if !modules[module] {
			t.Errorf("%s is in the list of choices, but linked into no program", module)
		}
	}
	if len(modules) < 50 {
		t.Errorf("only %d modules were looked at", len(modules))
	}
}

func TestLicenceProblem(t *testing.T) {
	for text, want := range map[string]bool{
		"Mozilla Public License Version 2.0":       true,
		"GNU GENERAL PUBLIC LICENSE\n   Version 3": true,
		"GNU Lesser General\nPublic License":       true,
		"Eclipse Public License - v 2.0":           true,
		"Business Source License 1.1":              true,
		"MIT, but: SPDX GPL-3.0. Permission is hereby granted, free of charge, to any person obtaining": true,
		"all rights reserved": true,
		"                 Apache License\n           Version 2.0, January 2004":            false,
		"Permission is hereby granted, free of charge, to any person\n// obtaining a copy": false,
		"Redistribution and use in source and\nbinary forms":                               false,
		"Permission to use, copy, modify, and/or distribute this software for any purpose": false,
		"Permission to use, copy, modify, and distribute this software":                    false,
	} {
		if got := licenceProblem(text); (got != "") != want {
			t.Errorf("%q: %q", text, got)
		}
	}
}
