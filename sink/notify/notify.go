// Package notify is what every output has in common: the interface, and the wrapper
// that tries again, bounds the time of an attempt, and counts.
package notify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/schemas/alertv1"
)

// Notifier hands one alert to a service. Notify returns nil when the service has
// taken it. An error that [bus.IsPermanent] finds will not go away by trying again;
// a [RetryAfter] says when to.
type Notifier interface {
	Name() string
	Notify(ctx context.Context, a *alertv1.Alert) error
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

// Delivery wraps a Notifier.
type Delivery struct {
	n       Notifier
	timeout time.Duration
	log     *slog.Logger
	sent    prometheus.Counter
	failed  *prometheus.CounterVec
}

// NewDelivery returns a Delivery whose attempts take at most timeout.
func NewDelivery(n Notifier, timeout time.Duration, log *slog.Logger, reg prometheus.Registerer) (*Delivery, error) {
	labels := prometheus.Labels{"output": n.Name()}
	d := &Delivery{
		n: n, timeout: timeout, log: log.With("output", n.Name()),
		sent:   prometheus.NewCounter(prometheus.CounterOpts{Name: "gyre_sink_notifications_total", Help: "Alerts that an output has taken.", ConstLabels: labels}),
		failed: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "gyre_sink_notification_errors_total", Help: "Attempts that failed.", ConstLabels: labels}, []string{"reason"}),
	}
	if err := errors.Join(reg.Register(d.sent), reg.Register(d.failed)); err != nil {
		return nil, fmt.Errorf("register metrics of output %s: %w", n.Name(), err)
	}
	return d, nil
}

// Deliver tries until the output has taken the alert, fails for good, or ctx ends.
func (d *Delivery) Deliver(ctx context.Context, a *alertv1.Alert) error {
	policy := backoff.NewExponentialBackOff()
	policy.InitialInterval, policy.MaxInterval = 100*time.Millisecond, 30*time.Second
	_, err := backoff.Retry(ctx, func() (struct{}, error) { return struct{}{}, d.attempt(ctx, a) }, backoff.WithBackOff(policy), backoff.WithMaxElapsedTime(0), backoff.WithMaxTries(0))
	var p *backoff.PermanentError
	if errors.As(err, &p) {
		return p.Unwrap()
	}
	return err
}

func (d *Delivery) attempt(ctx context.Context, a *alertv1.Alert) error {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	err := d.n.Notify(ctx, a)
	if err == nil {
		d.sent.Inc()
		return nil
	}
	err = fmt.Errorf("notify %s: %w", d.n.Name(), err)
	if bus.IsPermanent(err) {
		d.failed.WithLabelValues("permanent").Inc()
		return backoff.Permanent(err)
	}
	d.failed.WithLabelValues("transient").Inc()
	d.log.Debug("notification will be tried again", "err", err)
	var after *RetryAfter
	if errors.As(err, &after) && after.After > 0 {
		return backoff.RetryAfter(int(max(1, after.After/time.Second)))
	}
	return err
}
