package backtest

import (
	"bytes"
	"encoding/hex"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/gyre-sec/gyre/schemas/field"
)

// noiseFields tell apart who raises alerts. An exception made of them holds for exactly the alerts of a key.
func noiseFields() []string {
	return []string{"proc.exepath", "proc.name", "proc.pname", "user.name", "container.image.repository"}
}

// noise is the catalogue's rows of noiseFields. It never changes.
var noise = lookup()

func lookup() []*field.Field {
	var list []*field.Field
	for _, name := range noiseFields() {
		for _, f := range field.All() {
			if f.Name == name {
				list = append(list, f)
			}
		}
	}
	return list
}

// maxKeyPart bounds a value in a key, in bytes; a longer one is left out of it.
const maxKeyPart = 512

// appendNoiseKey appends the values of the noise fields, in hexadecimal and apart: a key of the state.
func appendNoiseKey(b []byte, v *field.View) []byte {
	for i, f := range noise {
		if i > 0 {
			b = append(b, '.')
		}
		if s, ok := f.Str(v); ok && len(s) <= maxKeyPart && utf8.ValidString(s) {
			b = hex.AppendEncode(append(b, '='), []byte(s))
		}
	}
	return b
}

// Value is a field of a key.
type Value struct {
	Field string `json:"field"`
	Value string `json:"value"`
}

// parseNoiseKey reverses appendNoiseKey; absent fields are left out.
func parseNoiseKey(key string) []Value {
	var out []Value
	for i, part := range strings.Split(key, ".") {
		if raw, ok := strings.CutPrefix(part, "="); ok && i < len(noise) {
			if s, err := hex.DecodeString(raw); err == nil {
				out = append(out, Value{noise[i].Name, string(s)})
			}
		}
	}
	return out
}

// Exception is a rule file with the override that silences the alerts of a key; "" if the key names nothing.
func Exception(rule string, key []Value) string {
	parts, names := []string{}, []string{}
	for _, v := range key {
		parts = append(parts, v.Field+" == "+strconv.Quote(v.Value))
		if v.Value != "" && len(names) < 2 {
			names = append(names, v.Value)
		}
	}
	if len(parts) == 0 {
		return ""
	}
	type exception struct {
		Name      string `yaml:"name"`
		Condition string `yaml:"condition"`
	}
	type override struct {
		Rule       string      `yaml:"rule"`
		Exceptions []exception `yaml:"exceptions"`
	}
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	file := map[string][]override{"overrides": {{rule, []exception{{"noise of " + strings.Join(names, " "), strings.Join(parts, " && ")}}}}}
	if err := e.Encode(file); err != nil {
		return ""
	}
	return b.String()
}
