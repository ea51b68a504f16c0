package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// StreamStatus is the state of a stream.
type StreamStatus struct {
	Name      string           `json:"name"`
	Messages  uint64           `json:"messages"`
	Bytes     uint64           `json:"bytes"`
	MaxBytes  int64            `json:"max_bytes"`
	MaxAge    time.Duration    `json:"max_age_ns"`
	FirstSeq  uint64           `json:"first_seq"`
	LastSeq   uint64           `json:"last_seq"`
	FirstTime time.Time        `json:"first_time"`
	LastTime  time.Time        `json:"last_time"`
	Consumers []ConsumerStatus `json:"consumers"`
}

// ConsumerStatus is the state of a durable consumer.
type ConsumerStatus struct {
	Name string `json:"name"`
	// Lag is how many messages have not been delivered yet, AckPending how many are delivered and not acknowledged.
	Lag         uint64 `json:"lag"`
	AckPending  int    `json:"ack_pending"`
	Redelivered int    `json:"redelivered"`
	// Lost is how many messages the stream's limits removed before they were delivered, as far as can be seen now.
	Lost uint64 `json:"lost"`
}

// Status reports on all streams in the order of the flow; one that does not exist is left out.
func (b *Bus) Status(ctx context.Context) ([]StreamStatus, error) {
	var out []StreamStatus
	for _, name := range StreamNames() {
		s, err := b.js.Stream(ctx, name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("look up stream %s: %w", name, err)
		}
		info := s.CachedInfo()
		st := StreamStatus{
			Name: name, Messages: info.State.Msgs, Bytes: info.State.Bytes, MaxBytes: info.Config.MaxBytes, MaxAge: info.Config.MaxAge,
			FirstSeq: info.State.FirstSeq, LastSeq: info.State.LastSeq, FirstTime: info.State.FirstTime, LastTime: info.State.LastTime,
		}
		list := s.ListConsumers(ctx)
		for c := range list.Info() {
			if c.Config.Durable == "" {
				continue
			}
			st.Consumers = append(st.Consumers, ConsumerStatus{
				Name: c.Name, Lag: c.NumPending, AckPending: c.NumAckPending, Redelivered: c.NumRedelivered, Lost: behind(info, c),
			})
		}
		if err := list.Err(); err != nil {
			return nil, fmt.Errorf("list consumers of %s: %w", name, err)
		}
		out = append(out, st)
	}
	return out, nil
}

// behind counts messages that were removed before c got them.
func behind(s *jetstream.StreamInfo, c *jetstream.ConsumerInfo) uint64 {
	if first := s.State.FirstSeq; first > c.Delivered.Stream+1 && c.Delivered.Stream > 0 {
		return first - c.Delivered.Stream - 1
	}
	return 0
}

func (b *Bus) missed(ctx context.Context, stream string, cons jetstream.Consumer) (uint64, error) {
	s, err := b.js.Stream(ctx, stream)
	if err != nil {
		return 0, err
	}
	c, err := cons.Info(ctx)
	if err != nil {
		return 0, err
	}
	return behind(s.CachedInfo(), c), nil
}
