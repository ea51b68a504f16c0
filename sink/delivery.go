package sink

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/schemas/alertv1"
	"github.com/gyre-sec/gyre/sink/notify"
	"github.com/gyre-sec/gyre/sink/route"
)

// delivery is the consumer of one output: what it is delivered waits in a group or batch, then in
// the sender's queue, and is acknowledged when the service has it.
type delivery struct {
	cfg      Output
	b        *bus.Bus
	env      notify.Env
	n        notify.Notifier
	routing  *routing
	match    *route.Matcher
	dress    func(*alertv1.Alert) notify.Message
	sender   *notify.Sender
	worker   *bus.Worker
	filtered *prometheus.CounterVec
	lag      lag
	replays  chan replay
	acks     errgroup.Group

	mu     sync.Mutex
	groups *route.Grouper[*flight]
	flying map[alertv1.ID]*flight
	sent   recent
	wake   chan struct{}
}

// flight is an alert that was delivered and is not settled: more than one delivery of it if the server lost patience,
// or if it is in the stream twice.
type flight struct {
	id         alertv1.ID
	deliveries []*bus.Delivery
}

func newDelivery(o Output, b *bus.Bus, r *routing, env notify.Env, reg prometheus.Registerer) (*delivery, error) {
	o = o.withDefaults()
	n, err := o.Settings.(notify.Settings).Open(env) //nolint:forcetypeassert // Validate found it to be one
	if err != nil {
		return nil, err
	}
	d := &delivery{
		cfg: o, b: b, env: env, n: n, routing: r, groups: route.NewGrouper[*flight](o.BatchMax, o.BatchWait), flying: map[alertv1.ID]*flight{}, wake: make(chan struct{}, 1), replays: make(chan replay),
		filtered: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gyre_sink_not_notified_total", Help: "Alerts that an output was not to send.", ConstLabels: prometheus.Labels{"output": o.Name},
		}, []string{"reason"}),
	}
	d.acks.SetLimit(settleMax)
	if err := reg.Register(d.filtered); err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	if d.match, err = o.Compile(); err != nil {
		return nil, err
	}
	if d.dress, err = o.dress(); err != nil {
		return nil, err
	}
	cfg := notify.SenderConfig{Timeout: o.Timeout, MaxBackoff: o.MaxBackoff, GiveUp: o.GiveUpAfter, Rate: o.Rate, Concurrency: o.Concurrency}
	if d.sender, err = notify.NewSender(o.Name, n, cfg, env.Log, reg); err != nil {
		return nil, err
	}
	if err := d.lag.register(o.Name, reg); err != nil {
		return nil, err
	}
	d.worker = b.NewWorker(bus.WorkerConfig{
		Stream: bus.StreamAlerts, Durable: d.durable(), Stage: d.durable(), MaxAckPending: o.Pending, PullMessages: min(o.Pending, 1000), New: !o.FromStart,
	}, d.handle)
	return d, nil
}

const (
	// settleTime bounds how long the server may take to note an acknowledgement, settleMax how many are under way at once.
	settleTime = 5 * time.Second
	settleMax  = 64
)

func (d *delivery) durable() string { return DurablePrefix + d.cfg.Name }

// run delivers until ctx ends. What is not settled then is given back.
func (d *delivery) run(ctx context.Context, h *history) error {
	d.recall(ctx, h)
	sending := make(chan error, 1)
	go func() { sending <- d.sender.Run(ctx) }()
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return d.worker.Run(gctx) })
	g.Go(func() error { return d.flushLoop(gctx) })
	g.Go(func() error { return d.lag.watch(gctx, d) })
	g.Go(func() error { return d.runReplays(gctx) })
	err := g.Wait()
	err = errors.Join(err, <-sending)
	d.mu.Lock()
	rest := d.groups.Drain()
	d.mu.Unlock()
	for _, it := range rest {
		d.settle(ctx, it.Value, errors.New("the sink stops"), true)
	}
	err = errors.Join(err, d.acks.Wait())
	if c, ok := d.n.(io.Closer); ok {
		err = errors.Join(err, c.Close())
	}
	return err
}

// handle takes one alert.
func (d *delivery) handle(_ context.Context, m *bus.Delivery) error {
	a, err := alertv1.Unmarshal(m.Data)
	if err != nil {
		return bus.Permanent(fmt.Errorf("decode alert: %w", err))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if f := d.flying[a.ID]; f != nil {
		m.Defer()
		f.deliveries = append(f.deliveries, m)
		return nil
	}
	now := time.Now()
	group, why := (*route.Group)(nil), ""
	switch {
	case d.sent.has(a.ID):
		why = reasonKnown
	case !d.match.Match(&a):
		why = reasonMatch
	default:
		group, why = d.routing.decide(&a, d.cfg.Name, now)
	}
	if why == "" {
		f := &flight{a.ID, []*bus.Delivery{m}}
		if d.groups.Add(&a, group, f, now) {
			m.Defer()
			d.flying[a.ID] = f
			d.poke()
			return nil
		}
		why = reasonRepeated
	}
	d.filtered.WithLabelValues(why).Inc()
	return nil
}

func (d *delivery) poke() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// flushLoop hands to the sender what is due. When much waits everything is due: otherwise the server, which
// bounds what is not settled, would deliver nothing more.
func (d *delivery) flushLoop(ctx context.Context) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		now := time.Now()
		d.mu.Lock()
		batches, next := d.groups.Due(now, d.groups.Held() >= d.cfg.Pending*3/4)
		d.mu.Unlock()
		for _, items := range batches {
			d.put(ctx, items)
		}
		wait := time.Minute
		if !next.IsZero() {
			wait = max(0, time.Until(next))
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return nil
		case <-d.wake:
		case <-timer.C:
		}
	}
}

func (d *delivery) put(ctx context.Context, items []route.Item[*flight]) {
	var left atomic.Int64
	left.Store(int64(len(items)))
	job := notify.Job{Settle: func(i int, err error) { d.settle(ctx, items[i].Value, err, left.Add(-1) == 0) }}
	for _, it := range items {
		m := d.dress(it.Alert)
		m.Repeats = it.Repeats
		job.Batch = append(job.Batch, m)
	}
	d.sender.Put(job)
}

// settle acknowledges an alert that the service has. For the last of a batch it is made sure that the server knows: it
// takes the acknowledgements of a connection in their order, and what it knows is not sent again.
func (d *delivery) settle(ctx context.Context, f *flight, err error, last bool) {
	d.mu.Lock()
	if d.flying[f.id] == f {
		delete(d.flying, f.id)
	}
	deliveries := f.deliveries
	if err == nil || bus.IsPermanent(err) {
		d.sent.add(f.id, time.Now())
	}
	d.mu.Unlock()
	ctx = context.WithoutCancel(ctx)
	for _, m := range deliveries {
		switch {
		case err == nil && !last:
			m.Ack()
		case err == nil:
			d.acks.Go(func() error { d.ack(ctx, f.id, m); return nil })
		case bus.IsPermanent(err):
			d.acks.Go(func() error { d.bury(ctx, m, err); return nil })
		default:
			m.Retry(0)
		}
	}
}

func (d *delivery) ack(ctx context.Context, id alertv1.ID, m *bus.Delivery) {
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	if err := m.AckSync(ctx); err != nil {
		d.env.Log.Warn("alert sent and not acknowledged: it comes again and is dropped", "alert", id, "err", err)
	}
}

func (d *delivery) bury(ctx context.Context, m *bus.Delivery, err error) {
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	m.Fail(ctx, err)
}
