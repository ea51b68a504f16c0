package intelv1

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"path"
	"slices"
	"strings"
)

// Type is what an indicator is.
type Type uint8

// The types. [Auto] takes what a line looks like.
const (
	Auto Type = iota
	IP
	Domain
	Path
	SHA256
)

var typeNames = [...]string{"auto", "ip", "domain", "path", "sha256"}

// String returns the name.
func (t Type) String() string { return typeNames[t] }

// ParseType finds a type by its name; "" is [Auto].
func ParseType(s string) (Type, error) {
	if s == "" {
		return Auto, nil
	}
	for i, n := range typeNames {
		if n == s {
			return Type(i), nil
		}
	}
	return 0, fmt.Errorf("type is %q, want %s", s, strings.Join(typeNames[:], ", "))
}

// maxLine bounds a line of a source in bytes.
const maxLine = 64 << 10

// ErrSource is wrapped by errors about the content of a source.
var ErrSource = errors.New("bad list of indicators")

// Source says how to read a file or feed.
type Source struct {
	// Name is the file or address, for errors.
	Name string
	Type Type
	// Column is where the indicator stands in lines divided by commas, semicolons or blanks, from 1; 0 is 1.
	Column int
	// MaxEntries bounds the list; 0 is [MaxEntries].
	MaxEntries int
}

// Parsed is the content of a source.
type Parsed struct {
	// Entries are the indicators in their normal form, sorted, each once.
	Entries []string
	// Skipped counts lines that are no indicator; FirstBad is the error about the first one.
	Skipped  int
	FirstBad error
}

// maxBad is how many of a hundred lines may be no indicators: more means that this is no list.
const maxBad = 10

// Parse reads a list with an indicator a line. Empty lines and those that start with # or ; are passed over. Lines that
// are no indicator are skipped, but an error names the first one if there are many.
func Parse(r io.Reader, src Source) (Parsed, error) {
	limit := src.MaxEntries
	if limit == 0 {
		limit = MaxEntries
	}
	var p Parsed
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, 4096), maxLine)
	line := 0
	for s.Scan() {
		line++
		text := strings.TrimSpace(strings.TrimPrefix(s.Text(), "\ufeff"))
		if text == "" || text[0] == '#' || text[0] == ';' {
			continue
		}
		x, _, err := Normal(src.pick(text), src.Type)
		if err != nil {
			if p.Skipped++; p.FirstBad == nil {
				p.FirstBad = fmt.Errorf("%w: %s:%d: %w", ErrSource, src.Name, line, err)
			}
			continue
		}
		if len(p.Entries) >= limit {
			return p, fmt.Errorf("%w: %s:%d: more than %d indicators", ErrSource, src.Name, line, limit)
		}
		p.Entries = append(p.Entries, x)
	}
	if err := s.Err(); err != nil {
		return p, fmt.Errorf("%w: %s:%d: %w", ErrSource, src.Name, line+1, err)
	}
	if p.Skipped*100 > (p.Skipped+len(p.Entries))*maxBad {
		return p, fmt.Errorf("%w (%d of %d lines are no indicators)", p.FirstBad, p.Skipped, p.Skipped+len(p.Entries))
	}
	slices.Sort(p.Entries)
	p.Entries = slices.Compact(p.Entries)
	return p, nil
}

// pick takes the column of the indicator. A path that is alone on its line may have blanks.
func (s Source) pick(line string) string {
	if s.Column <= 1 && line[0] == '/' {
		return line
	}
	n := 0
	for f := range strings.FieldsFuncSeq(line, func(r rune) bool { return r == ',' || r == ';' || r == ' ' || r == '\t' }) {
		if n++; n == max(s.Column, 1) {
			return strings.Trim(f, `"'`)
		}
	}
	return ""
}

// Normal returns the normal form of an indicator and its type: an address or network without bits behind its prefix, a
// domain name in lower case without dots around it, a clean path which ends in a slash if it stands for all below it, or
// 64 hexadecimal digits.
func Normal(s string, want Type) (string, Type, error) {
	t := want
	if t == Auto {
		t = guess(s)
	}
	switch t {
	case IP:
		if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
			return a.Unmap().String(), t, nil
		}
		if p, err := netip.ParsePrefix(s); err == nil {
			return p.Masked().String(), t, nil
		}
		return "", t, fmt.Errorf("%q is no address or network", cut(s))
	case SHA256:
		x := strings.ToLower(s)
		if !isSum(x) {
			return "", t, fmt.Errorf("%q is no SHA-256: want 64 hexadecimal digits", cut(s))
		}
		return x, t, nil
	case Path:
		if len(s) < 2 || s[0] != '/' || len(s) > 4096 || strings.ContainsAny(s, "\x00\n") {
			return "", t, fmt.Errorf("%q is no absolute path", cut(s))
		}
		x := path.Clean(s)
		if x == "/" {
			return "", t, fmt.Errorf("%q is the root of all paths", cut(s))
		}
		if strings.HasSuffix(s, "/") {
			x += "/"
		}
		return x, t, nil
	default:
		x, ok := domain(s)
		if !ok {
			return "", Domain, fmt.Errorf("%q is no domain name", cut(s))
		}
		return x, Domain, nil
	}
}

// TypeOf is the type of an indicator in its normal form.
func TypeOf(s []byte) Type { return guess(string(s)) }

func guess(s string) Type {
	switch {
	case s == "":
		return Domain
	case s[0] == '/':
		return Path
	case len(s) == 64 && isSum(strings.ToLower(s)):
		return SHA256
	case strings.Contains(s, ":"):
		return IP
	}
	if _, err := netip.ParseAddr(s); err == nil {
		return IP
	}
	if _, err := netip.ParsePrefix(s); err == nil {
		return IP
	}
	return Domain
}

func isSum(s string) bool {
	if len(s) != 64 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// domain checks a name: letters, digits, - and _ in parts of at most 63 bytes, at least two of them.
func domain(s string) (string, bool) {
	s = strings.ToLower(strings.TrimSuffix(strings.TrimPrefix(strings.TrimPrefix(s, "*"), "."), "."))
	if s == "" || len(s) > 253 || !strings.Contains(s, ".") {
		return "", false
	}
	for part := range strings.SplitSeq(s, ".") {
		if part == "" || len(part) > 63 {
			return "", false
		}
		for _, c := range []byte(part) {
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return "", false
			}
		}
	}
	return s, true
}

func cut(s string) string {
	if len(s) > 80 {
		return s[:77] + "..."
	}
	return s
}
