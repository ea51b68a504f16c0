package alertv1

import (
	"fmt"
	"strings"
)

// Priority is the severity of an alert, in syslog's order: a smaller number is more severe.
type Priority uint8

// The priorities, as Falco and syslog (RFC 5424) name them.
const (
	Emergency Priority = iota
	AlertPriority
	Critical
	Error
	Warning
	Notice
	Informational
	Debug
)

var priorityNames = [...]string{"emergency", "alert", "critical", "error", "warning", "notice", "informational", "debug"}

// Priorities lists all priorities, the most severe first.
func Priorities() []Priority {
	return []Priority{Emergency, AlertPriority, Critical, Error, Warning, Notice, Informational, Debug}
}

// String returns the lower-case name, "priority(N)" for a value that is none.
func (p Priority) String() string {
	if int(p) < len(priorityNames) {
		return priorityNames[p]
	}
	return fmt.Sprintf("priority(%d)", uint8(p))
}

// Valid tells whether p is one of the eight priorities.
func (p Priority) Valid() bool { return int(p) < len(priorityNames) }

// ParsePriority reads a priority name, in any case; "info" is an alias of "informational".
func ParsePriority(s string) (Priority, error) {
	l := strings.ToLower(s)
	if l == "info" {
		return Informational, nil
	}
	for i, n := range priorityNames {
		if n == l {
			return Priority(i), nil
		}
	}
	return 0, fmt.Errorf("unknown priority %q, want one of %s", s, strings.Join(priorityNames[:], ", "))
}

// MarshalText writes the lower-case name.
func (p Priority) MarshalText() ([]byte, error) {
	if !p.Valid() {
		return nil, fmt.Errorf("invalid priority %d", uint8(p))
	}
	return []byte(p.String()), nil
}

// UnmarshalText reads a name as [ParsePriority] does.
func (p *Priority) UnmarshalText(b []byte) error {
	v, err := ParsePriority(string(b))
	if err != nil {
		return err
	}
	*p = v
	return nil
}
