package rule

import (
	"fmt"
	"strings"
)

// Error is one defect of a rule file, with its place and, where one is known, a remedy.
type Error struct {
	File string
	// Line and Col count from 1; 0 when the defect has no place of its own.
	Line, Col int
	Msg       string
	Hint      string
}

// Error returns file:line:col: message.
func (e *Error) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %s", e.File, e.Msg)
	}
	return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Col, e.Msg)
}

// Remedy is what an operator can do about it, "" if that is not known.
func (e *Error) Remedy() string { return e.Hint }

// Errors are all defects that were found together, in the order of the files.
type Errors []*Error

// Error returns one line per defect.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, x := range e {
		lines[i] = x.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap gives errors.As access to each of them.
func (e Errors) Unwrap() []error {
	list := make([]error, len(e))
	for i, x := range e {
		list[i] = x
	}
	return list
}

// Err returns e as an error, nil if it is empty.
func (e Errors) Err() error {
	if len(e) == 0 {
		return nil
	}
	return e
}
