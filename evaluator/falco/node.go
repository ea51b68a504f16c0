package falco

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/gyre-sec/gyre/evaluator/rule"
)

var yamlLine = regexp.MustCompile(`line (\d+): `)

// documents reads all YAML documents of a file.
func documents(f *file) (docs []*yaml.Node, fail *failure) {
	defer func() { // keep a defect of the YAML parser from ending the program
		if r := recover(); r != nil {
			fail = f.context().fail(ErrYAMLParse, "the YAML parser failed: %v", r)
		}
	}()
	dec := yaml.NewDecoder(bytes.NewReader([]byte(f.data)))
	for {
		var n yaml.Node
		err := dec.Decode(&n)
		if errors.Is(err, io.EOF) {
			return docs, nil
		}
		if err != nil {
			msg := strings.TrimPrefix(err.Error(), "yaml: ")
			c := f.context()
			if m := yamlLine.FindStringSubmatch(msg); m != nil {
				line, _ := strconv.Atoi(m[1])
				c = c.at(&yaml.Node{Line: line, Column: 1}, "value for", "")
				msg = strings.Replace(msg, m[0], "", 1)
			}
			return nil, c.fail(ErrYAMLParse, "%s", msg)
		}
		if n.Kind == yaml.DocumentNode && len(n.Content) > 0 {
			docs = append(docs, resolve(n.Content[0]))
		}
	}
}

func resolve(n *yaml.Node) *yaml.Node {
	for n != nil && n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

// get returns the value of a key, nil if there is none.
func get(n *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if k := resolve(n.Content[i]); k.Kind == yaml.ScalarNode && k.Value == key {
			return resolve(n.Content[i+1])
		}
	}
	return nil
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// unknownKeys warns of keys that an item cannot have.
func (r *reader) unknownKeys(n *yaml.Node, ctx *context, known ...string) {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if key := resolve(n.Content[i]).Value; !slices.Contains(known, key) {
			r.warn(ctx.fail(WarnUnknownKey, "Unknown key '%s'. The key will be ignored.", key))
		}
	}
}

// need is what a scalar may be.
type need uint8

const (
	required need = iota
	optional
	optionalEmpty
)

// scalar reads a key as text; ok is false if it is not there.
func scalar(n *yaml.Node, key string, ctx *context, how need) (value string, ok bool, fail *failure) {
	v := get(n, key)
	switch {
	case v == nil && how != required:
		return "", false, nil
	case v == nil:
		return "", false, ctx.fail(ErrYAMLValidate, "Item has no mapping for key '%s'", key)
	case isNull(v) && how == optionalEmpty:
		return "", false, nil
	case isNull(v):
		return "", false, ctx.fail(ErrYAMLValidate, "Mapping for key '%s' is empty", key)
	case v.Kind != yaml.ScalarNode:
		return "", false, ctx.at(v, "value for", key).fail(ErrYAMLValidate, "Value is not a scalar value")
	case v.Value == "" && how == optionalEmpty:
		return "", false, nil
	case v.Value == "":
		return "", false, ctx.at(v, "value for", key).fail(ErrYAMLValidate, "Value must be non-empty")
	}
	return v.Value, true, nil
}

// scalarText reads a key as text with places.
func (r *reader) scalarText(n *yaml.Node, key string, ctx *context, how need) (text, bool, *failure) {
	s, ok, fail := scalar(n, key, ctx, how)
	if fail != nil || !ok {
		return text{}, ok, fail
	}
	return r.placed(get(n, key), s), true, nil
}

func (r *reader) placed(v *yaml.Node, s string) text {
	start := rule.Pos{Line: max(1, v.Line), Col: max(1, v.Column)}
	if v.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		start = rule.Pos{Line: start.Line + 1, Col: 1}
	}
	return newText(r.f.name, r.f.src.Text(start, s))
}

// booleans are the spellings that YAML 1.1 has, which Falco's parser takes.
var booleans = map[string]bool{
	"y": true, "yes": true, "true": true, "on": true, "n": false, "no": false, "false": false, "off": false,
}

func boolean(n *yaml.Node, key string, ctx *context, how need, into *bool) *failure {
	s, ok, fail := scalar(n, key, ctx, how)
	if fail != nil || !ok {
		return fail
	}
	b, known := booleans[strings.ToLower(s)]
	if !known {
		return ctx.at(get(n, key), "value for", key).fail(ErrYAMLValidate, "Can't decode YAML scalar value: %q is not true or false", s)
	}
	*into = b
	return nil
}

func number(n *yaml.Node, key string, ctx *context, how need, into *uint32) *failure {
	s, ok, fail := scalar(n, key, ctx, how)
	if fail != nil || !ok {
		return fail
	}
	x, err := strconv.ParseUint(s, 0, 32)
	if err != nil {
		return ctx.at(get(n, key), "value for", key).fail(ErrYAMLValidate, "Can't decode YAML scalar value: %q is no number", s)
	}
	*into = uint32(x)
	return nil
}

// strings reads a key as a sequence of scalars.
func sequence(n *yaml.Node, key string, ctx *context, how need) ([]string, *failure) {
	v := get(n, key)
	if v == nil && how != required {
		return nil, nil
	}
	if v == nil {
		return nil, ctx.fail(ErrYAMLValidate, "Item has no mapping for key '%s'", key)
	}
	vctx := ctx.at(v, "value for", key)
	if v.Kind != yaml.SequenceNode {
		return nil, vctx.fail(ErrYAMLValidate, "Value is not a sequence")
	}
	out := make([]string, 0, len(v.Content))
	for _, x := range v.Content {
		x = resolve(x)
		if x.Kind != yaml.ScalarNode {
			return nil, vctx.at(x, "list item", "").fail(ErrYAMLValidate, "sequence value is not scalar")
		}
		out = append(out, x.Value)
	}
	return out, nil
}

// entryOf reads the fields, comps or values of an exception, which nest two deep.
func (r *reader) entryOf(v *yaml.Node, key string, ctx *context, depth int) (entry, *failure) {
	vctx := ctx.at(v, "value for", key)
	switch {
	case v.Kind == yaml.ScalarNode && v.Value == "":
		return entry{}, vctx.fail(ErrYAMLValidate, "Value must be non-empty")
	case v.Kind == yaml.ScalarNode:
		return entry{set: true, item: r.placed(v, v.Value)}, nil
	case v.Kind != yaml.SequenceNode || depth > 2:
		return entry{}, vctx.fail(ErrYAMLValidate, "the %s of an exception must be text or lists of it", fmt.Sprintf("%q", key))
	}
	e := entry{set: true, list: true}
	for _, x := range v.Content {
		sub, fail := r.entryOf(resolve(x), key, vctx, depth+1)
		if fail != nil {
			return entry{}, fail
		}
		e.items = append(e.items, sub)
	}
	return e, nil
}
