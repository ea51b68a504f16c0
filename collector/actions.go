package collector

import (
	"context"
	"syscall"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/gyre-sec/gyre/collector/action"
	"github.com/gyre-sec/gyre/collector/decode"
	"github.com/gyre-sec/gyre/collector/proctable"
	"github.com/gyre-sec/gyre/collector/spool"
	"github.com/gyre-sec/gyre/schemas/actionv1"
	"github.com/gyre-sec/gyre/schemas/eventv1"
)

// allowActions makes the executor of response actions, if the configuration names a policy. A recording has no
// processes to act on.
func (c *Collector) allowActions(reg prometheus.Registerer) error {
	if c.cfg.ActionsPolicy == "" || !c.live {
		return nil
	}
	var err error
	c.actions, err = action.New(action.Config{
		Node: c.node, PolicyFile: c.cfg.ActionsPolicy, Protect: c.cfg.ExcludePIDs, Table: c.withTable, Report: c.tellAction,
	}, c.bus, c.log, reg)
	return err
}

// tellAction makes an event of a decided request. The process of the event is the target, if that is one which the table knows.
func (c *Collector) tellAction(r actionv1.Result) {
	err := c.onReader(c.life, func() {
		rec := decode.Record{Kind: eventv1.ResponseAction, Time: c.now()}
		for i, s := range []string{string(r.Action), string(r.Status), r.Reason, r.RequestID.String(), r.Target, r.KeyName} {
			rec.Text[i] = []byte(s)
		}
		if r.Status != actionv1.Executed {
			rec.Ret = -int64(syscall.EPERM)
		}
		var img *proctable.Image
		if id, err := actionv1.ParseExecID(r.Target); err == nil {
			if p := c.table.Lookup(proctable.Key{PID: id.PID, Start: id.Start}); p != nil {
				img, rec.TID = p.Image(), id.PID
			}
		}
		c.metrics.events[rec.Kind].Inc()
		c.batch.add(&rec, img, nil)
	})
	if err != nil {
		c.metrics.lose(spool.ReasonStopped, eventv1.ResponseAction, 1)
	}
}

// act takes requests until ctx ends. Capture goes on without it.
func (c *Collector) act(ctx context.Context) {
	take := func() (struct{}, error) { return struct{}{}, c.actions.Run(ctx) }
	_, _ = backoff.Retry(ctx, take, backoff.WithMaxElapsedTime(0), backoff.WithMaxTries(0), backoff.WithNotify(func(err error, wait time.Duration) {
		c.metrics.errors.WithLabelValues("response actions").Inc()
		c.log.Warn("response actions are not available", "err", err, "wait", wait)
	}))
}

// ReloadActions reads the policy for response actions again; on an error the one in force stays.
func (c *Collector) ReloadActions(ctx context.Context) error {
	if c.actions == nil {
		return nil
	}
	return c.actions.Reload(ctx)
}

// onReader runs a function on the reading goroutine, to which the process table and the batch belong, and returns when it has run.
func (c *Collector) onReader(ctx context.Context, do func()) error {
	done := make(chan struct{})
	select {
	case c.asks <- func() { defer close(done); do() }:
		<-done // it was taken: it runs
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *Collector) withTable(ctx context.Context, use func(*proctable.Table)) error {
	return c.onReader(ctx, func() { use(c.table) })
}

// answer runs what others ask of the reading goroutine.
func (c *Collector) answer() {
	for {
		select {
		case ask := <-c.asks:
			ask()
		default:
			return
		}
	}
}
