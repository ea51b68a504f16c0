package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

// ErrNobody says: no program answers on the subject.
var ErrNobody = errors.New("nobody answers")

// headerError carries the error of an answer.
const headerError = "Gyre-Error"

// Answer calls handle for each request on subject until ctx ends. Requests are not stored: who asks waits for
// the answer. What handle returns as an error is the error of [Bus.Ask].
//
// With a queue, one of the programs that answer on the subject with the same queue gets each request; with "" all do.
func (b *Bus) Answer(ctx context.Context, subject, queue string, handle func(ctx context.Context, data []byte) ([]byte, error)) error {
	reqs := make(chan *nats.Msg, 16)
	sub, err := b.nc.ChanQueueSubscribe(subject, queue, reqs)
	if err != nil {
		return fmt.Errorf("answer on %s: %w", subject, err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	for {
		select {
		case <-ctx.Done():
			return nil
		case m := <-reqs:
			reply := &nats.Msg{}
			out, err := handle(ctx, m.Data)
			if reply.Data = out; err != nil {
				reply.Header = nats.Header{headerError: {oneLine(err.Error())}}
			}
			if err := m.RespondMsg(reply); err != nil {
				b.log.Debug("answer not sent", "subject", subject, "err", err)
			}
		}
	}
}

// Ask sends a request and returns the first answer. It returns [ErrNobody] when no program listens.
func (b *Bus) Ask(ctx context.Context, subject string, data []byte) ([]byte, error) {
	m, err := b.nc.RequestWithContext(ctx, subject, data)
	if errors.Is(err, nats.ErrNoResponders) {
		return nil, fmt.Errorf("ask on %s: %w", subject, ErrNobody)
	}
	if err != nil {
		return nil, fmt.Errorf("ask on %s: %w", subject, err)
	}
	if e := m.Header.Get(headerError); e != "" {
		return nil, errors.New(e)
	}
	return m.Data, nil
}

// AskAll sends a request and returns every answer that comes within wait.
func (b *Bus) AskAll(ctx context.Context, subject string, data []byte, wait time.Duration) ([][]byte, error) {
	inbox := b.nc.NewInbox()
	sub, err := b.nc.SubscribeSync(inbox)
	if err != nil {
		return nil, fmt.Errorf("ask on %s: %w", subject, err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := b.nc.PublishRequest(subject, inbox, data); err != nil {
		return nil, fmt.Errorf("ask on %s: %w", subject, err)
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	var out [][]byte
	for {
		m, err := sub.NextMsgWithContext(ctx)
		switch {
		case errors.Is(err, nats.ErrNoResponders), ctx.Err() != nil:
			return out, nil
		case err != nil:
			return out, fmt.Errorf("ask on %s: %w", subject, err)
		case m.Header.Get(headerError) == "":
			out = append(out, m.Data)
		}
	}
}
