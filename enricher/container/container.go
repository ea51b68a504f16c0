// Package container adds what nodes know of containers: name, image, labels, mounts, pod and accounts.
//
// A node publishes the facts of a container beside its events, so they may come a little later. A batch
// that names a container whose facts are not there can be held until they are, up to a bound; see
// [Stage.Missing] and [Stage.Await]. After that its rows are marked incomplete and it goes on.
package container

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/schemas/eventv1"
	"github.com/gyre-sec/gyre/schemas/factv1"
	"github.com/gyre-sec/gyre/schemas/subject"
)

// Config of the stage, a part of the enricher's.
type Config struct {
	Wait    time.Duration `yaml:"wait" doc:"how long a batch is held for the facts of a container that it names; 0 means not at all"`
	Max     int           `yaml:"max" doc:"containers whose facts are kept in memory; others are read from NATS when they are named"`
	Holding int           `yaml:"max_holding" doc:"batches held at once; others go on at once, without the facts"`
}

// DefaultConfig waits for two seconds.
func DefaultConfig() Config {
	return Config{Wait: 2 * time.Second, Max: 100_000, Holding: 256}
}

// Validate checks the configuration.
func (c Config) Validate() error {
	var errs []error
	if c.Wait < 0 || c.Wait > 30*time.Second {
		errs = append(errs, fmt.Errorf("wait is %s, want 0 to 30s", c.Wait))
	}
	if c.Max < 1 {
		errs = append(errs, fmt.Errorf("max is %d, want at least 1", c.Max))
	}
	if c.Holding < 1 || c.Holding > 1<<16 {
		errs = append(errs, fmt.Errorf("max_holding is %d, want 1 to 65536", c.Holding))
	}
	return errors.Join(errs...)
}

const (
	// givenUpFor is how long batches do not wait for a container that one has waited for in vain.
	givenUpFor = time.Minute
	// old is the age from which a batch does not wait: what its node had to say came long ago.
	old = 30 * time.Second
)

type key struct {
	node string // token
	id   string
}

// Stage is safe for concurrent use.
type Stage struct {
	b       *bus.Bus
	cfg     Config
	log     *slog.Logger
	metrics *metrics
	// current: the watch has delivered what was there when it began.
	current atomic.Bool
	kv      atomic.Pointer[bus.KV]

	mu      sync.RWMutex
	facts   map[key]*facts
	waiters map[key]chan struct{}
	givenUp map[key]time.Time // until when
}

// facts of one container; constant.
type facts struct {
	factv1.Container
	users  map[uint32]*factv1.User
	groups map[uint32]string
	labels []pair // sorted
	pods   []pair
	flags  eventv1.ContainerFlag
}

// New returns a Stage.
func New(b *bus.Bus, cfg Config, log *slog.Logger, reg prometheus.Registerer) (*Stage, error) {
	s := &Stage{b: b, cfg: cfg, log: log, facts: map[key]*facts{}, waiters: map[key]chan struct{}{}, givenUp: map[key]time.Time{}}
	var err error
	s.metrics, err = newMetrics(reg, func() float64 {
		s.mu.RLock()
		defer s.mu.RUnlock()
		return float64(len(s.facts))
	})
	return s, err
}

// Name is "container".
func (*Stage) Name() string { return "container" }

// Run watches the facts of all nodes.
func (s *Stage) Run(ctx context.Context) error {
	kv, err := s.b.KV(ctx, bus.BucketFacts)
	if err != nil {
		return err
	}
	s.kv.Store(kv)
	return kv.Watch(ctx, "*.container.*", s.learn, func() { s.current.Store(true) })
}

func (s *Stage) learn(e bus.Entry) {
	node, id, ok := subject.ParseFactContainer(e.Key)
	if !ok {
		return
	}
	k := key{node, id}
	if e.Deleted {
		s.mu.Lock()
		delete(s.facts, k)
		s.mu.Unlock()
		return
	}
	c, err := factv1.DecodeContainer(e.Value)
	if err == nil && c.ID != id {
		err = fmt.Errorf("%w: it is about %q", factv1.ErrMalformed, c.ID)
	}
	if err != nil {
		s.log.Warn("facts of a container not understood", "key", e.Key, "err", err)
		return
	}
	s.put(k, prepare(c))
}

func (s *Stage) put(k key, f *facts) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.facts[k]; !known && len(s.facts) >= s.cfg.Max {
		for other := range s.facts { // any one: it is read again when a batch names it
			delete(s.facts, other)
			s.metrics.evicted.Inc()
			break
		}
	}
	s.facts[k] = f
	delete(s.givenUp, k)
	if ch := s.waiters[k]; ch != nil {
		close(ch)
		delete(s.waiters, k)
	}
}

// lookup finds facts; wait tells whether it makes sense to wait for them.
func (s *Stage) lookup(k key, now time.Time) (f *facts, wait bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if f = s.facts[k]; f != nil {
		return f, false
	}
	until, tried := s.givenUp[k]
	return nil, !tried || now.After(until)
}

// Missing tells whether the batch names a container whose facts are not in memory and may still come, or be read.
func (s *Stage) Missing(b *eventv1.Batch) bool {
	if s.cfg.Wait == 0 || len(b.Containers) == 0 {
		return false
	}
	now := time.Now()
	node := subject.Token(b.Node)
	for i := range b.Containers {
		if _, wait := s.lookup(key{node, b.Text(b.Containers[i].ID)}, now); wait {
			return true
		}
	}
	return false
}

// Await returns when the facts of all containers of the batch are there, or the configured time has passed, or ctx has
// ended. A container that was waited for in vain is not waited for again for a minute. Nothing is waited for if the
// stream stored the batch long ago: then the facts are in the bucket, or will not come.
func (s *Stage) Await(ctx context.Context, b *eventv1.Batch, stored time.Time) {
	begin := time.Now()
	s.metrics.held.Inc()
	s.metrics.holding.Inc()
	defer func() {
		s.metrics.holding.Dec()
		s.metrics.waited.Observe(time.Since(begin).Seconds())
	}()
	wait := s.cfg.Wait
	if s.current.Load() && begin.Sub(stored) > old {
		wait = 0
	}
	node := subject.Token(b.Node)
	var open []key
	reading, cancel := context.WithTimeout(ctx, s.cfg.Wait) // all of them together
	defer cancel()
	for i := range b.Containers {
		k := key{node, b.Text(b.Containers[i].ID)}
		if _, missing := s.lookup(k, begin); missing {
			s.fetch(reading, k)
			open = append(open, k)
		}
	}
	timer := time.NewTimer(max(0, wait-time.Since(begin)))
	defer timer.Stop()
	for _, k := range open {
		ch := s.waiter(k, begin)
		if ch == nil {
			continue
		}
		select {
		case <-ch:
		case <-ctx.Done():
			return
		case <-timer.C:
			timer.Reset(0) // nor is there time for the others
			s.giveUp(k, ch)
		}
	}
}

// waiter returns a channel that is closed when the facts come, nil if they are there or not worth waiting for.
func (s *Stage) waiter(k key, now time.Time) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.facts[k] != nil || s.givenUp[k].After(now) {
		return nil
	}
	ch := s.waiters[k]
	if ch == nil {
		ch = make(chan struct{})
		s.waiters[k] = ch
	}
	return ch
}

// fetch reads facts that were evicted, or whose change the watch has not delivered yet.
func (s *Stage) fetch(ctx context.Context, k key) {
	kv := s.kv.Load()
	if kv == nil {
		return
	}
	e, err := kv.Get(ctx, k.node+".container."+subject.Token(k.id))
	if err == nil && !e.Deleted {
		s.learn(e)
	}
}

// giveUp notes that nobody needs to wait for a container for a while, those that do now included.
func (s *Stage) giveUp(k key, ch <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.facts[k] != nil {
		return
	}
	if len(s.givenUp) >= s.cfg.Max {
		clear(s.givenUp)
	}
	s.givenUp[k] = time.Now().Add(givenUpFor)
	if s.waiters[k] == ch {
		close(s.waiters[k])
		delete(s.waiters, k)
	}
}

// Skip counts a batch that could not be held.
func (s *Stage) Skip() { s.metrics.skipped.Inc() }
