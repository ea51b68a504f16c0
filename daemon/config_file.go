package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// The file is walked as a syntax tree instead of being decoded by the YAML library: only so can all errors be found at
// once, each with its place, its key and the nearest valid key.

// loadFile reads the file into the sections. The error is for a file that cannot be read at all.
func (l *loader) loadFile() error {
	if l.opts.Content != nil {
		l.decodeFile(l.opts.Content)
		return nil
	}
	if l.opts.Path == "" {
		return nil
	}
	src, err := os.ReadFile(l.opts.Path)
	if err != nil {
		hint := "make the file readable for this user"
		if errors.Is(err, fs.ErrNotExist) {
			hint = "name an existing file, or write a new one from the printed defaults"
		}
		return Hint(fmt.Errorf("read configuration: %w", err), hint)
	}
	l.decodeFile(src)
	return nil
}

func (l *loader) decodeFile(src []byte) {
	l.places = map[string]*token.Token{}
	file, err := parser.ParseBytes(src, 0, parser.AllowDuplicateMapKey()) // repeated keys are found below, with the others
	if err != nil {
		e := &ConfigError{File: l.opts.Path, Msg: err.Error(), Hint: "correct the YAML at this place", Err: err}
		if syntax, ok := errors.AsType[*yaml.SyntaxError](err); ok {
			e.Msg = "not valid YAML: " + syntax.Message
			if syntax.Token != nil {
				e.Line, e.Col = syntax.Token.Position.Line, syntax.Token.Position.Column
			}
		}
		l.add(e)
		return
	}
	seen := false
	for _, doc := range file.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.NullType || doc.Body.Type() == ast.CommentType {
			continue
		}
		if seen {
			l.addAt(doc.Body.GetToken(), "", "a second YAML document", "keep one document: remove the line ---")
			return
		}
		seen = true
		l.decodeSections(doc.Body)
	}
}

func (l *loader) addAt(t *token.Token, key, msg, hint string) {
	e := &ConfigError{File: l.opts.Path, Key: key, Msg: msg, Hint: hint}
	if t != nil && t.Position != nil {
		e.Line, e.Col = t.Position.Line, t.Position.Column
	}
	l.add(e)
}

func (l *loader) decodeSections(body ast.Node) {
	for _, e := range l.entries(body, "") {
		v, ours := l.sections[e.key]
		switch {
		case ours:
			l.decode(e.value, v, e.key, e.token)
		case !slices.Contains(l.opts.Known, e.key):
			valid := append(l.sectionNames(), l.opts.Known...)
			l.addAt(e.token, e.key, "unknown section", suggest(e.key, valid, "section"))
		}
	}
}

type entry struct {
	key   string
	token *token.Token
	value ast.Node
}

// entries lists the keys of a mapping and reports repeated ones, of which the first counts.
func (l *loader) entries(n ast.Node, path string) []entry {
	var pairs []*ast.MappingValueNode
	switch n := n.(type) {
	case *ast.MappingNode:
		pairs = n.Values
	case *ast.MappingValueNode:
		pairs = []*ast.MappingValueNode{n}
	case *ast.NullNode:
		return nil
	default:
		l.addAt(n.GetToken(), path, "want a group of keys, got "+describe(n), "write key: value lines, indented below their group")
		return nil
	}
	var list []entry
	first := map[string]int{}
	for _, p := range pairs {
		t := p.Key.GetToken()
		if p.Key.IsMergeKey() {
			l.addAt(t, path, "merge keys are not supported", "write the keys out")
			continue
		}
		if p.Key.Type() == ast.MappingKeyType || p.Key.Type() == ast.AnchorType || p.Key.Type() == ast.AliasType || p.Key.Type() == ast.TagType {
			l.addAt(t, path, "want a plain key", "write key: value")
			continue
		}
		if line, again := first[t.Value]; again {
			l.addAt(t, join(path, t.Value), fmt.Sprintf("key repeated, first on line %d", line), "keep one of the two")
			continue
		}
		first[t.Value] = t.Position.Line
		list = append(list, entry{t.Value, t, p.Value})
	}
	return list
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// decode sets v from a node. The token is the key's, for errors about a missing value.
func (l *loader) decode(n ast.Node, v reflect.Value, path string, key *token.Token) {
	l.places[path] = startOf(n, key)
	switch n.Type() {
	case ast.AnchorType, ast.AliasType, ast.TagType:
		l.addAt(n.GetToken(), path, describe(n)+" is not supported", "write the value out")
		return
	}
	t := v.Type()
	switch {
	case isGroup(t):
		l.decodeStruct(n, v, path)
	case t.Kind() == reflect.Slice && !isText(t):
		l.decodeSlice(n, v, path)
	case t.Kind() == reflect.Map && !isText(t):
		l.decodeMap(n, v, path)
	case n.Type() == ast.NullType:
		l.addAt(key, path, "no value", "give it "+wanted(t)+", or remove the key to get the default")
	default:
		l.decodeScalar(n, v, path)
	}
}

// startOf is where a value begins; for a group that has a key it is the key.
func startOf(n ast.Node, key *token.Token) *token.Token {
	var first *ast.MappingValueNode
	switch g := n.(type) {
	case *ast.MappingValueNode:
		first = g
	case *ast.MappingNode:
		if len(g.Values) > 0 {
			first = g.Values[0]
		}
	default:
		return n.GetToken()
	}
	if own := n.GetToken(); first != nil && (key == nil || key == own) { // of a list's item: its own token is a colon
		return first.Key.GetToken()
	}
	return key
}

func (l *loader) decodeStruct(n ast.Node, v reflect.Value, path string) {
	entries := l.entries(n, path)
	if !l.chooseVariant(n, entries, v, path) {
		return
	}
	places := placesOf(v)
	for _, e := range entries {
		found := false
		var names []string
		for _, f := range places {
			target := f.target
			name := f.name
			if f.typ == secretType {
				if found = l.decodeSecret(e, f.name, target, path); found {
					break
				}
				name += "_file"
			} else if found = f.name == e.key; found {
				l.decode(e.value, target, join(path, e.key), e.token)
				break
			}
			names = append(names, name)
		}
		if !found {
			l.addAt(e.token, join(path, e.key), "unknown key", suggest(e.key, names, "key"))
		}
	}
}

// decodeSecret handles the keys password, password_file and password_env of a secret named password.
func (l *loader) decodeSecret(e entry, name string, v reflect.Value, path string) bool {
	switch e.key {
	case name + "_file", name + "_env":
		var where string
		before := len(l.errs)
		l.decode(e.value, reflect.ValueOf(&where).Elem(), join(path, e.key), e.token)
		switch {
		case len(l.errs) > before:
		case e.key == name+"_env":
			v.Set(reflect.ValueOf(SecretEnv(where)))
		default:
			v.Set(reflect.ValueOf(SecretFile(where)))
		}
		return true
	case name:
		l.addAt(e.token, join(path, e.key), "a secret cannot be written in the configuration file", secretHint(l.opts.EnvPrefix, join(path, e.key)))
		return true
	}
	return false
}

func (l *loader) decodeSlice(n ast.Node, v reflect.Value, path string) {
	seq, ok := n.(*ast.SequenceNode)
	if !ok && n.Type() != ast.NullType {
		l.addAt(n.GetToken(), path, "want a list, got "+describe(n), "write one item per line, each after \"- \"")
		return
	}
	if !ok || len(seq.Values) == 0 {
		if v.Len() > 0 { // an empty default stays what it is
			v.SetZero()
		}
		return
	}
	list := reflect.MakeSlice(v.Type(), len(seq.Values), len(seq.Values))
	for i, item := range seq.Values {
		l.decode(item, list.Index(i), fmt.Sprintf("%s[%d]", path, i), item.GetToken())
	}
	v.Set(list)
}

func (l *loader) decodeMap(n ast.Node, v reflect.Value, path string) {
	t := v.Type()
	m := reflect.MakeMap(t)
	for _, e := range l.entries(n, path) {
		item := reflect.New(t.Elem()).Elem()
		key := e.key
		if t.Elem() == secretType {
			key = strings.TrimSuffix(strings.TrimSuffix(key, "_file"), "_env")
			l.decodeSecret(e, key, item, path)
		} else {
			l.decode(e.value, item, join(path, e.key), e.token)
		}
		m.SetMapIndex(reflect.ValueOf(key).Convert(t.Key()), item)
	}
	if m.Len() > 0 || v.Len() > 0 {
		v.Set(m)
	}
}

func (l *loader) decodeScalar(n ast.Node, v reflect.Value, path string) {
	text, ok := scalarText(n, v.Type())
	if !ok {
		hint := "give it " + wanted(v.Type())
		if v.Kind() == reflect.String {
			hint = "put the value in quotes"
		}
		l.addAt(n.GetToken(), path, fmt.Sprintf("want %s, got %s", wanted(v.Type()), describe(n)), hint)
		return
	}
	if err := setScalar(v, text); err != nil {
		l.addAt(n.GetToken(), path, err.Error(), "correct the value, or remove the key to get the default")
	}
}

// scalarText returns the text of a node if its YAML type suits the Go type: quoted numbers are text, and numbers are
// not text.
func scalarText(n ast.Node, t reflect.Type) (string, bool) {
	text, str := "", false
	switch n := n.(type) {
	case *ast.StringNode:
		text, str = n.Value, true
	case *ast.LiteralNode:
		text, str = n.Value.Value, true
	case *ast.IntegerNode:
		text = fmt.Sprint(n.Value)
	case *ast.FloatNode:
		text = n.Token.Value
	case *ast.BoolNode:
		text = fmt.Sprint(n.Value)
	default:
		return "", false
	}
	if t == durationType {
		return text, str || text == "0"
	}
	if isText(t) {
		return text, n.Type() != ast.BoolType
	}
	switch k := t.Kind(); k {
	case reflect.String:
		return text, str
	case reflect.Bool:
		return text, n.Type() == ast.BoolType
	case reflect.Float32, reflect.Float64:
		if f, ok := n.(*ast.FloatNode); ok {
			return text, !math.IsInf(f.Value, 0)
		}
		return text, n.Type() == ast.IntegerType
	default:
		return text, n.Type() == ast.IntegerType
	}
}

// describe names a node for a person.
func describe(n ast.Node) string {
	switch n := n.(type) {
	case *ast.StringNode:
		return fmt.Sprintf("the text %q", n.Value)
	case *ast.LiteralNode:
		return "a block of text"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "the number " + n.GetToken().Value
	case *ast.BoolNode:
		return n.GetToken().Value
	case *ast.NullNode:
		return "nothing"
	case *ast.SequenceNode:
		return "a list"
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a group of keys"
	case *ast.AnchorNode:
		return "an anchor"
	case *ast.AliasNode:
		return "an alias"
	case *ast.TagNode:
		return "a tag"
	default:
		return strings.ToLower(n.Type().String())
	}
}
