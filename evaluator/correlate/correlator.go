package correlate

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/evaluator/ruleset"
	"github.com/gyre-sec/gyre/schemas/alertv1"
	"github.com/gyre-sec/gyre/schemas/subject"
)

const (
	stage = "correlate"
	// tick is how often windows are looked at that wait for time to go on.
	tick = 250 * time.Millisecond
	// quietTime is without how long a signal the stream is taken to be read to its end, and how far behind the wall clock
	// windows then follow: what is being stored now must not be later than they are.
	quietTime = time.Second
	// grace is how long storing may take at the end.
	grace = 3 * time.Second
	// idleMessages is how far a partition without signals may fall behind before its position is stored anyway.
	idleMessages = 50_000
)

// Correlator reads signals and raises alerts. Any number of them share the partitions. Make one with [New].
type Correlator struct {
	cfg   Config
	bus   *bus.Bus
	rules func() *ruleset.Set
	log   *slog.Logger
	m     *metrics
	pub   *bus.Publisher
	me    string
	ready atomic.Pointer[error]

	// What follows belongs to the goroutine of Run.
	kv       *bus.KV
	members  *members
	budget   *Budget
	owned    map[int]*partition
	wanted   map[int]time.Time // since when a partition is waited for that another one has
	set      *ruleset.Set
	messages chan bus.Stored
	stopTail func()
	last     time.Time    // when the last signal came
	failed   atomic.Int64 // alerts that were not stored because the program ends
	pctx     context.Context
}

var errStarting = errors.New("correlator: no partition is owned yet")

// New returns a correlator for the correlation rules of what rules returns, which may change.
func New(cfg Config, b *bus.Bus, rules func() *ruleset.Set, log *slog.Logger, reg prometheus.Registerer) *Correlator {
	c := &Correlator{
		cfg: cfg, bus: b, rules: rules, log: log, m: newMetrics(reg), members: newMembers(), budget: NewBudget(cfg.limits()),
		pub: b.NewPublisher(bus.PublisherConfig{Stage: stage}), owned: map[int]*partition{}, wanted: map[int]time.Time{}, messages: make(chan bus.Stored), stopTail: func() {},
	}
	c.me = name()
	c.ready.Store(&errStarting)
	return c
}

// Name tells this correlator from the others.
func (c *Correlator) Name() string { return c.me }

// name is that of this correlator, another one each time.
func name() string {
	host, _ := os.Hostname()
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails
	return subject.Token(host) + "-" + hex.EncodeToString(b[:])
}

// Ready tells whether the correlator takes part.
func (c *Correlator) Ready() error {
	if p := c.ready.Load(); p != nil {
		return *p
	}
	return nil
}

// Run correlates until ctx ends, then stores the state and gives the partitions to the others.
func (c *Correlator) Run(ctx context.Context) error {
	for {
		err := c.run(ctx)
		if ctx.Err() != nil {
			return nil
		}
		c.ready.Store(&err)
		c.log.Warn("correlation interrupted", "err", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
}

func (c *Correlator) run(ctx context.Context) error {
	kv, err := c.bus.KV(ctx, bus.BucketCorrelate)
	if err != nil {
		return fmt.Errorf("open the state of correlation: %w", err)
	}
	c.kv = kv
	pctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	c.pctx = pctx
	g, gctx := errgroup.WithContext(ctx)
	known := make(chan struct{})
	g.Go(func() error { return c.members.watch(gctx, kv, func() { close(known) }) })
	g.Go(func() error { return c.live(gctx) })
	g.Go(func() error {
		select {
		case <-known:
		case <-gctx.Done():
			return nil
		}
		err := c.loop(gctx)
		time.AfterFunc(grace, cancel)
		c.leave(pctx)
		return err
	})
	return g.Wait()
}

// live gives signs of life.
func (c *Correlator) live(ctx context.Context) error {
	every := time.NewTicker(c.cfg.Lease / 4)
	defer every.Stop()
	for {
		if _, err := c.kv.Put(ctx, memberPrefix+c.me, []byte(c.me)); err != nil && ctx.Err() == nil {
			c.log.Warn("sign of life not stored", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-every.C:
		}
	}
}

// loop does everything that touches the windows.
func (c *Correlator) loop(ctx context.Context) error {
	every := time.NewTicker(tick)
	defer every.Stop()
	c.last = time.Now()
	changed := true
	for {
		if changed {
			if err := c.rebalance(ctx); err != nil {
				return err
			}
			changed = false
		}
		select {
		case <-ctx.Done():
			return nil
		case m := <-c.messages:
			c.take(m)
		case <-c.members.changed:
			changed = true
		case now := <-every.C:
			if err := c.tick(ctx, now); err != nil {
				return err
			}
			changed = true
		}
	}
}

// rebalance claims and gives up partitions so that everyone has those that fall to it.
func (c *Correlator) rebalance(ctx context.Context) error {
	set := c.rules()
	if set == nil {
		return nil
	}
	now := time.Now()
	if set != c.set {
		c.set = set
		for _, p := range c.owned {
			p.engine.SetRules(set, now.UnixNano())
		}
	}
	alive := c.members.alive(now, c.cfg.Lease)
	if !alive[c.me] {
		if len(c.owned) > 0 {
			c.log.Warn("no sign of life of this correlator arrives, its partitions go to others")
		}
		return nil // the own sign of life is under way; what is owned is fenced if others take it
	}
	c.m.members.Set(float64(len(alive)))
	moved := false
	for n := range subject.SignalPartitions {
		mine := chosen(alive, n) == c.me
		p := c.owned[n]
		switch {
		case p != nil && !mine:
			if err := c.store(ctx, p, true); err != nil && !errors.Is(err, errFenced) {
				return err
			}
			c.drop(p)
			moved = true
		case p == nil && mine:
			got, err := c.tryClaim(ctx, n, alive, now)
			if err != nil {
				return err
			}
			moved = moved || got
		default:
			delete(c.wanted, n)
		}
	}
	c.m.partitions.Set(float64(len(c.owned)))
	if moved {
		c.read(ctx)
	}
	if len(c.owned) > 0 || len(alive) > subject.SignalPartitions {
		c.ready.Store(nil)
	}
	return nil
}

// tryClaim takes a partition if nobody has it who lives; one who does is waited for as long as a lease, to store its state.
func (c *Correlator) tryClaim(ctx context.Context, n int, alive map[string]bool, now time.Time) (bool, error) {
	since, waiting := c.wanted[n]
	if !waiting {
		c.wanted[n] = now
		since = now
	}
	h, revision, err := owner(ctx, c.kv, n)
	if err != nil {
		return false, err
	}
	if h.owner != "" && h.owner != c.me && alive[h.owner] && now.Sub(since) < c.cfg.Lease {
		return false, nil
	}
	p, err := claim(ctx, c.kv, n, c.me, h, revision, c.budget, c.set, now.UnixNano())
	switch {
	case errors.Is(err, errFenced):
		return false, nil
	case err != nil:
		return false, err
	}
	delete(c.wanted, n)
	c.owned[n] = p
	return true, nil
}

func (c *Correlator) drop(p *partition) {
	p.engine.Close()
	delete(c.owned, p.n)
}

// read starts reading the partitions that are owned, from the oldest of their positions.
func (c *Correlator) read(ctx context.Context) {
	c.stopTail()
	if len(c.owned) == 0 {
		c.stopTail = func() {}
		return
	}
	cfg := bus.TailConfig{Stream: bus.StreamSignals, Seq: ^uint64(0)}
	for _, p := range c.owned {
		cfg.Seq = min(cfg.Seq, p.seen+1)
		cfg.Filters = append(cfg.Filters, subject.SignalFilter(p.n))
	}
	if len(c.owned) == subject.SignalPartitions {
		cfg.Filters = nil
	}
	tctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	c.stopTail = func() { cancel(); <-done }
	out := c.messages
	go func() {
		defer close(done)
		for tctx.Err() == nil {
			err := c.bus.Tail(tctx, cfg, func(m bus.Stored) error {
				select {
				case out <- m:
				case <-tctx.Done():
				}
				cfg.Seq = m.Seq + 1
				return nil
			})
			if tctx.Err() == nil {
				c.log.Warn("signals not read, trying again", "err", err)
				select {
				case <-tctx.Done():
				case <-time.After(time.Second):
				}
			}
		}
	}()
}

// take gives a message to its partition.
func (c *Correlator) take(m bus.Stored) {
	c.last = time.Now()
	n, _, err := subject.ParseSignal(m.Subject)
	p := c.owned[n]
	if err != nil || p == nil || m.Seq <= p.seen {
		return
	}
	p.seen = m.Seq
	signals, err := SplitSignals(m.Data)
	if err != nil {
		c.m.bad.Inc()
		c.bury(m, err)
		return
	}
	for _, s := range signals {
		p.engine.Add(s, m.Time.UnixNano(), c.raise)
	}
}

// bury dead-letters what is no signal.
func (c *Correlator) bury(m bus.Stored, reason error) {
	dead := bus.Message{
		Subject: subject.Dead(stage), ID: fmt.Sprintf("%s/%d", stage, m.Seq), Data: m.Data,
		Header: map[string]string{bus.HeaderReason: fmt.Sprintf("%.200q", reason.Error()), bus.HeaderStage: stage, bus.HeaderOriginSubject: m.Subject, bus.HeaderOriginStream: bus.StreamSignals, bus.HeaderOriginSeq: fmt.Sprint(m.Seq)},
	}
	if err := c.pub.PublishAsync(c.pctx, dead, c.published); err != nil {
		c.published(err)
	}
}

// raise publishes an alert.
func (c *Correlator) raise(a *alertv1.Alert) {
	data, err := a.Marshal()
	if err == nil {
		err = c.pub.PublishAsync(c.pctx, bus.Message{Subject: subject.Alert(a.Priority.String(), a.RuleID, a.Node), ID: a.ID.String(), Data: data}, c.published)
	}
	if err != nil {
		c.published(err)
	}
}

func (c *Correlator) published(err error) {
	switch {
	case err == nil:
	case bus.IsPermanent(err):
		c.m.lost.Inc()
		c.log.Error("alert not stored", "err", err)
	default:
		c.failed.Add(1)
	}
}

// tick moves the clocks of windows that no signal moves, and stores what has changed.
func (c *Correlator) tick(ctx context.Context, now time.Time) error {
	if now.Sub(c.last) >= quietTime && c.bus.Ready() == nil {
		clock := now.Add(-quietTime).UnixNano()
		for _, p := range c.owned {
			p.engine.Advance(clock, c.raise)
		}
	}
	var newest uint64
	for _, p := range c.owned {
		newest = max(newest, p.seen)
	}
	for _, p := range c.owned {
		if newest-p.seen > idleMessages {
			p.seen = newest // they are read in order: what it has not got by now is not there
		}
		due := now.Sub(p.saved) >= c.cfg.Snapshot
		if (p.engine.dirty || p.seen != p.head.seq) && due {
			if err := c.store(ctx, p, false); errors.Is(err, errFenced) {
				c.m.conflicts.Inc()
				c.log.Warn("another correlator has taken a partition", "partition", p.n)
				c.drop(p)
			} else if err != nil {
				return err
			}
		}
	}
	c.m.from(c.budget)
	for _, id := range c.members.gone(now, c.cfg.Lease) {
		if err := c.kv.Delete(ctx, memberPrefix+id); err != nil && ctx.Err() == nil {
			c.log.Debug("entry of a dead correlator not deleted", "err", err)
		}
	}
	return nil
}

// store writes a partition's state when all alerts so far are stored.
func (c *Correlator) store(ctx context.Context, p *partition, release bool) error {
	start := time.Now()
	if err := c.pub.Flush(ctx); err != nil {
		return err
	}
	if c.failed.Load() > 0 {
		return errors.New("alerts could not be stored")
	}
	seq := p.head.seq
	p.head.seq = p.seen
	size, err := p.save(ctx, c.kv, release)
	if err != nil {
		p.head.seq = seq
		if errors.Is(err, errFenced) {
			return err
		}
		return fmt.Errorf("store the state of partition %d: %w", p.n, err)
	}
	c.m.snapshots.Inc()
	c.m.snapshotBytes.Set(float64(size))
	c.m.seconds.Observe(time.Since(start).Seconds())
	return nil
}

// leave stores everything and gives it to the others.
func (c *Correlator) leave(ctx context.Context) {
	c.stopTail()
	for _, p := range c.owned {
		if err := c.store(ctx, p, true); err != nil && !errors.Is(err, errFenced) {
			c.log.Warn("state of correlation not stored at the end, signals are read again", "partition", p.n, "err", err)
		}
		c.drop(p)
	}
	c.failed.Store(0)
	c.m.from(c.budget)
	if err := c.kv.Delete(ctx, memberPrefix+c.me); err != nil {
		c.log.Debug("own sign of life not deleted", "err", err)
	}
}
