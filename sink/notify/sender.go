package notify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"github.com/gyre-sec/gyre/bus"
)

// SenderConfig bounds the work of one output.
type SenderConfig struct {
	// Timeout of one attempt.
	Timeout time.Duration
	// MaxBackoff is the longest pause between attempts.
	MaxBackoff time.Duration
	// GiveUp is after how long of trying a batch fails for good; 0 means never.
	GiveUp time.Duration
	// Rate is how many attempts there are in a second at the most; 0 means no limit.
	Rate float64
	// Concurrency is how many attempts run at once.
	Concurrency int
}

// Job is a batch to send. Settle is called once for each message, with nil when the service has
// it, with an error that [bus.IsPermanent] finds when it failed for good, and with another when the sender ended.
type Job struct {
	Batch  []Message
	Settle func(i int, err error)

	first time.Time // when it was first tried
	index []int     // what Settle calls the messages; nil means 0, 1, ...
}

// Sender sends jobs to one Notifier. A job that fails goes to the end of the queue, after a
// pause of the whole output: one bad alert does not keep the others from being tried.
type Sender struct {
	name    string
	n       Notifier
	cfg     SenderConfig
	log     *slog.Logger
	limit   *rate.Limiter
	metrics *senderMetrics

	mu        sync.Mutex
	queue     []*Job
	added     *sync.Cond
	pause     *backoff.ExponentialBackOff
	notBefore time.Time
	state     State
	stopped   bool
}

// NewSender returns a Sender; [Sender.Run] does the work. log carries the output's name.
func NewSender(name string, n Notifier, cfg SenderConfig, log *slog.Logger, reg prometheus.Registerer) (*Sender, error) {
	m, err := newSenderMetrics(name, reg)
	if err != nil {
		return nil, err
	}
	s := &Sender{name: name, n: n, cfg: cfg, log: log, limit: rate.NewLimiter(rate.Inf, 1), metrics: m, pause: backoff.NewExponentialBackOff()}
	s.pause.InitialInterval, s.pause.MaxInterval = min(250*time.Millisecond, cfg.MaxBackoff), cfg.MaxBackoff
	s.pause.Reset()
	s.added = sync.NewCond(&s.mu)
	if cfg.Rate > 0 {
		s.limit = rate.NewLimiter(rate.Limit(cfg.Rate), max(1, int(cfg.Rate)))
	}
	return s, nil
}

// Put queues a job. It does not block: who puts bounds what is not settled.
func (s *Sender) Put(j Job) {
	s.mu.Lock()
	s.state.Queued += len(j.Batch)
	stopped := s.stopped
	if !stopped {
		s.queue = append(s.queue, &j)
		s.added.Signal()
	}
	s.mu.Unlock()
	if stopped {
		s.settle(&j, func(int) error { return errNotTried })
	}
}

// Run sends until ctx ends. What is queued then is settled with an error.
func (s *Sender) Run(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.added.Broadcast()
	})()
	var g errgroup.Group
	for range max(1, s.cfg.Concurrency) {
		g.Go(func() error {
			for j := s.next(ctx); j != nil; j = s.next(ctx) {
				s.try(ctx, j)
			}
			return nil
		})
	}
	err := g.Wait()
	s.mu.Lock()
	rest := s.queue
	s.queue, s.stopped = nil, true
	s.mu.Unlock()
	for _, j := range rest {
		s.settle(j, func(int) error { return errNotTried })
	}
	return err
}

// next waits for a job and for the end of a pause. It returns nil when ctx ends.
func (s *Sender) next(ctx context.Context) *Job {
	for {
		s.mu.Lock()
		for len(s.queue) == 0 && ctx.Err() == nil {
			s.added.Wait()
		}
		wait := time.Until(s.notBefore)
		if ctx.Err() != nil {
			s.mu.Unlock()
			return nil
		}
		if wait <= 0 {
			j := s.queue[0]
			s.queue = s.queue[1:]
			s.mu.Unlock()
			return j
		}
		s.mu.Unlock()
		sleep(ctx, wait)
	}
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// grace is how long an attempt may go on when the sender ends.
const grace = 3 * time.Second

// try attempts a job once, and settles it or puts it back.
func (s *Sender) try(ctx context.Context, j *Job) {
	if j.first.IsZero() {
		j.first = time.Now()
	}
	if err := s.limit.Wait(ctx); err != nil {
		s.settle(j, func(int) error { return errNotTried })
		return
	}
	start := time.Now()
	// An attempt that runs when the program is told to end may finish, lest it be repeated.
	attempt, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.Timeout)
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(grace, cancel) })
	err := s.call(attempt, j.Batch)
	stop()
	cancel()
	s.metrics.seconds.Observe(time.Since(start).Seconds())
	var part *Partial
	switch {
	case err == nil:
		s.succeeded()
		s.settle(j, func(int) error { return nil })
	case ctx.Err() != nil:
		s.settle(j, func(int) error { return errNotTried })
	case errors.As(err, &part) && len(part.Errs) == len(j.Batch):
		s.partly(j, part)
	case bus.IsPermanent(err) && len(j.Batch) > 1:
		s.failed("permanent", err)
		s.split(j)
	case bus.IsPermanent(err):
		s.failed("permanent", err)
		s.settle(j, func(int) error { return err })
	default:
		s.later(j, err)
	}
}

// call has a panic of a notifier end as an error of the batch.
func (s *Sender) call(ctx context.Context, batch []Message) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = bus.Permanent(fmt.Errorf("notifier panicked: %v", r))
		}
		if err != nil {
			if _, ok := errors.AsType[*Partial](err); !ok {
				err = fmt.Errorf("notify %s: %w", s.name, err)
			}
		}
	}()
	return s.n.Notify(ctx, batch)
}

// partly settles what was taken or failed for good, and puts back the rest.
func (s *Sender) partly(j *Job, p *Partial) {
	rest := &Job{Settle: j.Settle, first: j.first}
	var transient error
	for i, err := range p.Errs {
		switch {
		case err == nil:
			s.succeeded()
			s.settleOne(j, i, nil)
		case bus.IsPermanent(err):
			s.failed("permanent", err)
			s.settleOne(j, i, fmt.Errorf("notify %s: %w", s.name, err))
		default:
			transient = err
			rest.Batch, rest.index = append(rest.Batch, j.Batch[i]), append(rest.index, j.at(i))
		}
	}
	if len(rest.Batch) > 0 {
		s.later(rest, fmt.Errorf("notify %s: %w", s.name, transient))
	}
}

// split puts back both halves of a batch that the service refuses, to find out which alert it is.
func (s *Sender) split(j *Job) {
	half := len(j.Batch) / 2
	for _, r := range [][2]int{{0, half}, {half, len(j.Batch)}} {
		part := &Job{Settle: j.Settle, first: j.first, Batch: j.Batch[r[0]:r[1]]}
		for i := r[0]; i < r[1]; i++ {
			part.index = append(part.index, j.at(i))
		}
		s.back(part)
	}
}

// later puts a job back after a transient error, and pauses the output; or gives the job up.
func (s *Sender) later(j *Job, err error) {
	s.failed("transient", err)
	s.mu.Lock()
	wait := s.pause.NextBackOff()
	if after, ok := errors.AsType[*RetryAfter](err); ok {
		wait = max(wait, after.After)
	}
	if until := time.Now().Add(wait); until.After(s.notBefore) {
		s.notBefore = until
	}
	s.mu.Unlock()
	if s.cfg.GiveUp > 0 && time.Since(j.first) >= s.cfg.GiveUp {
		err = bus.Permanent(fmt.Errorf("given up after %s: %w", time.Since(j.first).Round(time.Second), err))
		s.settle(j, func(int) error { return err })
		return
	}
	s.back(j)
}

func (s *Sender) back(j *Job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue = append(s.queue, j)
	s.added.Signal()
}

// at is what Settle calls message i.
func (j *Job) at(i int) int {
	if j.index == nil {
		return i
	}
	return j.index[i]
}

func (s *Sender) settle(j *Job, result func(i int) error) {
	for i := range j.Batch {
		s.settleOne(j, i, result(i))
	}
}

func (s *Sender) settleOne(j *Job, i int, err error) {
	s.mu.Lock()
	s.state.Queued--
	switch {
	case err == nil:
		s.state.Sent++
		s.metrics.sent.Inc()
	case bus.IsPermanent(err):
		s.state.Dead++
		s.metrics.dead.Inc()
	}
	s.mu.Unlock()
	j.Settle(j.at(i), err)
}
