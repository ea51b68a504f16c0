// Package collector is the stage that runs on every node, with privileges: it reads
// raw records from a [Source], keeps the process table, makes batches that explain
// themselves and publishes them.
//
// The loop that reads never waits for NATS or the disk: batches go through a bounded
// spool, in memory and, if a directory is given, on disk behind it. What is lost is
// counted: in the kernel per kind, in the spool per batch; both are in the metrics and
// in the Lost table of the next batch. Delivery to the stream is at least once under
// an id that makes repetitions harmless. Batches are stored in their order as long as
// nothing fails; after a failure up to InFlight of them, and what had to wait on disk,
// may be stored in another one, which their sequence numbers tell.
//
// It holds no policy: no rules, no Kubernetes, no storage.
package collector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/gyre-sec/gyre/bpf"
	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/collector/action"
	"github.com/gyre-sec/gyre/collector/decode"
	"github.com/gyre-sec/gyre/collector/dnsname"
	"github.com/gyre-sec/gyre/collector/exehash"
	"github.com/gyre-sec/gyre/collector/policy"
	"github.com/gyre-sec/gyre/collector/probe"
	"github.com/gyre-sec/gyre/collector/procfs"
	"github.com/gyre-sec/gyre/collector/proctable"
	"github.com/gyre-sec/gyre/collector/spool"
	"github.com/gyre-sec/gyre/schemas/eventv1"
	"github.com/gyre-sec/gyre/schemas/factv1"
	"github.com/gyre-sec/gyre/schemas/subject"
)

// SourceName is the source of all events of this collector, a part of their subject.
const SourceName = "syscall"

// Collector is the stage of one node. Make it with [New].
type Collector struct {
	cfg           Config
	node          string
	src           Source
	bus           *bus.Bus
	log           *slog.Logger
	metrics       *metrics
	host          procfs.Host
	spool         buffer
	pub           *bus.Publisher
	ready         atomic.Bool
	inForce       atomic.Pointer[inForce]
	policyChanged chan struct{}
	dropped       atomic.Uint64    // events in batches that were dropped, not reported yet
	actions       *action.Executor // nil without a policy
	containers    *containers
	cloud         atomic.Pointer[factv1.Cloud]      // nil until the metadata service has answered
	life          context.Context                   // of a run; ends when reading does
	asks          chan func()                       // for the reading goroutine
	hasher        *exehash.Hasher[*proctable.Image] // nil if it is off
	names         *dnsname.Table                    // nil if it is off, or this process may not listen

	// Of the reading goroutine.
	dec      *decode.Decoder
	table    *proctable.Table
	batch    *batcher
	counters bpf.Counters
	polled   time.Time
	records  uint64
	live     bool
	capture  capture
	muted    map[proctable.Key]bool // processes that were put onto the mute list when they ran already
	lookup   chan proctable.Key
	found    chan proctable.Facts
}

// New returns a collector that reads from src. Run closes src. What needs privileges is opened here: the program may give them up before Run.
func New(cfg Config, src Source, b *bus.Bus, log *slog.Logger, reg prometheus.Registerer) (*Collector, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	node, err := cfg.node()
	if err != nil {
		return nil, err
	}
	limits := proctable.DefaultConfig()
	limits.MaxProcesses = cfg.MaxProcs
	c := &Collector{
		cfg: cfg, node: node, src: src, bus: b, log: log, metrics: newMetrics(reg),
		dec: decode.New(), table: proctable.New(limits),
		pub:    b.NewPublisher(bus.PublisherConfig{Stage: "collector", MaxMessages: cfg.InFlight}),
		live:   src.Mode() != "recorded",
		lookup: make(chan proctable.Key, 1024), found: make(chan proctable.Facts, 1024), asks: make(chan func()),
		muted: map[proctable.Key]bool{}, policyChanged: make(chan struct{}, 1), containers: newContainers(),
	}
	c.inForce.Store(&inForce{})
	c.spool = c.newSpool(reg)
	if cfg.Hash.Enabled && c.live {
		c.hasher = exehash.New[*proctable.Image](cfg.Hash, reg)
	}
	if cfg.DNS.Enabled && c.live {
		c.names = dnsname.New(cfg.DNS, reg)
		c.listenDNS()
	}
	return c, c.allowActions(reg)
}

// Node is the name of the node.
func (c *Collector) Node() string { return c.node }

// Ready reports whether events are being read.
func (c *Collector) Ready() error {
	if !c.ready.Load() {
		return errors.New("capture has not started")
	}
	return nil
}

// Run reads, batches and publishes until ctx ends, or the source does. It sends what is left for at most the
// configured time and returns nil after a clean stop.
func (c *Collector) Run(ctx context.Context) error {
	if err := c.start(); err != nil {
		return errors.Join(err, c.src.Close())
	}
	// Publishing outlives ctx so that what was read before the stop is sent; stop ends it.
	out, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	helpers, end := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- c.publish(out) }()
	c.life = helpers
	parts := c.helpers(helpers)

	err := c.seed()
	if err == nil {
		c.ready.Store(true)
		c.log.Info("capturing", "host", c.node, "mode", c.src.Mode(), "count", c.table.Len())
		if r, ok := c.src.(interface{ Report() probe.Report }); ok && len(r.Report().Missing) > 0 {
			c.log.Warn("this kernel does not show some calls", "missing", strings.Join(r.Report().Missing, " "))
		}
		// What loading the programs and the first look at all processes took is not needed again.
		free := time.AfterFunc(freeAfter, debug.FreeOSMemory)
		err = c.src.Read(ctx, c.record, c.idle)
		free.Stop()
		c.ready.Store(false)
	}
	c.poll(c.now())
	c.batch.flush()
	end()
	parts.Wait()
	c.spool.Close()
	timer := time.AfterFunc(c.cfg.StopTimeout, stop)
	perr := <-done
	timer.Stop()
	stop()
	c.settle(context.WithoutCancel(ctx))
	if d := c.spool.Discard(); d.Batches > 0 {
		c.drop(d)
		c.log.Warn("stopped before everything was sent", "count", d.Events)
	}
	if errors.Is(perr, context.Canceled) {
		perr = nil
	}
	return errors.Join(err, perr, c.src.Close())
}

// freeAfter is how long after the start memory is given back.
const freeAfter = time.Second

// start fixes the identity of this run.
func (c *Collector) start() error {
	h := eventv1.Header{Node: c.node, Source: SourceName, BootTime: procfs.BootTime()}
	var err error
	if c.live {
		h.BootID, err = c.host.BootID()
	} else {
		// Playing a recording twice gives new events, not repetitions: each run is a boot of its own.
		h.BootID = uuid.NewString()
	}
	if err == nil {
		err = c.openSpool()
	}
	if err != nil {
		return err
	}
	c.batch = newBatcher(c.cfg, h, uint64(procfs.SinceBoot()), c.emit)
	if c.live && c.cfg.Containers.Enabled {
		c.batch.notice = c.containers.notice
	}
	if c.hasher != nil {
		c.batch.sum = c.exeSum
	}
	if c.names != nil {
		c.batch.names = c.names.Name
	}
	c.polled = time.Now()
	return c.applyPolicy(&c.cfg.Capture, policy.Groups(c.cfg.Capture.Mute.Cgroups))
}

// seed fills the process table with what runs already.
func (c *Collector) seed() error {
	err := c.src.Seed(func(raw, cmdline []byte) error {
		r, err := c.dec.Decode(raw)
		if err != nil || !r.HasImage {
			c.metrics.errors.WithLabelValues("seed").Inc()
			return nil
		}
		f := r.Image.Facts()
		if len(f.Args) == 0 {
			f.Args = procfs.SplitArgs(cmdline)
		}
		c.table.Add(f)
		return nil
	})
	if err != nil {
		return fmt.Errorf("seed process table: %w", err)
	}
	c.table.Link()
	if k, ok := c.src.(controls); ok && len(c.capture.Mute.Exes) > 0 {
		return c.mutePresent(k)
	}
	return nil
}

// record takes one raw record.
func (c *Collector) record(raw []byte) {
	r, err := c.dec.Decode(raw)
	if err != nil {
		c.metrics.lose(reasonMalformed, 0, 1)
		c.batch.lose(0, 1)
		return
	}
	if c.records++; c.records%1024 == 0 {
		c.idle() // the source may never be idle
	}
	if c.records == 1 && !c.live {
		c.rebase(r)
	}
	img, child := c.apply(r)
	c.metrics.events[r.Kind].Inc()
	c.batch.add(r, img, child)
	if r.Kind == eventv1.ProcExit {
		c.table.Exit(r.Task.Key, r.Time)
		c.batch.exited(img)
	}
}

// rebase makes the first event of a recording happen now, by moving the boot: all other times are relative to that.
func (c *Collector) rebase(r *decode.Record) {
	c.batch.header.BootTime = time.Now().UnixNano() - r.Time
	c.batch.reset()
}

// now is the time since boot in the clock of the records.
func (c *Collector) now() int64 {
	if c.live {
		return procfs.SinceBoot()
	}
	return time.Now().UnixNano() - c.batch.header.BootTime
}

// apply brings the process table up to a record and returns the images that the event is about.
func (c *Collector) apply(r *decode.Record) (img, child *proctable.Image) {
	if r.HasImage && r.Kind.IsExec() && r.Ret >= 0 {
		f := r.Image.Facts()
		f.Env = c.allowedEnv(f.Env)
		return c.table.Exec(r.Task.Key, f).Image(), nil
	}
	p := c.table.Observe(&r.Task)
	switch r.Kind {
	case eventv1.Chdir:
		c.change(p, r.Kind, r.Ret, r.Text[eventv1.ChdirPath])
	case eventv1.Fchdir:
		c.change(p, r.Kind, r.Ret, r.Text[eventv1.FchdirPath])
	case eventv1.Setsid:
		c.change(p, r.Kind, r.Ret, nil)
	}
	img = p.Image()
	if r.Child.PID != 0 {
		ch := &r.Child
		child = c.table.Fork(p, ch.Key, func(f *proctable.Facts) {
			f.Row.VPID, f.Row.PidNS, f.Row.ExecCount = ch.VPID, ch.PidNS, ch.ExecCount
			if ch.KernelThread {
				f.Row.Flags |= eventv1.ProcKernelThread
			}
		}).Image()
	}
	return img, child
}

// pollEvery is how often counters are read and ended processes forgotten.
const pollEvery = time.Second

// idle runs when there is no record for the moment.
func (c *Collector) idle() {
	now := c.now()
	c.batch.due(now)
	c.answer()
	c.tellSums()
	for more := true; more; {
		select {
		case f := <-c.found:
			c.table.Complete(f)
		default:
			more = false
		}
	}
	for _, k := range c.table.TakeMissing() {
		select {
		case c.lookup <- k:
		default: // too many at once: those stay incomplete, and say so
		}
	}
	if time.Since(c.polled) >= pollEvery {
		c.poll(now)
		c.batch.report(now)
	}
}

// poll reads the kernel's counters and adjusts to the wall clock.
func (c *Collector) poll(now int64) {
	c.polled = time.Now()
	c.table.Reap(now)
	c.metrics.processes.Set(float64(c.table.Len()))
	c.metrics.evicted.Set(float64(c.table.Evicted()))
	c.metrics.spoolBytes.Set(float64(c.spool.Bytes()))
	if t := procfs.BootTime(); c.live && max(t-c.batch.header.BootTime, c.batch.header.BootTime-t) > int64(time.Millisecond) {
		c.batch.flush() // one batch, one base
		c.batch.header.BootTime = t
		c.batch.reset()
	}
	if n := c.dropped.Swap(0); n > 0 {
		c.batch.lose(0, n)
	}
	k, err := c.src.Counters()
	if err != nil {
		c.metrics.errors.WithLabelValues("read counters").Inc()
		return
	}
	for i := range k.Full {
		full, busy := k.Full[i]-c.counters.Full[i], k.Busy[i]-c.counters.Busy[i]
		if full > 0 {
			c.metrics.lose(reasonRing, eventv1.Kind(i), full)
		}
		if busy > 0 {
			c.metrics.lose(reasonScratch, eventv1.Kind(i), busy)
		}
		if full+busy > 0 {
			c.batch.lose(eventv1.Kind(i), full+busy)
		}
		c.metrics.keepBack(eventv1.Kind(i), k.Muted[i]-c.counters.Muted[i], k.Folded[i]-c.counters.Folded[i])
	}
	c.counters = k
}

// emit hands an encoded batch to the spool.
func (c *Collector) emit(it spool.Item, data []byte) {
	it.Data = append(c.spool.Buffer(), data...)
	c.metrics.batches.Inc()
	c.metrics.bytes.Add(float64(len(data)))
	c.drop(c.spool.Put(it))
}

// drop counts batches that will not be sent.
func (c *Collector) drop(d spool.Drop) {
	if d.Batches == 0 {
		return
	}
	c.metrics.lose(d.Reason, 0, d.Events-d.Told)
	c.dropped.Add(d.Events)
}

// publish sends what the spool holds until it is closed and empty, or ctx ends.
func (c *Collector) publish(ctx context.Context) error {
	to := subject.Event(SourceName, c.node)
	for {
		it, err := c.spool.Next(ctx)
		if errors.Is(err, spool.ErrClosed) {
			return c.pub.Flush(ctx)
		}
		if err != nil {
			return err
		}
		err = c.pub.PublishAsync(ctx, bus.Message{Subject: to, ID: it.ID, Data: it.Data}, func(err error) { c.published(it, err) })
		if err != nil {
			c.published(it, err)
		}
	}
}

// published ends an item's way. The publisher tries again for ever: an error here is final, or the end.
func (c *Collector) published(it spool.Item, err error) {
	switch {
	case err == nil:
		c.spool.Done(it)
	case !bus.IsPermanent(err):
		c.drop(c.spool.Return(it))
	default:
		c.metrics.errors.WithLabelValues("publish").Inc()
		c.log.Error("batch was not stored", "count", it.Events, "seq", it.First, "err", err)
		c.drop(c.spool.Refuse(it, reasonRefused))
	}
}
