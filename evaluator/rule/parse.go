package rule

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

var (
	fileKeys = []string{"lists", "macros", "rules", "overrides"}
	nameForm = regexp.MustCompile(`^[a-z_][a-z0-9_]*$`)
	// celWords cannot be identifiers in CEL (language definition, "Syntax").
	celWords = []string{
		"as", "break", "const", "continue", "else", "false", "for", "function", "if", "import", "in", "let", "loop", "namespace",
		"null", "package", "return", "true", "var", "void", "while",
	}
)

// reader is the state of one [Parse].
type reader struct {
	src  *source
	out  *File
	errs Errors
}

// Parse reads a rule file. The error is [Errors] with every defect that was found.
func Parse(name string, data []byte) (File, error) {
	p := &reader{out: &File{Name: name}}
	if len(data) > MaxFileBytes {
		p.errorAt(Pos{}, "split the file", "%d bytes, at most %d are allowed", len(data), MaxFileBytes)
		return File{Name: name}, p.errs
	}
	if !utf8.Valid(data) {
		p.errorAt(Pos{}, "", "not UTF-8 text")
		return File{Name: name}, p.errs
	}
	p.src = newSource(string(data))
	tree, err := parseYAML(data)
	if err != nil {
		p.syntax(err)
		return File{Name: name}, p.errs
	}
	for _, doc := range tree.Docs {
		p.document(doc.Body)
	}
	if len(p.errs) > 0 {
		return File{Name: name}, p.errs
	}
	return *p.out, nil
}

// parseYAML keeps a panic of the YAML parser on hostile text from ending the program. Repeated keys are
// let through, so that entries can report them with both places.
func parseYAML(data []byte) (f *ast.File, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the parser failed: %v", r)
		}
	}()
	return parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey())
}

func (p *reader) syntax(err error) {
	pos, msg := Pos{1, 1}, strings.SplitN(err.Error(), "\n", 2)[0]
	if y, ok := errors.AsType[yaml.Error](err); ok {
		pos, msg = posOf(y.GetToken()), y.GetMessage()
	}
	p.errorAt(pos, "", "not valid YAML: %s", msg)
}

func (p *reader) errorAt(pos Pos, hint, format string, args ...any) {
	p.errs = append(p.errs, &Error{File: p.out.Name, Line: pos.Line, Col: pos.Col, Msg: fmt.Sprintf(format, args...), Hint: hint})
}

func posOf(t *token.Token) Pos {
	if t == nil || t.Position == nil {
		return Pos{1, 1}
	}
	return Pos{max(1, t.Position.Line), max(1, t.Position.Column)}
}

func (p *reader) document(n ast.Node) {
	if n == nil || n.Type() == ast.NullType || n.Type() == ast.CommentType || n.Type() == ast.CommentGroupType {
		return
	}
	for _, e := range p.entries(n, "a rule file") {
		switch e.key {
		case "lists":
			p.lists(e.value)
		case "macros":
			p.macros(e.value)
		case "rules":
			for _, item := range p.items(e.value, "rules") {
				p.rule(item)
			}
		case "overrides":
			for _, item := range p.items(e.value, "overrides") {
				p.override(item)
			}
		default:
			p.errorAt(e.pos, nearest(e.key, fileKeys), "unknown key %q", e.key)
		}
	}
}

func (p *reader) lists(n ast.Node) {
	for _, e := range p.entries(n, "lists") {
		if !p.name(e, "a list") {
			continue
		}
		items := values(p.strings(e.value, "the list "+e.key))
		if len(items) > MaxListItems {
			p.errorAt(e.pos, "split the list", "list %s has %d items, at most %d are allowed", e.key, len(items), MaxListItems)
		}
		p.out.Lists = append(p.out.Lists, List{Name: e.key, Items: items, Pos: e.pos})
	}
}

func (p *reader) macros(n ast.Node) {
	for _, e := range p.entries(n, "macros") {
		if p.name(e, "a macro") {
			p.out.Macros = append(p.out.Macros, Macro{Name: e.key, Condition: p.text(e.value, "macro "+e.key), Pos: e.pos})
		}
	}
}

func (p *reader) name(e entry, what string) bool {
	switch {
	case slices.Contains(celWords, e.key):
		p.errorAt(e.pos, "choose another name", "%q is a word of CEL", e.key)
	case !nameForm.MatchString(e.key):
		p.errorAt(e.pos, "use lower-case letters, digits and '_'", "%q cannot be the name of %s", e.key, what)
	default:
		return true
	}
	return false
}

// entry is one key of a mapping.
type entry struct {
	key   string
	pos   Pos
	value ast.Node
}

func (p *reader) entries(n ast.Node, what string) []entry {
	var pairs []*ast.MappingValueNode
	switch m := n.(type) {
	case *ast.MappingNode:
		pairs = m.Values
	case *ast.MappingValueNode:
		pairs = []*ast.MappingValueNode{m}
	default:
		p.errorAt(placeOf(n), "", "%s must be a mapping, not %s", what, describe(n))
		return nil
	}
	first := map[string]int{}
	out := make([]entry, 0, len(pairs))
	for _, pair := range pairs {
		t := pair.Key.GetToken()
		e := entry{key: t.Value, pos: posOf(t), value: pair.Value}
		if line, again := first[e.key]; again {
			p.errorAt(e.pos, "remove one of them", "key %q repeated, first on line %d", e.key, line)
			continue
		}
		first[e.key] = e.pos.Line
		out = append(out, e)
	}
	return out
}

func (p *reader) items(n ast.Node, what string) []ast.Node {
	s, ok := n.(*ast.SequenceNode)
	if !ok {
		p.errorAt(placeOf(n), "", "%s must be a list, not %s", what, describe(n))
		return nil
	}
	return s.Values
}

// text reads a scalar; a number or boolean is taken as it is written. An empty one is a defect.
func (p *reader) text(n ast.Node, what string) Text {
	var value string
	switch s := n.(type) {
	case *ast.StringNode:
		value = s.Value
	case *ast.LiteralNode:
		value = s.Value.Value
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		value = n.GetToken().Value
	default:
		p.errorAt(placeOf(n), "", "%s must be text, not %s", what, describe(n))
		return Text{}
	}
	t := p.src.text(n, value)
	if strings.TrimSpace(value) == "" {
		p.errorAt(placeOf(n), "", "%s is empty", what)
	}
	return t
}

func (p *reader) strings(n ast.Node, what string) []Text {
	var out []Text
	for _, item := range p.items(n, what) {
		out = append(out, p.text(item, "an item of "+what))
	}
	return out
}

func values(list []Text) []string {
	var out []string
	for _, t := range list {
		out = append(out, t.Value)
	}
	return out
}

func placeOf(n ast.Node) Pos {
	if n == nil {
		return Pos{1, 1}
	}
	return posOf(n.GetToken())
}

func describe(n ast.Node) string {
	switch n.(type) {
	case nil, *ast.NullNode:
		return "nothing"
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	case *ast.SequenceNode:
		return "a list"
	case *ast.IntegerNode, *ast.FloatNode:
		return "a number"
	case *ast.BoolNode:
		return "true or false"
	case *ast.StringNode, *ast.LiteralNode:
		return "text"
	case *ast.AnchorNode, *ast.AliasNode:
		return "an anchor or alias"
	default:
		return n.Type().String()
	}
}

// nearest is a hint: the known word that a wrong one resembles, or all of them.
func nearest(word string, known []string) string {
	for _, k := range known {
		if strings.HasPrefix(k, word) || strings.HasPrefix(word, k) {
			return "did you mean " + k + "?"
		}
	}
	return "the keys are " + strings.Join(known, ", ")
}
