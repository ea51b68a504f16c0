package bus

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/gyre-sec/gyre/schemas/subject"
)

// Headers of a dead letter, beside those that the message had.
const (
	HeaderReason        = "Gyre-Reason"
	HeaderStage         = "Gyre-Stage"
	HeaderOriginSubject = "Gyre-Origin-Subject"
	HeaderOriginStream  = "Gyre-Origin-Stream"
	HeaderOriginSeq     = "Gyre-Origin-Seq"
)

// Handler does the work of one message. nil means that it is done, unless the
// handler called [Delivery.Defer]. An error marked by [Permanent] dead-letters the
// message; any other has it delivered again later.
type Handler func(ctx context.Context, d *Delivery) error

// WorkerConfig describes a work loop. Workers with the same Stream and Durable share the work.
type WorkerConfig struct {
	Stream, Durable string
	// Stage names the worker in metrics, logs and the DEAD stream.
	Stage string
	// Filter narrows the stream's subjects; "" means all.
	Filter string
	// Concurrency is how many handlers run at once; 0 means 1.
	Concurrency int
	// MaxAckPending bounds messages out and not acknowledged, over all workers of the durable; 0 means 512.
	MaxAckPending int
	// PullMessages and PullBytes bound what one pull asks for; 0 means 64 and 8 MiB.
	PullMessages, PullBytes int
	// AckWait is after how long an unacknowledged message is delivered again; 0 means 10 s.
	AckWait time.Duration
	// New starts a durable that does not exist at the end of the stream rather than at its start.
	New bool
	// Start, if set, starts a durable that does not exist at the first message stored at or after this time.
	Start time.Time
	// Metadata is kept with a durable that does not exist.
	Metadata map[string]string
}

// Worker consumes a durable. Make one with [Bus.NewWorker].
type Worker struct {
	b      *Bus
	cfg    WorkerConfig
	coder  coder
	handle Handler
	dead   *Publisher
	ready  atomic.Pointer[error]
}

// States of a worker that is not consuming; never changed.
var (
	errStarting = errors.New("not started")
	errStopped  = errors.New("stopped")
)

// NewWorker returns a worker that calls handle; start it with [Worker.Run].
func (b *Bus) NewWorker(cfg WorkerConfig, handle Handler) *Worker {
	def := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	def(&cfg.Concurrency, 1)
	def(&cfg.MaxAckPending, 512)
	def(&cfg.PullMessages, 64)
	def(&cfg.PullBytes, 8<<20)
	if cfg.AckWait <= 0 {
		cfg.AckWait = 10 * time.Second
	}
	w := &Worker{b: b, cfg: cfg, handle: handle, dead: b.NewPublisher(PublisherConfig{Stage: cfg.Stage + "-dead", Codec: None})}
	w.ready.Store(&errStarting)
	return w
}

// Ready tells whether the worker is consuming.
func (w *Worker) Ready() error {
	if e := w.ready.Load(); e != nil {
		return *e
	}
	return nil
}

// Run consumes until ctx ends, then waits for the handlers that run. Deliveries that were
// deferred belong to their owner, who settles them. It returns nil on a clean stop.
func (w *Worker) Run(ctx context.Context) error {
	cons, err := w.consumer(ctx)
	if err != nil {
		return err
	}
	msgs := make(chan jetstream.Msg)
	var handlers sync.WaitGroup
	for range w.cfg.Concurrency {
		handlers.Go(func() {
			for m := range msgs {
				w.one(ctx, m)
			}
		})
	}
	go w.watchLimits(ctx, cons)
	err = w.pull(ctx, cons, msgs)
	close(msgs)
	handlers.Wait()
	w.ready.Store(&errStopped)
	return err
}

// consumer makes or updates the durable, trying again while the server is away.
func (w *Worker) consumer(ctx context.Context) (jetstream.Consumer, error) {
	cc := jetstream.ConsumerConfig{
		Durable: w.cfg.Durable, AckPolicy: jetstream.AckExplicitPolicy, AckWait: w.cfg.AckWait, MaxDeliver: -1,
		MaxAckPending: w.cfg.MaxAckPending, FilterSubject: w.cfg.Filter, DeliverPolicy: jetstream.DeliverAllPolicy,
	}
	cc.Metadata = w.cfg.Metadata
	switch {
	case !w.cfg.Start.IsZero():
		cc.DeliverPolicy, cc.OptStartTime = jetstream.DeliverByStartTimePolicy, &w.cfg.Start
	case w.cfg.New:
		cc.DeliverPolicy = jetstream.DeliverNewPolicy
	}
	for {
		cons, err := w.b.js.Consumer(ctx, w.cfg.Stream, w.cfg.Durable)
		switch {
		case err == nil:
			have := cons.CachedInfo().Config
			if have.AckWait == cc.AckWait && have.MaxAckPending == cc.MaxAckPending && have.FilterSubject == cc.FilterSubject {
				return cons, nil
			}
			have.AckWait, have.MaxAckPending, have.FilterSubject = cc.AckWait, cc.MaxAckPending, cc.FilterSubject
			cons, err = w.b.js.UpdateConsumer(ctx, w.cfg.Stream, have)
		case errors.Is(err, jetstream.ErrConsumerNotFound):
			cons, err = w.b.js.CreateOrUpdateConsumer(ctx, w.cfg.Stream, cc)
		}
		if err == nil {
			return cons, nil
		}
		var api *jetstream.APIError
		if errors.As(err, &api) && api.Code == 400 {
			return nil, fmt.Errorf("make consumer %s on %s: %w", w.cfg.Durable, w.cfg.Stream, err)
		}
		w.ready.Store(&err)
		w.b.log.Warn("consumer not available", "stream", w.cfg.Stream, "consumer", w.cfg.Durable, "err", err)
		if !sleep(ctx, time.Second) {
			return nil, nil
		}
	}
}

// pull consumes until ctx ends. The callback form of the client is used: its iterator keeps
// messages in a channel of just the pull's size, and drops some when the server's status messages
// come on top (nats.go v1.55, seen as a stall of AckWait).
func (w *Worker) pull(ctx context.Context, cons jetstream.Consumer, msgs chan<- jetstream.Msg) error {
	for cons != nil && ctx.Err() == nil {
		err := w.consume(ctx, cons, msgs)
		if ctx.Err() != nil {
			break
		}
		w.ready.Store(&err)
		w.b.log.Warn("consumer interrupted", "stream", w.cfg.Stream, "consumer", w.cfg.Durable, "err", err)
		if !sleep(ctx, 500*time.Millisecond) {
			break
		}
		if cons, err = w.consumer(ctx); err != nil {
			return err
		}
	}
	return nil
}

// The client asks for more when a message comes and no request is being sent. If all that it asked for is handled before the
// goroutine that sent the request says that it is done, nobody asks again (nats.go v1.55, pull.go, checkPending) until two
// heartbeats are missing: half a minute with the defaults, seen about once in 100,000 messages on a busy machine.
const (
	pullHeartbeat = 500 * time.Millisecond // the least that the client takes
	pullExpiry    = 10 * time.Second
)

// consume hands over messages until ctx ends or the consumption fails. What was pulled and not handed over is given back.
func (w *Worker) consume(ctx context.Context, cons jetstream.Consumer, msgs chan<- jetstream.Msg) error {
	var last atomic.Pointer[error]
	received := w.b.metrics.received.WithLabelValues(w.cfg.Stage)
	cc, err := cons.Consume(func(m jetstream.Msg) {
		received.Inc()
		select {
		case <-ctx.Done():
		default:
			select {
			case msgs <- m:
				return
			case <-ctx.Done():
			}
		}
		_ = m.Nak() // delivered again after AckWait if this does not arrive
	}, jetstream.PullMaxMessagesWithBytesLimit(w.cfg.PullMessages, w.cfg.PullBytes), jetstream.PullExpiry(pullExpiry), jetstream.PullHeartbeat(pullHeartbeat), jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) {
		last.Store(&err)
		w.b.log.Debug("pull", "stream", w.cfg.Stream, "consumer", w.cfg.Durable, "err", err)
	}))
	if err != nil {
		return err
	}
	w.ready.Store(nil)
	select {
	case <-ctx.Done():
		cc.Drain()
		<-cc.Closed()
		return nil
	case <-cc.Closed():
		if e := last.Load(); e != nil {
			return *e
		}
		return errors.New("the server ended the consumption")
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (w *Worker) one(ctx context.Context, m jetstream.Msg) {
	d := &Delivery{w: w, m: m, codec: Codec(m.Headers().Get(HeaderCodec))}
	if meta, err := m.Metadata(); err == nil {
		d.Seq, d.Delivered, d.Stored = meta.Sequence.Stream, meta.NumDelivered, meta.Timestamp
	}
	data, err := w.coder.decode(d.codec, m.Data())
	if err != nil {
		d.Fail(ctx, Permanent(err))
		return
	}
	d.Data = data
	d.mu.Lock() // the timer's function reads d.beat
	d.beat = time.AfterFunc(w.cfg.AckWait/2, d.inProgress)
	d.mu.Unlock()
	if err = w.call(ctx, d); d.deferred {
		return
	}
	if err != nil {
		d.Fail(ctx, err)
		return
	}
	d.Ack()
}

// call runs the handler; a panic is the fault of the message, which will give it again.
func (w *Worker) call(ctx context.Context, d *Delivery) (err error) {
	defer func() {
		if r := recover(); r != nil {
			w.b.log.Error("handler panicked", "stage", w.cfg.Stage, "subject", d.Subject(), "seq", d.Seq, "err", fmt.Sprint(r), "stack", string(debug.Stack()))
			d.deferred = false
			err = Permanent(fmt.Errorf("handler panicked: %v", r))
		}
	}()
	return w.handle(ctx, d)
}

// watchLimits notices messages that the stream's limits removed before the durable got them.
func (w *Worker) watchLimits(ctx context.Context, cons jetstream.Consumer) {
	if cons == nil {
		return
	}
	for sleep(ctx, 5*time.Second) {
		lost, err := w.b.missed(ctx, w.cfg.Stream, cons)
		if err == nil {
			w.b.metrics.lost.WithLabelValues(w.cfg.Stage, "stream_limits").Set(float64(lost))
		}
	}
}

// Delivery is a message in the hands of a handler. Exactly one of Ack, Retry and
// Fail settles it; later ones do nothing.
type Delivery struct {
	// Data is the payload, decompressed. It belongs to the handler.
	Data []byte
	// Seq is the stream's number, Delivered how often the message was delivered, Stored when the stream took it.
	Seq       uint64
	Delivered uint64
	Stored    time.Time

	w        *Worker
	m        jetstream.Msg
	codec    Codec
	deferred bool

	mu      sync.Mutex
	beat    *time.Timer
	settled bool
}

// Subject is the subject that the message was published to.
func (d *Delivery) Subject() string { return d.m.Subject() }

// Header returns a header, "" if there is none.
func (d *Delivery) Header(name string) string { return d.m.Headers().Get(name) }

// ID is the message's Nats-Msg-Id.
func (d *Delivery) ID() string { return d.m.Headers().Get(jetstream.MsgIDHeader) }

// Defer makes the handler, which calls it before it returns, or whom it hands the
// delivery to, settle it later: when the output is stored. Until then it is kept from being delivered again.
func (d *Delivery) Defer() { d.deferred = true }

func (d *Delivery) settle() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.settled {
		return false
	}
	d.settled = true
	if d.beat != nil {
		d.beat.Stop()
	}
	return true
}

// inProgress keeps a message that is being worked on from being delivered again.
func (d *Delivery) inProgress() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.settled {
		_ = d.m.InProgress() // if it does not arrive the message comes again, which outputs bear
		d.beat.Reset(d.w.cfg.AckWait / 2)
	}
}

// Ack says that the work is done and its output stored.
func (d *Delivery) Ack() {
	if d.settle() {
		if err := d.m.Ack(); err == nil { // an ack that is lost means a redelivery, which outputs bear
			d.w.b.metrics.acked.WithLabelValues(d.w.cfg.Stage).Inc()
		}
	}
}

// AckSync is as Ack, and waits until the server has it: a message whose AckSync returned nil is never
// delivered again. After an error it may be.
func (d *Delivery) AckSync(ctx context.Context) error {
	if !d.settle() {
		return nil
	}
	if err := d.m.DoubleAck(ctx); err != nil {
		return fmt.Errorf("acknowledge message %d: %w", d.Seq, err)
	}
	d.w.b.metrics.acked.WithLabelValues(d.w.cfg.Stage).Inc()
	return nil
}

// Retry gives the message back; it is delivered again after delay.
func (d *Delivery) Retry(delay time.Duration) {
	if d.settle() {
		d.w.b.metrics.retried.WithLabelValues(d.w.cfg.Stage).Inc()
		_ = d.m.NakWithDelay(delay) // as for Ack
	}
}

// Fail dead-letters the message if err is permanent, and gives it back otherwise, later each time.
func (d *Delivery) Fail(ctx context.Context, err error) {
	if !IsPermanent(err) {
		d.w.b.log.Warn("message will be tried again", "stage", d.w.cfg.Stage, "subject", d.Subject(), "seq", d.Seq, "delivered", d.Delivered, "err", err)
		d.Retry(retryDelay(d.Delivered))
		return
	}
	header := map[string]string{
		HeaderReason: oneLine(err.Error()), HeaderStage: d.w.cfg.Stage, HeaderOriginSubject: d.Subject(), HeaderOriginStream: d.w.cfg.Stream,
		HeaderOriginSeq: strconv.FormatUint(d.Seq, 10),
	}
	if d.codec != "" {
		header[HeaderCodec] = string(d.codec)
	}
	dead := Message{Subject: subject.Dead(d.w.cfg.Stage), ID: d.w.cfg.Stage + "/" + d.w.cfg.Stream + "/" + strconv.FormatUint(d.Seq, 10), Data: d.m.Data(), Header: header}
	if perr := d.w.dead.Publish(ctx, dead); perr != nil {
		d.w.b.log.Error("dead letter not stored", "stage", d.w.cfg.Stage, "subject", d.Subject(), "seq", d.Seq, "err", perr)
		d.Retry(retryDelay(d.Delivered))
		return
	}
	if d.settle() {
		d.w.b.metrics.dead.WithLabelValues(d.w.cfg.Stage).Inc()
		d.w.b.log.Error("message dead-lettered", "stage", d.w.cfg.Stage, "subject", d.Subject(), "seq", d.Seq, "err", err)
		_ = d.m.TermWithReason(oneLine(err.Error())) // it is in DEAD: a redelivery is deduplicated there
	}
}

// retryDelay doubles from 100 ms to 30 s, with jitter.
func retryDelay(delivered uint64) time.Duration {
	d := 100 * time.Millisecond << min(max(delivered, 1)-1, 9)
	d = min(d, 30*time.Second)
	return d/2 + rand.N(d) //nolint:gosec // jitter
}

// oneLine makes a text fit a header.
func oneLine(s string) string {
	out := []byte(s)
	for i, c := range out {
		if c < ' ' || c == 0x7f {
			out[i] = ' '
		}
	}
	return string(out[:min(len(out), 1024)])
}
