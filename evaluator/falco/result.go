package falco

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/gyre-sec/gyre/evaluator/rule"
)

// Position is a place as Falco's results have it: Line and Column count from 0, Offset in bytes.
type Position struct {
	Column int    `json:"column"`
	Line   int    `json:"line"`
	Name   string `json:"name"`
	Offset int    `json:"offset"`
}

// Location is one step from the file down to the place of an issue.
type Location struct {
	ItemName string   `json:"item_name"`
	ItemType string   `json:"item_type"`
	Position Position `json:"position"`
}

// Context is where an issue is. The first location is the file.
type Context struct {
	Locations []Location `json:"locations"`
	// Snippet is the line of the text with a caret below the place.
	Snippet string `json:"snippet"`
}

// Issue is an error or a warning.
type Issue struct {
	Code        Code    `json:"code"`
	Description string  `json:"codedesc"`
	Context     Context `json:"context"`
	// DeprecatedField is set for warnings about one.
	DeprecatedField string `json:"deprecated_field,omitempty"`
	Message         string `json:"message"`

	// File and Pos are the place in the file that the text is from, counted from 1.
	File string   `json:"-"`
	Pos  rule.Pos `json:"-"`
}

// Result is what loading one file gave, in the shape of Falco's own.
type Result struct {
	Errors     []Issue `json:"errors"`
	Name       string  `json:"name"`
	Successful bool    `json:"successful"`
	Warnings   []Issue `json:"warnings"`
}

// JSON writes results as `falco -V` does with json_output: one object.
func JSON(results []*Result) ([]byte, error) {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(map[string]any{"falco_load_results": results}); err != nil {
		return nil, fmt.Errorf("encode results: %w", err)
	}
	return []byte(b.String()), nil
}

// Err returns the errors as [rule.Errors], nil if there are none.
func (r *Result) Err() error {
	var errs rule.Errors
	for _, i := range r.Errors {
		errs = append(errs, i.asError())
	}
	return errs.Err()
}

func (i Issue) asError() *rule.Error {
	return &rule.Error{File: i.File, Line: i.Pos.Line, Col: i.Pos.Col, Msg: cmp.Or(i.Message, i.Description), Hint: string(i.Code)}
}

// String returns one line about the file, and for each issue file:line:col, code and message with the snippet below.
func (r *Result) String() string {
	var b strings.Builder
	state := "Ok"
	switch {
	case !r.Successful:
		state = "Invalid"
	case len(r.Warnings) > 0:
		state = "Ok, with warnings"
	}
	fmt.Fprintf(&b, "%s: %s\n", r.Name, state)
	for _, i := range r.Errors {
		fmt.Fprintf(&b, "error %s\n", i)
	}
	for _, i := range r.Warnings {
		fmt.Fprintf(&b, "warning %s\n", i)
	}
	return b.String()
}

// String returns the place, the code, what the issue is about, the message and the snippet.
func (i Issue) String() string {
	about := ""
	for _, l := range i.Context.Locations {
		if l.ItemName != "" {
			about = " " + l.ItemType + " " + fmt.Sprintf("%q", l.ItemName) + ":"
			break
		}
	}
	s := fmt.Sprintf("%s:%d:%d: %s:%s %s", i.File, i.Pos.Line, i.Pos.Col, i.Code, about, cmp.Or(i.Message, i.Description))
	if snippet := strings.TrimRight(i.Context.Snippet, "\n"); snippet != "" {
		s += "\n    " + strings.ReplaceAll(snippet, "\n", "\n    ")
	}
	return s
}

// snippetWidth is how many characters of a long line are shown.
const snippetWidth = 160

// snippet is the line of text with the byte offset, and a caret below it.
func snippet(text string, offset int) string {
	offset = min(max(0, offset), len(text))
	for offset > 0 && (offset == len(text) || text[offset] == '\n') {
		offset--
	}
	start := strings.LastIndexByte(text[:offset], '\n') + 1
	end := len(text)
	if n := strings.IndexByte(text[offset:], '\n'); n >= 0 {
		end = offset + n
	}
	before, after := []rune(text[start:offset]), []rune(text[offset:end])
	if len(before) > snippetWidth/2 {
		before = append([]rune("..."), before[len(before)-snippetWidth/2:]...)
	}
	if len(after) > snippetWidth/2 {
		after = append(after[:snippetWidth/2:snippetWidth/2], []rune("...")...)
	}
	line := strings.ReplaceAll(string(before)+string(after), "\t", " ")
	if strings.TrimSpace(line) == "" {
		return ""
	}
	return line + "\n" + strings.Repeat(" ", len(before)) + "^\n"
}

// NativeResult is the result of checking a native rule file, in the same form: the errors of the list that are about the file.
func NativeResult(name, data string, errs rule.Errors) *Result {
	f := newFile(name, data)
	r := &Result{Name: name, Successful: true, Errors: []Issue{}, Warnings: []Issue{}}
	for _, e := range errs {
		if e.File != name {
			continue
		}
		r.Successful = false
		c := f.context()
		c.pos = rule.Pos{Line: max(1, e.Line), Col: max(1, e.Col)}
		c.locs = append(c.locs, Location{ItemType: "value for", Position: Position{
			Name: name, Line: c.pos.Line - 1, Column: c.pos.Col - 1, Offset: f.offset(c.pos),
		}})
		r.Errors = append(r.Errors, c.fail(ErrValidate, "%s", e.Msg).issue())
	}
	return r
}
