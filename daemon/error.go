package daemon

import (
	"errors"
	"fmt"
	"io"
)

// Error is an error for a person at a terminal: what is wrong, and what to do about it.
type Error struct {
	Msg  string // Msg says what is wrong; empty uses the text of Err alone.
	Hint string // Hint says what to do; it is printed apart from the message.
	Err  error  // Err is the cause; it may be nil.
}

// Error returns the message and the cause without the hint.
func (e *Error) Error() string {
	switch {
	case e.Err == nil:
		return e.Msg
	case e.Msg == "":
		return e.Err.Error()
	default:
		return e.Msg + ": " + e.Err.Error()
	}
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Remedy returns the hint. Error types of other modules have the same method when they know a remedy.
func (e *Error) Remedy() string { return e.Hint }

// Hint adds a remedy to err. A nil err stays nil.
func Hint(err error, remedy string) error {
	if err == nil {
		return nil
	}
	return &Error{Hint: remedy, Err: err}
}

// Remedy returns the remedy that an error in the tree of err knows, the outermost first, or "".
func Remedy(err error) string {
	var r interface {
		error
		Remedy() string
	}
	for errors.As(err, &r) {
		if text := r.Remedy(); text != "" {
			return text
		}
		if err = errors.Unwrap(r); err == nil {
			break
		}
	}
	return ""
}

// PrintError writes err as a line "error: ..." and, when a remedy is known, a line "hint: ...". [ConfigErrors] are
// written one by one. It writes nothing for nil.
func PrintError(w io.Writer, err error) {
	if err == nil {
		return
	}
	if list := split(err); list != nil {
		for _, one := range list {
			PrintError(w, one)
		}
		return
	}
	var list ConfigErrors
	if errors.As(err, &list) && len(list) > 0 {
		PrintError(w, list)
		return
	}
	printOne(w, err)
}

// split returns the errors of a plain list, as errors.Join makes it, and nil for an error that says more than its
// causes.
func split(err error) []error {
	var list interface{ Unwrap() []error }
	if !errors.As(err, &list) {
		return nil
	}
	causes := list.Unwrap()
	if len(causes) == 0 || errors.Join(causes...).Error() != err.Error() || ownRemedy(err) {
		return nil
	}
	return causes
}

// ownRemedy says whether the hint belongs to err itself: printing its causes alone would lose it.
func ownRemedy(err error) bool {
	e, ok := err.(interface{ Remedy() string }) //nolint:errorlint // only the outermost error is meant
	return ok && e.Remedy() != ""
}

func printOne(w io.Writer, err error) {
	fmt.Fprintf(w, "error: %v\n", err)
	if hint := Remedy(err); hint != "" {
		fmt.Fprintf(w, "hint: %s\n", hint)
	}
}
