// Package notify is what every output has in common: the interface, the sender that
// tries again, bounds the time of an attempt, limits the rate and counts, and templates.
//
// It knows no service. Each service is a package below this one with a Config that
// implements [Settings].
package notify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/schemas/alertv1"
)

// Message is an alert as one output is to show it.
type Message struct {
	// Alert has the output's own tags and fields added. It is shared: notifiers do not change it.
	Alert *alertv1.Alert
	// Severity is the priority in the words of the output, the priority's name if it has none.
	Severity string
	// Repeats is how many alerts of the same kind were folded since the last notification.
	Repeats int
}

// Notifier hands alerts to a service. Notify returns nil when the service has taken all
// of the batch, a [Partial] when it has taken some. An error that [bus.IsPermanent]
// finds will not go away by trying again; a [RetryAfter] says when to. It ends soon
// after ctx does, and may be called from several goroutines at once. A Notifier that is
// an io.Closer is closed at the end.
type Notifier interface {
	Notify(ctx context.Context, batch []Message) error
}

// Settings is the configuration of one output.
type Settings interface {
	Validate() error
	// Open makes the Notifier. It reads secrets and makes no connection: a service that is away now may come later.
	Open(env Env) (Notifier, error)
}

// Batcher is implemented by Settings of services that take many alerts in one request.
type Batcher interface {
	// Batch returns how many at the most, and how long the first waits for others.
	Batch() (int, time.Duration)
}

// Env is what an output gets beside its own settings.
type Env struct {
	// Name of the output.
	Name string
	// Stdout is the standard output of the program.
	Stdout io.Writer
	Log    *slog.Logger
	// Title and Text are templates of the configuration, "" for the output's default.
	Title, Text string
}

// RetryAfter is a transient error of a service that says when to come back.
type RetryAfter struct {
	Err   error
	After time.Duration
}

// Error describes the error.
func (r *RetryAfter) Error() string { return r.Err.Error() }

// Unwrap returns the error.
func (r *RetryAfter) Unwrap() error { return r.Err }

// Partial is the result of a batch of which some was not taken: one error or nil for each message.
type Partial struct{ Errs []error }

// Error returns the first error and how many there are.
func (p *Partial) Error() string {
	n := 0
	var first error
	for _, err := range p.Errs {
		if err != nil {
			if n++; first == nil {
				first = err
			}
		}
	}
	return fmt.Sprintf("%d of %d alerts were not taken: %v", n, len(p.Errs), first)
}

// Each calls send for each message, for services that take one at a time. It stops at the first
// transient error: what comes after would most likely fail too.
func Each(ctx context.Context, batch []Message, send func(context.Context, *Message) error) error {
	p := &Partial{Errs: make([]error, len(batch))}
	failed := false
	for i := range batch {
		err := send(ctx, &batch[i])
		if err == nil {
			continue
		}
		p.Errs[i], failed = err, true
		if !bus.IsPermanent(err) {
			for j := i + 1; j < len(batch); j++ {
				p.Errs[j] = err
			}
			break
		}
	}
	switch {
	case !failed:
		return nil
	case len(batch) == 1:
		return p.Errs[0]
	}
	return p
}

// errNotTried is the error of messages whose output stopped.
var errNotTried = errors.New("the output stopped")
