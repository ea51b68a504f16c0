package backtest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/daemon"
	"github.com/gyre-sec/gyre/evaluator"
	"github.com/gyre-sec/gyre/evaluator/ruleset"
	"github.com/gyre-sec/gyre/schemas/subject"
)

// Cluster hands the ranges of a replay to the evaluators that run, and puts together what they find in the order of the stream: the
// result is that of a replay in one process. An evaluator that ends meanwhile has its range asked of another.
type Cluster struct {
	Bus *bus.Bus
	// After and Before are what the sets of the replay are made of; Before is nil without one.
	After, Before *evaluator.Bundle
	// Where is the condition of [Config.Where] as text.
	Where string
	// Range is read from ENRICHED. It must have a last number.
	Range bus.ReadConfig
	// Parallel is how many ranges are asked for at once.
	Parallel int

	answered atomic.Bool
}

const (
	rangeMessages = 256              // of one request
	rangeWait     = 30 * time.Second // for an answer; evaluators answer after a few seconds
	rangeTries    = 20
)

// key stores a bundle in the bucket of replays, under its digest.
func (c *Cluster) key(ctx context.Context, kv *bus.KV, b *evaluator.Bundle) (string, error) {
	data, err := squeeze(b)
	if err != nil {
		return "", err
	}
	if limit := c.Bus.MaxPayload(); limit > 0 && len(data) > limit-1024 {
		return "", fmt.Errorf("the rules are %d bytes compressed, the server takes %d: replay without --on cluster", len(data), limit)
	}
	sum := sha256.Sum256(data)
	key := "bundle." + hex.EncodeToString(sum[:16])
	_, err = kv.Put(ctx, key, data)
	return key, err
}

// first is the number of the first message of the range, 0 if there is none.
func (c *Cluster) first(ctx context.Context) (uint64, error) {
	var seq uint64
	found := errors.New("found")
	err := c.Bus.Read(ctx, c.Range, func(p bus.Packed) error {
		seq = p.Seq
		return found
	})
	if errors.Is(err, found) {
		err = nil
	}
	return seq, err
}

// chunk is a range on its way.
type chunk struct {
	from, to uint64
	jobs     []*job
	err      error
	done     chan struct{}
}

// RunOn is [Run] on the evaluators of a cluster.
func RunOn(ctx context.Context, c *Cluster, cfg Config) (*State, error) {
	return run(ctx, cfg, func(ctx context.Context, r *replay) error { return r.ask(ctx, c) })
}

// ask asks for ranges, several at once, and takes what is found in their order.
func (r *replay) ask(ctx context.Context, c *Cluster) error {
	kv, err := c.Bus.KV(ctx, bus.BucketReplays)
	if err != nil {
		return err
	}
	t := task{
		V: taskVersion, AllFalco: r.cfg.AllFalco, Where: c.Where, Nodes: r.cfg.Nodes, Filters: c.Range.Filters, ToTime: c.Range.ToTime,
		Alerts: r.cfg.Each != nil, Rate: r.cfg.Rate / float64(c.Parallel),
	}
	if t.After, err = c.key(ctx, kv, c.After); err != nil {
		return err
	}
	if c.Before != nil {
		if t.Before, err = c.key(ctx, kv, c.Before); err != nil {
			return err
		}
	}
	from, err := c.first(ctx)
	if err != nil || from == 0 {
		return err
	}
	rules := [2]map[string]*ruleset.Rule{rulesOf(r.cfg.Before), rulesOf(r.cfg.After)}
	inner, stop := context.WithCancel(ctx)
	defer stop()
	order := make(chan *chunk, 2*c.Parallel)
	room := make(chan struct{}, c.Parallel)
	go func() {
		defer close(order)
		for from <= c.Range.ToSeq {
			x := &chunk{from: from, to: min(from+rangeMessages-1, c.Range.ToSeq), done: make(chan struct{})}
			from = x.to + 1
			select {
			case room <- struct{}{}:
			case <-inner.Done():
				return
			}
			go func() {
				defer close(x.done)
				x.jobs, x.err = r.part(inner, c, t, x, rules)
				<-room
			}()
			select {
			case order <- x:
			case <-inner.Done():
				return
			}
		}
	}()
	last := time.Now()
	for x := range order {
		<-x.done
		if x.err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return x.err
		}
		for _, j := range x.jobs {
			if err := r.take(j); err != nil {
				return err
			}
		}
		if r.cfg.Checkpoint != nil && time.Since(last) > checkpointEvery {
			if err := r.cfg.Checkpoint(r.state); err != nil {
				return err
			}
			last = time.Now()
		}
	}
	return nil
}

// part asks for a range until all of it is answered.
func (r *replay) part(ctx context.Context, c *Cluster, t task, x *chunk, rules [2]map[string]*ruleset.Rule) ([]*job, error) {
	var out []*job
	for t.From, t.To = x.from, x.to; ; {
		p, err := c.request(ctx, &t)
		if err != nil {
			return nil, fmt.Errorf("evaluate messages %d to %d on the cluster: %w", t.From, t.To, err)
		}
		if err := r.sameRules(p); err != nil {
			return nil, err
		}
		for i := range p.Jobs {
			j, err := p.Jobs[i].unpack(rules)
			if err != nil {
				return nil, err
			}
			out = append(out, j)
		}
		if p.Next <= t.From { // all of it; an evaluator that gets nowhere has an answer all the same
			return out, nil
		}
		t.From = p.Next
	}
}

// request asks one evaluator, and another if it does not answer.
func (c *Cluster) request(ctx context.Context, t *task) (*part, error) {
	data, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	return backoff.Retry(ctx, func() (*part, error) {
		inner, cancel := context.WithTimeout(ctx, rangeWait)
		defer cancel()
		answer, err := c.Bus.Ask(inner, subject.ControlReplay(), data)
		switch {
		case errors.Is(err, bus.ErrNobody):
			err = daemon.Hint(errors.New("no evaluator answers"), "start one of this release, or replay without --on cluster")
			if !c.answered.Load() {
				err = backoff.Permanent(err)
			}
			return nil, err
		case inner.Err() != nil, c.Bus.Ready() != nil:
			return nil, fmt.Errorf("no answer in %s: %w", rangeWait, errors.Join(err, inner.Err()))
		case err != nil:
			return nil, backoff.Permanent(err)
		}
		c.answered.Store(true)
		var p part
		if err := unsqueeze(answer, &p); err != nil {
			return nil, backoff.Permanent(fmt.Errorf("read answer: %w", err))
		}
		if p.Again {
			return nil, errors.New("the evaluator that was asked has ended")
		}
		return &p, nil
	}, backoff.WithMaxTries(rangeTries), backoff.WithMaxElapsedTime(0))
}

// sameRules refuses what an evaluator of another release makes of the rules.
func (r *replay) sameRules(p *part) error {
	for i, set := range [2]*ruleset.Set{r.cfg.Before, r.cfg.After} {
		if set != nil && set.Digest() != p.Digests[i] {
			return daemon.Hint(fmt.Errorf("an evaluator has the digest %s for rules that are %s here", p.Digests[i], set.Digest()), "use the release of gyre that the evaluators run, or replay without --on cluster")
		}
	}
	return nil
}
