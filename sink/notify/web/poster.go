package web

import (
	"context"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/sink/notify"
)

// Poster is the Notifier of services that take one request for a batch, or one for each alert.
type Poster struct {
	Client *Client
	// Build makes the request. Its errors are permanent.
	Build func(batch []notify.Message) (Request, error)
	// Check looks into an answer with a good status; nil if the status says it all.
	Check func(answer []byte, batch []notify.Message) error
	// Each sends each alert in a request of its own.
	Each bool
	// Failed, if not nil, looks into an answer with a bad status and may return a better error than err.
	Failed func(answer []byte, err error) error
}

var _ notify.Notifier = (*Poster)(nil)

// Notify sends the batch.
func (p *Poster) Notify(ctx context.Context, batch []notify.Message) error {
	if p.Each {
		return notify.Each(ctx, batch, func(ctx context.Context, m *notify.Message) error { return p.post(ctx, []notify.Message{*m}) })
	}
	return p.post(ctx, batch)
}

func (p *Poster) post(ctx context.Context, batch []notify.Message) error {
	r, err := p.Build(batch)
	if err != nil {
		return bus.Permanent(err)
	}
	answer, err := p.Client.Do(ctx, r)
	switch {
	case err != nil && p.Failed != nil:
		return p.Failed(answer, err)
	case err != nil:
		return err
	case p.Check != nil:
		return p.Check(answer, batch)
	}
	return nil
}
