package bus

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/nats-io/nats.go/jetstream"
)

// ReadConfig says which part of a stream [Bus.Read] reads.
type ReadConfig struct {
	Stream string
	// Filters narrow the stream's subjects; none means all.
	Filters []string
	// FromSeq starts at this number of the stream, FromTime at the first message stored at or after
	// this time; with neither, reading starts at the first message, or with Follow at the next one that is stored.
	FromSeq  uint64
	FromTime time.Time
	// ToSeq is the last number that is read, ToTime the time before which messages were stored; zero values set no
	// bound. Without Follow reading ends at what is the last message when it begins.
	ToSeq  uint64
	ToTime time.Time
	// Follow waits for more messages until a bound is passed or ctx ends.
	Follow bool
}

// Packed is a message of a stream as it is stored: Data is compressed as Codec says, see [Unpacker].
type Packed struct {
	Subject, ID string
	Codec       Codec
	Data        []byte
	Seq         uint64
	Time        time.Time
}

// Bounds is what a stream holds.
type Bounds struct {
	FirstSeq, LastSeq   uint64
	FirstTime, LastTime time.Time
	Messages            uint64
}

// Bounds asks for what a stream holds now.
func (b *Bus) Bounds(ctx context.Context, stream string) (Bounds, error) {
	s, err := b.js.Stream(ctx, stream)
	if err != nil {
		return Bounds{}, fmt.Errorf("look up stream %s: %w", stream, err)
	}
	st := s.CachedInfo().State
	return Bounds{st.FirstSeq, st.LastSeq, st.FirstTime, st.LastTime, st.Msgs}, nil
}

// Pulls of a reader: what is asked for at once, and how much of it may wait.
const (
	readMessages = 1024
	readBytes    = 8 << 20
)

// Read reads a part of a stream in order through an ephemeral consumer of its own: no durable is
// disturbed. It calls fn for each message until the end of the part, an error of fn, or the end of ctx, which is
// no error. Data is valid for as long as it is kept.
func (b *Bus) Read(ctx context.Context, cfg ReadConfig, fn func(Packed) error) error {
	oc := jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy, FilterSubjects: cfg.Filters}
	switch {
	case cfg.FromSeq > 0:
		oc.DeliverPolicy, oc.OptStartSeq = jetstream.DeliverByStartSequencePolicy, cfg.FromSeq
	case !cfg.FromTime.IsZero():
		oc.DeliverPolicy, oc.OptStartTime = jetstream.DeliverByStartTimePolicy, &cfg.FromTime
	case cfg.Follow:
		oc.DeliverPolicy = jetstream.DeliverNewPolicy
	}
	last := cfg.ToSeq
	if !cfg.Follow {
		bounds, err := b.Bounds(ctx, cfg.Stream)
		if err != nil {
			return err
		}
		if last == 0 || bounds.LastSeq < last {
			last = bounds.LastSeq
		}
		if last == 0 || cfg.FromSeq > last {
			return nil
		}
	}
	cons, err := b.js.OrderedConsumer(ctx, cfg.Stream, oc)
	if err != nil {
		return fmt.Errorf("read stream %s: %w", cfg.Stream, err)
	}
	if !cfg.Follow && cons.CachedInfo().NumPending == 0 {
		return nil
	}
	inner, stop := context.WithCancel(ctx)
	defer stop()
	msgs := make(chan jetstream.Msg)
	var failed atomic.Pointer[error]
	cc, err := cons.Consume(func(m jetstream.Msg) {
		select {
		case msgs <- m:
		case <-inner.Done():
		}
	}, jetstream.PullMaxMessagesWithBytesLimit(readMessages, readBytes), jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) { failed.Store(&err) }))
	if err != nil {
		return fmt.Errorf("read stream %s: %w", cfg.Stream, err)
	}
	defer cc.Stop()
	closed := cc.Closed() // each call of it starts a goroutine that stays
	for {
		var m jetstream.Msg
		select {
		case m = <-msgs:
		case <-ctx.Done():
			return nil
		case <-closed:
			err := errors.New("the server ended the consumption")
			if e := failed.Load(); e != nil {
				err = *e
			}
			return fmt.Errorf("read stream %s: %w", cfg.Stream, err)
		}
		meta, err := m.Metadata()
		if err != nil {
			return fmt.Errorf("read stream %s: %w", cfg.Stream, err)
		}
		seq := meta.Sequence.Stream
		if last > 0 && seq > last || !cfg.ToTime.IsZero() && !meta.Timestamp.Before(cfg.ToTime) {
			return nil
		}
		p := Packed{
			Subject: m.Subject(), ID: m.Headers().Get(jetstream.MsgIDHeader), Codec: Codec(m.Headers().Get(HeaderCodec)),
			Data: m.Data(), Seq: seq, Time: meta.Timestamp,
		}
		if err := fn(p); err != nil {
			return err
		}
		if last > 0 && seq >= last || !cfg.Follow && meta.NumPending == 0 {
			return nil
		}
	}
}

// Unpacker decompresses payloads into memory that it reuses. It is not safe for concurrent use.
type Unpacker struct {
	c   coder
	buf []byte
}

// Unpack returns the payload of p, valid until the next call. Errors wrap [ErrPayload].
func (u *Unpacker) Unpack(p Packed) ([]byte, error) {
	if p.Codec != S2 {
		return u.c.decode(p.Codec, p.Data)
	}
	n, err := s2.DecodedLen(p.Data)
	if err != nil || n > maxDecoded {
		return u.c.decode(p.Codec, p.Data) // says what is wrong
	}
	if n > cap(u.buf) {
		u.buf = make([]byte, n, n+n/2)
	}
	out, err := s2.Decode(u.buf[:cap(u.buf)], p.Data)
	if err != nil {
		return nil, fmt.Errorf("%w: s2: %w", ErrPayload, err)
	}
	return out, nil
}
