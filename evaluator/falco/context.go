package falco

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/gyre-sec/gyre/evaluator/rule"
)

// context is a place in a file with the items that lead to it.
type context struct {
	file *file
	locs []Location
	pos  rule.Pos
}

// file is the text of a rule file.
type file struct {
	name  string
	data  string
	src   rule.Source
	lines []int // offsets of the beginnings of lines
}

func newFile(name, data string) *file {
	f := &file{name: name, data: data, src: rule.NewSource(data), lines: []int{0}}
	for i := range len(data) {
		if data[i] == '\n' {
			f.lines = append(f.lines, i+1)
		}
	}
	return f
}

// offset is the place of a line and column, which count from 1; columns in characters.
func (f *file) offset(p rule.Pos) int {
	if p.Line < 1 || p.Line > len(f.lines) {
		return len(f.data)
	}
	start := f.lines[p.Line-1]
	rest, n := f.data[start:], 0
	for i := range rest {
		if n == p.Col-1 || rest[i] == '\n' {
			return start + i
		}
		n++
	}
	return len(f.data)
}

func (f *file) context() *context {
	return &context{file: f, locs: []Location{{ItemType: "rules content", Position: Position{Name: f.name}}}, pos: rule.Pos{Line: 1, Col: 1}}
}

// at is the place of a node below c.
func (c *context) at(n *yaml.Node, itemType, name string) *context {
	p := rule.Pos{Line: max(1, n.Line), Col: max(1, n.Column)}
	loc := Location{
		ItemType: itemType, ItemName: name,
		Position: Position{Name: c.file.name, Line: p.Line - 1, Column: p.Col - 1, Offset: c.file.offset(p)},
	}
	return &context{file: c.file, locs: append(slices.Clone(c.locs), loc), pos: p}
}

// failure is an error of the loader before it becomes an [Issue].
type failure struct {
	code Code
	msg  string
	ctx  *context
	// cond and offset are set for a place within a condition.
	cond   *text
	offset int
}

// Error implements error.
func (f *failure) Error() string { return f.msg }

func (c *context) fail(code Code, format string, args ...any) *failure {
	return &failure{code: code, msg: fmt.Sprintf(format, args...), ctx: c}
}

// within is a failure at an offset of a condition that stands at c.
func (c *context) within(t text, offset int, code Code, msg string) *failure {
	return &failure{code: code, msg: msg, ctx: c, cond: &t, offset: offset}
}

// issue makes the Issue of a failure or a warning.
func (f *failure) issue() Issue {
	i := Issue{
		Code: f.code, Description: descriptions[f.code], Message: f.msg, File: f.ctx.file.name, Pos: f.ctx.pos,
		Context: Context{Locations: slices.Clone(f.ctx.locs)},
	}
	if f.cond == nil {
		i.Context.Snippet = snippet(f.ctx.file.data, f.ctx.file.offset(f.ctx.pos))
		return i
	}
	name := strings.NewReplacer("\n", " ", "\r", " ").Replace(f.cond.s)
	if len(name) > 20 {
		name = name[:17] + "..."
	}
	before := f.cond.s[:min(f.offset, len(f.cond.s))]
	line := strings.Count(before, "\n")
	last := f.ctx.locs[len(f.ctx.locs)-1].Position
	i.Context.Locations = append(i.Context.Locations, Location{ItemType: "condition expression", Position: Position{
		Name: `"` + strings.ToValidUTF8(name, "?") + `"`, Offset: f.offset + last.Offset, Line: line + 1 + last.Line,
		Column: len(before) - strings.LastIndexByte(before, '\n') + last.Column,
	}})
	i.Context.Snippet = snippet(f.cond.s, f.offset)
	if p := f.cond.place(f.offset); p.file != "" {
		i.File, i.Pos = p.file, p.pos
	}
	return i
}
