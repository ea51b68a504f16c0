package bus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"
)

// Message is what a [Publisher] sends. ID becomes Nats-Msg-Id: the stream drops a
// second message of the same id for as long as it remembers ids.
type Message struct {
	Subject string
	ID      string
	Data    []byte
	Header  map[string]string
}

// PublisherConfig bounds what is in flight.
type PublisherConfig struct {
	// Stage names the publisher in metrics and logs.
	Stage string
	// MaxMessages and MaxBytes bound what is published and not yet acknowledged; 0 means 256 and 16 MiB.
	MaxMessages int
	MaxBytes    int64
	// Codec compresses payloads; "" means the one of the Bus's configuration.
	Codec Codec
}

// Publisher publishes with bounded bytes in flight, checks every result and sends
// again what failed. It is safe for concurrent use.
type Publisher struct {
	b     *Bus
	cfg   PublisherConfig
	coder coder
	slots *semaphore.Weighted
	bytes *semaphore.Weighted
	wg    sync.WaitGroup

	published, publishedBytes prometheus.Counter
	inFlight                  prometheus.Gauge
}

// NewPublisher returns a Publisher; it needs no closing beyond [Publisher.Flush].
func (b *Bus) NewPublisher(cfg PublisherConfig) *Publisher {
	if cfg.MaxMessages <= 0 {
		cfg.MaxMessages = 256
	}
	if cfg.MaxBytes <= 0 {
		cfg.MaxBytes = 16 << 20
	}
	if cfg.Codec == "" {
		cfg.Codec = b.cfg.Codec
	}
	return &Publisher{
		b: b, cfg: cfg, slots: semaphore.NewWeighted(int64(cfg.MaxMessages)), bytes: semaphore.NewWeighted(cfg.MaxBytes),
		published: b.metrics.published.WithLabelValues(cfg.Stage), publishedBytes: b.metrics.publishedBytes.WithLabelValues(cfg.Stage),
		inFlight: b.metrics.inFlight.WithLabelValues(cfg.Stage),
	}
}

// Publish sends m and waits until a stream has stored it, trying again until ctx ends. Errors that
// [IsPermanent] finds (too large, no stream for the subject) are returned at once.
func (p *Publisher) Publish(ctx context.Context, m Message) error {
	result := make(chan error, 1)
	if err := p.PublishAsync(ctx, m, func(err error) { result <- err }); err != nil {
		return err
	}
	return <-result
}

// PublishAsync sends m and returns; done is called once, from another goroutine,
// when a stream has stored it or it failed for good, as for [Publisher.Publish]. m.Data may be reused
// after the return. It blocks while the bounds are reached; an error means that done will not be called.
func (p *Publisher) PublishAsync(ctx context.Context, m Message, done func(error)) error {
	data, err := p.coder.encode(p.cfg.Codec, m.Data)
	if err != nil {
		return err
	}
	if limit := p.b.MaxPayload(); limit > 0 && len(data) > limit {
		return Permanent(fmt.Errorf("publish to %s: %d bytes, the server takes %d", m.Subject, len(data), limit))
	}
	msg := &nats.Msg{Subject: m.Subject, Data: data, Header: nats.Header{HeaderCodec: {string(p.cfg.Codec)}}}
	if m.ID != "" {
		msg.Header[jetstream.MsgIDHeader] = []string{m.ID}
	}
	for k, v := range m.Header {
		msg.Header[k] = []string{v}
	}
	size := min(int64(len(data)), p.cfg.MaxBytes)
	if err := p.slots.Acquire(ctx, 1); err != nil {
		return fmt.Errorf("publish to %s: %w", m.Subject, err)
	}
	if err := p.bytes.Acquire(ctx, size); err != nil {
		p.slots.Release(1)
		return fmt.Errorf("publish to %s: %w", m.Subject, err)
	}
	p.inFlight.Add(float64(size))
	p.wg.Add(1)
	future, err := p.b.js.PublishMsgAsync(msg)
	go func() {
		defer p.wg.Done()
		if err == nil {
			err = await(ctx, future)
		}
		if err != nil {
			err = p.again(ctx, msg, err)
		}
		p.inFlight.Sub(float64(size))
		p.bytes.Release(size)
		p.slots.Release(1)
		if err == nil {
			p.published.Inc()
			p.publishedBytes.Add(float64(len(data)))
		}
		done(err)
	}()
	return nil
}

func await(ctx context.Context, f jetstream.PubAckFuture) error {
	select {
	case <-f.Ok():
		return nil
	case err := <-f.Err():
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// again sends msg until it is stored, it fails for good, or ctx ends.
func (p *Publisher) again(ctx context.Context, msg *nats.Msg, first error) error {
	fail := func(err error) error {
		reason := "transient"
		if p.b.final(err) {
			reason = "permanent"
		}
		p.b.metrics.publishErrors.WithLabelValues(p.cfg.Stage, reason).Inc()
		err = fmt.Errorf("publish to %s: %w", msg.Subject, err)
		if p.b.final(err) {
			return backoff.Permanent(Permanent(err))
		}
		return err
	}
	if err := fail(first); IsPermanent(err) || ctx.Err() != nil {
		return unwrapBackoff(err)
	}
	policy := backoff.NewExponentialBackOff()
	policy.InitialInterval, policy.MaxInterval = 50*time.Millisecond, 5*time.Second
	try := func() (struct{}, error) {
		attempt, cancel := context.WithTimeout(ctx, p.b.cfg.PublishTimeout)
		defer cancel()
		if _, err := p.b.js.PublishMsg(attempt, msg, jetstream.WithRetryAttempts(0)); err != nil {
			return struct{}{}, fail(err)
		}
		return struct{}{}, nil
	}
	_, err := backoff.Retry(ctx, try, backoff.WithBackOff(policy), backoff.WithMaxElapsedTime(0), backoff.WithMaxTries(0))
	return unwrapBackoff(err)
}

func unwrapBackoff(err error) error {
	if p, ok := errors.AsType[*backoff.PermanentError](err); ok {
		return p.Unwrap()
	}
	return err
}

// final tells whether sending the same message again cannot help.
func (b *Bus) final(err error) bool {
	if api, ok := errors.AsType[*jetstream.APIError](err); ok {
		return api.Code == 400 // bad request: too large for the stream, malformed
	}
	return errors.Is(err, nats.ErrMaxPayload) || errors.Is(err, nats.ErrBadSubject) ||
		errors.Is(err, nats.ErrHeadersNotSupported) && b.nc.IsConnected() // before the first connection nothing is known of the server
}

// Flush waits until everything in flight is stored or failed, or ctx ends.
func (p *Publisher) Flush(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		p.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("flush publisher %s: %w", p.cfg.Stage, ctx.Err())
	}
}
