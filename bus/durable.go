package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Durable is the position of a durable consumer.
type Durable struct {
	Name string `json:"name"`
	// AckFloor is the stream's number up to which every message is settled, Last that of the stream's last message.
	AckFloor uint64 `json:"ack_floor"`
	Last     uint64 `json:"last"`
	// Lag is how many messages have not been delivered yet, AckPending how many are delivered and not acknowledged.
	Lag         uint64            `json:"lag"`
	AckPending  int               `json:"ack_pending"`
	Redelivered int               `json:"redelivered"`
	PausedUntil time.Time         `json:"paused_until,omitzero"`
	Metadata    map[string]string `json:"metadata,omitempty"`
}

// Paused tells whether the server holds the consumer's messages back now.
func (d Durable) Paused() bool { return time.Now().Before(d.PausedUntil) }

func durable(info *jetstream.ConsumerInfo, last uint64) Durable {
	d := Durable{
		Name: info.Name, AckFloor: info.AckFloor.Stream, Last: last, Lag: info.NumPending, AckPending: info.NumAckPending, Redelivered: info.NumRedelivered,
		Metadata: info.Config.Metadata,
	}
	if info.Paused {
		d.PausedUntil = time.Now().Add(info.PauseRemaining)
	}
	return d
}

// Durables lists the durable consumers of a stream whose names start with prefix.
func (b *Bus) Durables(ctx context.Context, stream, prefix string) ([]Durable, error) {
	s, err := b.js.Stream(ctx, stream)
	if err != nil {
		return nil, fmt.Errorf("look up stream %s: %w", stream, err)
	}
	var out []Durable
	list := s.ListConsumers(ctx)
	for c := range list.Info() {
		if c.Config.Durable != "" && strings.HasPrefix(c.Name, prefix) {
			out = append(out, durable(c, s.CachedInfo().State.LastSeq))
		}
	}
	if err := list.Err(); err != nil {
		return nil, fmt.Errorf("list consumers of %s: %w", stream, err)
	}
	return out, nil
}

// Durable returns the position of one durable, or [ErrNotFound].
func (b *Bus) Durable(ctx context.Context, stream, name string) (Durable, error) {
	s, err := b.js.Stream(ctx, stream)
	if err != nil {
		return Durable{}, fmt.Errorf("look up stream %s: %w", stream, err)
	}
	c, err := s.Consumer(ctx, name)
	if err != nil {
		return Durable{}, durableError("look up", stream, name, err)
	}
	return durable(c.CachedInfo(), s.CachedInfo().State.LastSeq), nil
}

func durableError(what, stream, name string, err error) error {
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		err = ErrNotFound
	}
	return fmt.Errorf("%s consumer %s of %s: %w", what, name, stream, err)
}

// Pause has the server deliver nothing to a durable until then. Its position stays.
func (b *Bus) Pause(ctx context.Context, stream, name string, until time.Time) error {
	if _, err := b.js.PauseConsumer(ctx, stream, name, until); err != nil {
		return durableError("pause", stream, name, err)
	}
	return nil
}

// Resume ends a pause.
func (b *Bus) Resume(ctx context.Context, stream, name string) error {
	if _, err := b.js.ResumeConsumer(ctx, stream, name); err != nil {
		return durableError("resume", stream, name, err)
	}
	return nil
}

// DeleteDurable deletes a durable with its position. One that is not there is no error.
func (b *Bus) DeleteDurable(ctx context.Context, stream, name string) error {
	if err := b.js.DeleteConsumer(ctx, stream, name); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return durableError("delete", stream, name, err)
	}
	return nil
}

// LastSeq is the number of the last message of a stream.
func (b *Bus) LastSeq(ctx context.Context, stream string) (uint64, error) {
	s, err := b.js.Stream(ctx, stream)
	if err != nil {
		return 0, fmt.Errorf("look up stream %s: %w", stream, err)
	}
	return s.CachedInfo().State.LastSeq, nil
}
