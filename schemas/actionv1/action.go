// Package actionv1 is the request for a response action on one node, as operators
// sign it and publish it on the ACTIONS stream, and the result that the node
// publishes on the RESULTS stream.
//
// A request crosses the wire in an envelope: its encoded bytes and an Ed25519
// signature over exactly those bytes. Whoever carries it can neither change it nor
// make a new one; the node that it names accepts it once, within its validity.
// This package knows the forms and the signature. Which keys are trusted, and what
// they may do, is the business of the node.
//
// The forms are msgpack arrays that only grow at their end: readers skip what they
// do not know, and return [ErrVersion] for another [Version].
package actionv1

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// Version is the major version of the wire forms.
const Version = 1

// Bounds of a request.
const (
	// MaxValidity is how long a request may be valid.
	MaxValidity = 5 * time.Minute
	// MaxRequest is how large a signed request may be, in bytes.
	MaxRequest = 4096
	// MaxText bounds node, target and reason, in bytes.
	MaxText = 1024
)

// Errors that callers tell apart; all of them are permanent.
var (
	// ErrVersion: the message is of another wire version.
	ErrVersion = errors.New("action message is of another wire version")
	// ErrTooLarge: the request is larger than [MaxRequest].
	ErrTooLarge = errors.New("request is too large")
	// ErrUnsigned: the envelope holds no signature.
	ErrUnsigned = errors.New("request is not signed")
	// ErrSignature: the signature is not that of the key over these bytes.
	ErrSignature = errors.New("signature does not fit the request")
	// ErrInvalid: the request asks for something that does not exist, or lacks something.
	ErrInvalid = errors.New("invalid request")
)

// Action names what a node is asked to do.
type Action string

// The actions.
const (
	// Kill ends one process. Its target is an [ExecID].
	Kill Action = "kill"
	// KillTree ends a process and all its descendants. Its target is an [ExecID].
	KillTree Action = "kill_tree"
	// PauseContainer stops all processes of a container where they are. Its target, as that of those below, is a container's id.
	PauseContainer Action = "pause_container"
	// ResumeContainer lets a paused container go on.
	ResumeContainer Action = "resume_container"
	// StopContainer ends all processes of a container.
	StopContainer Action = "stop_container"
)

// Actions lists them all.
func Actions() []Action {
	return []Action{Kill, KillTree, PauseContainer, ResumeContainer, StopContainer}
}

// OnContainer tells whether the target is a container.
func (a Action) OnContainer() bool {
	return a == PauseContainer || a == ResumeContainer || a == StopContainer
}

// UnmarshalText accepts the names of actions only.
func (a *Action) UnmarshalText(text []byte) error {
	for _, known := range Actions() {
		if string(text) == string(known) {
			*a = known
			return nil
		}
	}
	return fmt.Errorf("%w: unknown action %q, want one of %s", ErrInvalid, text, joinActions())
}

// MarshalText returns the name.
func (a Action) MarshalText() ([]byte, error) { return []byte(a), nil }

func joinActions() string {
	var names []string
	for _, a := range Actions() {
		names = append(names, string(a))
	}
	return strings.Join(names, ", ")
}

// Request asks one node for one action.
type Request struct {
	ID     ID
	Node   string
	Action Action
	// Target is an [ExecID] or a container's id, see [Action].
	Target string
	// Reason is why, for those who read the record later.
	Reason string
	// IssuedAt and ExpiresAt bound the validity, in nanoseconds since the Unix epoch.
	IssuedAt, ExpiresAt int64
	// KeyID names the key that signs, see [KeyID].
	KeyID string
}

// Validate checks what can be checked without a clock or a node. Errors wrap [ErrInvalid].
func (r *Request) Validate() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
	}
	if r.ID == (ID{}) {
		return bad("it has no id")
	}
	var known Action
	if err := known.UnmarshalText([]byte(r.Action)); err != nil {
		return err
	}
	for _, f := range []struct{ name, text string }{{"node", r.Node}, {"target", r.Target}, {"reason", r.Reason}, {"key id", r.KeyID}} {
		switch {
		case strings.TrimSpace(f.text) == "":
			return bad("it has no %s", f.name)
		case len(f.text) > MaxText:
			return bad("its %s has %d bytes, at most %d are allowed", f.name, len(f.text), MaxText)
		case !utf8.ValidString(f.text):
			return bad("its %s is not UTF-8", f.name)
		}
	}
	switch valid := r.ExpiresAt - r.IssuedAt; {
	case r.IssuedAt <= 0 || r.ExpiresAt <= r.IssuedAt:
		return bad("it is valid from %d to %d", r.IssuedAt, r.ExpiresAt)
	case valid > int64(MaxValidity):
		return bad("it is valid for %s, at most %s is allowed", time.Duration(valid), MaxValidity)
	}
	if !r.Action.OnContainer() {
		if _, err := ParseExecID(r.Target); err != nil {
			return err
		}
	}
	return nil
}

// Issued is IssuedAt as a UTC time.
func (r *Request) Issued() time.Time { return time.Unix(0, r.IssuedAt).UTC() }

// Expires is ExpiresAt as a UTC time.
func (r *Request) Expires() time.Time { return time.Unix(0, r.ExpiresAt).UTC() }
