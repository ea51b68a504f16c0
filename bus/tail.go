package bus

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// TailConfig says what to read of a stream.
type TailConfig struct {
	Stream string
	// Filter narrows the stream's subjects; "" means all. Filters does too, for several that do not overlap.
	Filter  string
	Filters []string
	// Since starts at the first message stored at or after this time, Seq at this number of the
	// stream. With neither, reading starts with the next message that is stored.
	Since time.Time
	Seq   uint64
	// HeadersOnly leaves the payloads on the server: Stored.Data is nil.
	HeadersOnly bool
	// ToEnd stops at what is the last message when reading starts, instead of waiting for more.
	ToEnd bool
}

// Stored is a message of a stream.
type Stored struct {
	Subject string
	Data    []byte
	Seq     uint64
	Time    time.Time
	ID      string
}

// Tail reads a stream in order through an ephemeral consumer of its own: no durable
// is disturbed. It calls fn for each message until ctx ends, fn returns an error,
// or the end is reached. A payload that does not decompress ends it with [ErrPayload].
func (b *Bus) Tail(ctx context.Context, cfg TailConfig, fn func(Stored) error) error {
	oc := jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverNewPolicy, HeadersOnly: cfg.HeadersOnly}
	oc.FilterSubjects = cfg.Filters
	if cfg.Filter != "" {
		oc.FilterSubjects = []string{cfg.Filter}
	}
	switch {
	case cfg.Seq > 0:
		oc.DeliverPolicy, oc.OptStartSeq = jetstream.DeliverByStartSequencePolicy, cfg.Seq
	case !cfg.Since.IsZero():
		oc.DeliverPolicy, oc.OptStartTime = jetstream.DeliverByStartTimePolicy, &cfg.Since
	case cfg.ToEnd:
		oc.DeliverPolicy = jetstream.DeliverAllPolicy
	}
	cons, err := b.js.OrderedConsumer(ctx, cfg.Stream, oc)
	if err != nil {
		return fmt.Errorf("read stream %s: %w", cfg.Stream, err)
	}
	if cfg.ToEnd && cons.CachedInfo().NumPending == 0 {
		return nil
	}
	// Callbacks, as in a worker: the iterator drops messages, which an ordered consumer notices half a minute later.
	pull := 256
	if cfg.HeadersOnly {
		pull = 4096
	}
	inner, stop := context.WithCancel(ctx)
	defer stop()
	msgs := make(chan jetstream.Msg)
	var last atomic.Pointer[error]
	cc, err := cons.Consume(func(m jetstream.Msg) {
		select {
		case msgs <- m:
		case <-inner.Done():
		}
	}, jetstream.PullMaxMessages(pull), jetstream.PullExpiry(pullExpiry), jetstream.PullHeartbeat(pullHeartbeat), jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) { last.Store(&err) }))
	if err != nil {
		return fmt.Errorf("read stream %s: %w", cfg.Stream, err)
	}
	defer cc.Stop()
	closed := cc.Closed() // each call of it starts a goroutine that stays
	var c coder
	for {
		var m jetstream.Msg
		select {
		case m = <-msgs:
		case <-ctx.Done():
			return nil
		case <-closed:
			err := errors.New("the server ended the consumption")
			if e := last.Load(); e != nil {
				err = *e
			}
			return fmt.Errorf("read stream %s: %w", cfg.Stream, err)
		}
		s := Stored{Subject: m.Subject(), ID: m.Headers().Get(jetstream.MsgIDHeader)}
		if cfg.HeadersOnly {
			s.Data = nil
		} else if s.Data, err = c.decode(Codec(m.Headers().Get(HeaderCodec)), m.Data()); err != nil {
			return fmt.Errorf("read stream %s: %w", cfg.Stream, err)
		}
		meta, err := m.Metadata()
		if err != nil {
			return fmt.Errorf("read stream %s: %w", cfg.Stream, err)
		}
		s.Seq, s.Time = meta.Sequence.Stream, meta.Timestamp
		if err := fn(s); err != nil {
			return err
		}
		if cfg.ToEnd && meta.NumPending == 0 {
			return nil
		}
	}
}
