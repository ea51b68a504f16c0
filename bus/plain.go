package bus

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Plain is a connection to a NATS server that is none of the pipeline's: an output's. It makes no streams.
type Plain struct {
	b         *Bus
	jetStream bool
}

// Dial tries to connect for as long as cfg says, and goes on trying afterwards: the server may be away now and come later. Only the connection's settings of cfg count.
// With jetStream each message must be stored by a stream of the server; otherwise it is flushed to the server.
func Dial(cfg Config, jetStream bool) (*Plain, error) {
	b := &Bus{cfg: cfg}
	opts, err := b.options(nil)
	if err != nil {
		return nil, err
	}
	quiet := []nats.Option{
		nats.RetryOnFailedConnect(true), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}),
		nats.DisconnectErrHandler(func(*nats.Conn, error) {}), nats.ReconnectHandler(func(*nats.Conn) {}),
	}
	if b.nc, err = nats.Connect(cfg.URL, append(opts, quiet...)...); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConnect, err)
	}
	if b.js, err = jetstream.New(b.nc); err != nil {
		b.nc.Close()
		return nil, fmt.Errorf("%w: %w", ErrConnect, err)
	}
	return &Plain{b, jetStream}, nil
}

// Publish sends messages. nil means that the server has all of them.
func (p *Plain) Publish(ctx context.Context, msgs ...Message) error {
	if err := p.b.Ready(); err != nil {
		return err // the client knows what the server can only once it was connected
	}
	for _, m := range msgs {
		msg := &nats.Msg{Subject: m.Subject, Data: m.Data, Header: nats.Header{}}
		if m.ID != "" {
			msg.Header.Set(jetstream.MsgIDHeader, m.ID)
		}
		for k, v := range m.Header {
			msg.Header.Set(k, v)
		}
		var err error
		if p.jetStream {
			_, err = p.b.js.PublishMsg(ctx, msg)
		} else {
			err = p.b.nc.PublishMsg(msg)
		}
		if err != nil {
			err = fmt.Errorf("publish to %s: %w", m.Subject, err)
			if p.b.final(err) {
				return Permanent(err)
			}
			return err
		}
	}
	if p.jetStream {
		return nil
	}
	if _, ok := ctx.Deadline(); !ok { // the client insists on one
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, p.b.cfg.PublishTimeout)
		defer cancel()
	}
	if err := p.b.nc.FlushWithContext(ctx); err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	return nil
}

// Close closes the connection.
func (p *Plain) Close() error {
	p.b.nc.Close()
	return nil
}
