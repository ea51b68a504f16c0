package daemon

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ConfigError is one thing wrong with a configuration.
type ConfigError struct {
	File string // File is the path of the file, "environment" or "command line".
	Line int    // Line counts from 1; 0 when it is not about a place in a file.
	Col  int    // Col counts from 1.
	Key  string // Key is the path of the setting, such as sink.batch, or the name of the variable.
	Msg  string
	Hint string
	Err  error // Err is the cause; it may be nil.
}

// Error returns file:line:column: key: message.
func (e *ConfigError) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", e.Line, e.Col)
	}
	if b.Len() > 0 {
		b.WriteString(": ")
	}
	if e.Key != "" {
		b.WriteString(e.Key + ": ")
	}
	b.WriteString(e.Msg)
	return b.String()
}

// Remedy returns the hint.
func (e *ConfigError) Remedy() string { return e.Hint }

// Unwrap returns the cause.
func (e *ConfigError) Unwrap() error { return e.Err }

// At says which key of a section an error of its Validate is about, such as keys[1].name: [Load] adds the place in the
// file. A nil err stays nil; of joined errors each gets the key, before a key that it has already.
func At(key string, err error) error {
	{
		var e *keyError
		var e1 interface{ Unwrap() []error }
		switch {
		case err == nil:
			return nil
		case errors.As(err, &e):
			return &keyError{key + "." + e.key, e.err}
		case errors.As(err, &e1):
			var all []error
			for _, one := range e1.Unwrap() {
				all = append(all, At(key, one))
			}
			return errors.Join(all...)
		}
	}
	return &keyError{key, err}
}

type keyError struct {
	key string
	err error
}

// Error returns the message alone: the key becomes a part of the [ConfigError].
func (e *keyError) Error() string { return e.err.Error() }

// Unwrap returns the error.
func (e *keyError) Unwrap() error { return e.err }

// ConfigErrors is everything that [Load] found wrong, in the order file, environment, command line, validation.
type ConfigErrors []*ConfigError

// Error returns one line per error.
func (e ConfigErrors) Error() string {
	lines := make([]string, len(e))
	for i, one := range e {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the errors one by one.
func (e ConfigErrors) Unwrap() []error {
	list := make([]error, len(e))
	for i, one := range e {
		list[i] = one
	}
	return list
}

func (l *loader) add(e *ConfigError) { l.errs = append(l.errs, e) }

// suggest names the valid word nearest to the given one, or all of them when none is near.
func suggest(word string, valid []string, what string) string {
	slices.Sort(valid)
	valid = slices.Compact(valid)
	best, distance := "", 1+max(2, len(word)/3)
	for _, v := range valid {
		if d := editDistance(plain(word), plain(v)); d < distance {
			best, distance = v, d
		}
	}
	switch {
	case best != "":
		return fmt.Sprintf("did you mean %q?", best)
	case len(valid) == 0:
		return fmt.Sprintf("there is no %s to set here: remove it", what)
	case len(valid) > 12:
		valid = append(slices.Clone(valid[:12]), "...")
	}
	return fmt.Sprintf("the valid %ss are %s", what, strings.Join(valid, ", "))
}

// plain makes maxBytes, max-bytes and max_bytes the same.
func plain(s string) string {
	return strings.NewReplacer("_", "", "-", "").Replace(strings.ToLower(s))
}

// editDistance is the Levenshtein distance with a swap of neighbours counted once.
func editDistance(a, b string) int {
	x, y := []rune(a), []rune(b)
	d := make([][]int, len(x)+1)
	for i := range d {
		d[i] = make([]int, len(y)+1)
		d[i][0] = i
	}
	for j := range d[0] {
		d[0][j] = j
	}
	for i := 1; i <= len(x); i++ {
		for j := 1; j <= len(y); j++ {
			cost := 1
			if x[i-1] == y[j-1] {
				cost = 0
			}
			d[i][j] = min(d[i-1][j]+1, d[i][j-1]+1, d[i-1][j-1]+cost)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				d[i][j] = min(d[i][j], d[i-2][j-2]+1)
			}
		}
	}
	return d[len(x)][len(y)]
}
