// Package action carries out response actions on this node: it takes signed requests
// from the ACTIONS stream, decides by the node's own policy file, acts, and says what
// became of each request on the RESULTS stream and to a callback.
//
// Nothing is allowed without a policy file, and nothing that comes over NATS can
// change what is allowed. A request is carried out at most once: it must be signed by
// a key that the policy trusts, name this node, be within its validity, be new, and be
// issued after this executor started, because what was accepted before is not known any more.
//
// A process is held by a pidfd from before it is identified until after it is
// signalled, so a pid that another process got in between is never hit. Process 1,
// threads of the kernel, this process and what the policy protects are never hit.
package action

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/collector/procfs"
	"github.com/gyre-sec/gyre/collector/proctable"
	"github.com/gyre-sec/gyre/schemas/actionv1"
	"github.com/gyre-sec/gyre/schemas/subject"
)

// Config says what an executor works for.
type Config struct {
	Node string
	// PolicyFile is the node's policy, see [LoadPolicy].
	PolicyFile string
	// Protect are processes of the pipeline itself, beside this one.
	Protect []uint32
	// Table runs a function on the process table while nobody else uses it, and returns when it has; nil means that
	// there is no table: what /proc tells must do.
	Table func(ctx context.Context, use func(*proctable.Table)) error
	// Report is called once for each request that was decided, from one goroutine.
	Report func(actionv1.Result)
}

// Executor decides requests. Make it with [New].
type Executor struct {
	cfg     Config
	bus     *bus.Bus
	log     *slog.Logger
	metrics *metrics
	boot    string
	started time.Time
	now     func() time.Time
	fs      procfs.FS

	policy atomic.Pointer[Policy]
	reload sync.Mutex
	tried  [32]byte // what the policy file looked like before it was last read
	seen   seen
	rate   limiter
	idle   limiter
}

// maxIdle bounds the results per minute of messages that are no valid new request: anyone who may publish can send them,
// or send again what others signed.
const maxIdle = 60

// New reads the policy and returns an executor; a policy that is not valid is an error, one that is not there allows nothing.
func New(cfg Config, b *bus.Bus, log *slog.Logger, reg prometheus.Registerer) (*Executor, error) {
	boot, err := procfs.Host{}.BootID()
	if err != nil {
		return nil, err
	}
	e := &Executor{
		cfg: cfg, bus: b, log: log, metrics: newMetrics(reg), boot: boot, started: time.Now(), now: time.Now, fs: procfs.New("/proc"),
		seen: seen{byID: map[actionv1.ID]decided{}},
	}
	e.tried = e.look()
	if err := e.Reload(context.Background()); err != nil { //nolint:contextcheck // reading a file takes no context
		return nil, err
	}
	if e.policy.Load().empty() {
		log.Warn("no response action is allowed", "file", cfg.PolicyFile, "reason", "the policy is not there, or allows nothing")
	}
	return e, nil
}

// Run takes requests until ctx ends.
func (e *Executor) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() { e.follow(ctx) })
	defer wg.Wait()
	out := e.bus.NewPublisher(bus.PublisherConfig{Stage: "actions"})
	return e.bus.NewWorker(bus.WorkerConfig{
		Stream: bus.StreamActions, Durable: Durable(e.cfg.Node), Stage: "actions", Filter: subject.Action(e.cfg.Node), MaxAckPending: 64, New: true,
	}, func(ctx context.Context, d *bus.Delivery) error { return e.handle(ctx, d, out) }).Run(ctx)
}

// Durable is the name of the consumer of a node's requests.
func Durable(node string) string { return "actions-" + subject.Token(node) }

// handle takes one message. It is acknowledged when its result is stored.
func (e *Executor) handle(ctx context.Context, d *bus.Delivery, out *bus.Publisher) error {
	r, wait, ok := e.Decide(ctx, d.Data, d.Seq)
	if wait > 0 {
		d.Retry(wait)
		return nil
	}
	if !ok {
		return nil
	}
	id := fmt.Sprintf("%s/%d/%d", e.cfg.Node, d.Stored.UnixNano(), d.Seq) // of the message: an id in it proves nothing
	m := bus.Message{Subject: subject.ActionResult(e.cfg.Node), ID: id, Data: r.Marshal()}
	err := out.Publish(ctx, m)
	if err != nil && ctx.Err() != nil { // a shutdown: what was done is told all the same
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWait)
		defer cancel()
		err = out.Publish(late, m)
	}
	return err
}

// lastWait is how long a shutdown waits for a result to be stored.
const lastWait = 2 * time.Second

// Decide decides about one message and carries out what it asks for. seq is the number of the message on its stream:
// the same number is the same message delivered again, and gets the same result. A wait means that the request is
// not valid yet and shall be given again then; false means that it is not worth a result. It is for one goroutine.
func (e *Executor) Decide(ctx context.Context, message []byte, seq uint64) (r actionv1.Result, wait time.Duration, ok bool) {
	now := e.now()
	policy := e.policy.Load()
	r = actionv1.Result{Node: e.cfg.Node, Status: actionv1.Refused, When: now.UnixNano(), Digest: actionv1.DigestOf(message)}
	req, key, err := authenticate(message, policy)
	r.RequestID, r.Action, r.Target, r.Why, r.KeyID = req.ID, clip(req.Action), clip(req.Target), clip(req.Reason), clip(req.KeyID)
	if err == nil {
		r.KeyName = key
		if before, again := e.seen.find(req.ID, seq, r.Digest); again {
			return before, 0, true
		}
		if wait, err = e.admit(&req, now); wait > 0 {
			return r, wait, false
		}
	}
	if err == nil {
		err = e.seen.add(&req, seq, r.Digest, now)
	}
	if err != nil {
		if !e.idle.allow(now, maxIdle) {
			e.metrics.unreported.Inc()
			return r, 0, false
		}
		e.conclude(&r, err)
		return r, 0, true
	}
	// What was begun is ended: a process that was stopped to be killed must not stay so because of a shutdown.
	err = e.execute(context.WithoutCancel(ctx), &req, key, policy, &r)
	e.conclude(&r, err)
	e.seen.conclude(req.ID, r)
	return r, 0, true
}

func clip[S ~string](s S) S { return s[:min(len(s), actionv1.MaxText)] }

// conclude completes the result of a decision and reports it.
func (e *Executor) conclude(r *actionv1.Result, err error) {
	r.Status, r.Code = actionv1.Executed, ""
	if err != nil {
		p := asProblem(err)
		r.Status, r.Code, r.Reason = p.status, p.code, p.reason
	}
	e.metrics.decided.WithLabelValues(string(r.Status), r.Code).Inc()
	e.log.Info("response action "+string(r.Status), "name", string(r.Action), "reason", r.Reason, "count", r.HitCount)
	if e.cfg.Report != nil {
		e.cfg.Report(*r)
	}
}

// self is the pid of this process.
func self() uint32 { return uint32(os.Getpid()) }
