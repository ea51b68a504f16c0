package child

import (
	"context"
	"fmt"
	"log/slog"
	"syscall"
	"time"
)

// Spec says what to run and how to watch it. Only Name and Path are required.
type Spec struct {
	Name string   // Name identifies the child in logs and errors.
	Path string   // Path of the program; it is not searched for on PATH.
	Args []string // Args without the program name. They are never logged.
	Env  []string // Env is the whole environment as KEY=value; nil inherits ours.
	Dir  string   // Dir is the working directory; empty means ours.

	// Ready is asked again and again after each start until it returns nil. It must return soon after its context
	// ends. Nil means that a started program is a ready one.
	Ready func(context.Context) error
	// ReadyTimeout bounds the time from start to ready. Default 30s.
	ReadyTimeout time.Duration

	StopSignal  syscall.Signal // StopSignal asks for an orderly exit. Default SIGTERM.
	StopTimeout time.Duration  // StopTimeout is the time from StopSignal to SIGKILL. Default 5s.

	Backoff Backoff
	Log     *slog.Logger // Log gets the lines of output and the changes of state; nil discards.
	// Level chooses the log level of a line of output. Nil logs every line at debug level.
	Level func(line string) slog.Level
}

// Backoff is the delay between an unexpected exit and the next start. The zero value is a good default.
type Backoff struct {
	Initial time.Duration // Initial delay. Default 200ms.
	Max     time.Duration // Max is the longest delay. Default 30s.
	// ResetAfter is how long a program must have been ready for the delay to start from Initial again. Default 1m.
	ResetAfter time.Duration
	// MaxRestarts is how many restarts without such a good period are tried before giving up; 0 means no limit.
	MaxRestarts int
}

// Phase is what a child is doing.
type Phase string

// The phases of a child.
const (
	PhaseStarting Phase = "starting" // started, not ready yet
	PhaseRunning  Phase = "running"  // ready
	PhaseWaiting  Phase = "waiting"  // exited, will be started again
	PhaseStopped  Phase = "stopped"  // stopped on request
	PhaseFailed   Phase = "failed"   // given up
)

// State is a snapshot of a child.
type State struct {
	Phase     Phase
	PID       int // PID is 0 when no process runs.
	Restarts  int
	StartedAt time.Time
	LastError error // LastError is why the program last exited or did not become ready.
}

func (s Spec) withDefaults() (Spec, error) {
	switch {
	case s.Name == "":
		return s, fmt.Errorf("%w: no name", ErrInvalidSpec)
	case s.Path == "":
		return s, fmt.Errorf("%w: %s has no path", ErrInvalidSpec, s.Name)
	case s.Backoff.MaxRestarts < 0:
		return s, fmt.Errorf("%w: %s has negative max restarts", ErrInvalidSpec, s.Name)
	}
	if s.StopSignal == 0 {
		s.StopSignal = syscall.SIGTERM
	}
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&s.ReadyTimeout, 30 * time.Second},
		{&s.StopTimeout, 5 * time.Second},
		{&s.Backoff.Initial, 200 * time.Millisecond},
		{&s.Backoff.Max, 30 * time.Second},
		{&s.Backoff.ResetAfter, time.Minute},
	} {
		if *d.field < 0 {
			return s, fmt.Errorf("%w: %s has a negative duration", ErrInvalidSpec, s.Name)
		}
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	s.Backoff.Max = max(s.Backoff.Max, s.Backoff.Initial)
	if s.Ready == nil {
		s.Ready = func(context.Context) error { return nil }
	}
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
	if s.Level == nil {
		s.Level = func(string) slog.Level { return slog.LevelDebug }
	}
	return s, nil
}
