package backtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/evaluator"
	"github.com/gyre-sec/gyre/evaluator/ruleset"
	"github.com/gyre-sec/gyre/schemas/alertv1"
	"github.com/gyre-sec/gyre/schemas/subject"
)

// Bounds of what an evaluator does for one request: who asks goes on where the answer ends.
const (
	serveFor      = 2 * time.Second
	serveAnswer   = 4 << 20 // bytes, before compression
	serveExamples = 64      // alerts of one rule and side, if only examples are wanted
	serveSets     = 4       // rule sets that are kept compiled
)

// Server evaluates ranges of the past for replays that run elsewhere: one request at a time, on one goroutine, so that live
// events keep the other CPUs.
type Server struct {
	bus  *bus.Bus
	log  *slog.Logger
	mu   sync.Mutex
	sets []compiled
}

type compiled struct {
	key string
	set *ruleset.Set
}

// NewServer returns a Server.
func NewServer(b *bus.Bus, log *slog.Logger) *Server { return &Server{bus: b, log: log} }

// Run answers until ctx ends. Of several servers one gets each request.
func (s *Server) Run(ctx context.Context) error {
	return s.bus.Answer(ctx, subject.ControlReplay(), evaluator.Durable, func(ctx context.Context, data []byte) ([]byte, error) {
		var t task
		if err := json.Unmarshal(data, &t); err != nil {
			return nil, fmt.Errorf("read request: %w", err)
		}
		if t.V != taskVersion {
			return nil, fmt.Errorf("the evaluator knows version %d of requests, not %d: use the same release of gyre", taskVersion, t.V)
		}
		answer, err := s.do(ctx, &t)
		if ctx.Err() != nil {
			return squeeze(part{Again: true})
		}
		return answer, err
	})
}

// set returns the set of a bundle in the bucket of replays.
func (s *Server) set(ctx context.Context, key string) (*ruleset.Set, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, c := range s.sets {
		if c.key == key {
			s.sets = append(append(s.sets[:i:i], s.sets[i+1:]...), c) // the last used is the last
			return c.set, nil
		}
	}
	kv, err := s.bus.KV(ctx, bus.BucketReplays)
	if err != nil {
		return nil, err
	}
	e, err := kv.Get(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("read the rules of the replay: %w", err)
	}
	var b evaluator.Bundle
	if err := unsqueeze(e.Value, &b); err != nil {
		return nil, fmt.Errorf("read the rules of the replay: %w", err)
	}
	set, err := b.Compile(ruleset.Options{SampleEvery: -1})
	if err != nil {
		return nil, err
	}
	if s.sets = append(s.sets, compiled{key, set}); len(s.sets) > serveSets {
		s.sets = s.sets[1:]
	}
	return set, nil
}

// errAnswerFull ends reading for one answer.
var errAnswerFull = errors.New("enough for one answer")

func (s *Server) do(ctx context.Context, t *task) ([]byte, error) {
	cfg := Config{AllFalco: t.AllFalco, Nodes: t.Nodes}
	var err error
	if cfg.After, err = s.set(ctx, t.After); err != nil {
		return nil, err
	}
	if t.Alerts {
		cfg.Each = func(Verdict, *alertv1.Alert) error { return nil } // workers make all alerts then; who asked takes them
	}
	out := part{}
	out.Digests[1] = cfg.After.Digest()
	if t.Before != "" {
		if cfg.Before, err = s.set(ctx, t.Before); err != nil {
			return nil, err
		}
		out.Digests[0] = cfg.Before.Digest()
	}
	if t.Where != "" {
		if cfg.Where, err = Condition(t.Where); err != nil {
			return nil, err
		}
	}
	r := &replay{cfg: cfg, state: NewState(), enough: newEnough(cfg)}
	if err := r.state.Correlated.open([2]*ruleset.Set{cfg.Before, cfg.After}); err != nil {
		return nil, err
	}
	if t.Rate > 0 {
		r.limit = rate.NewLimiter(rate.Limit(t.Rate), max(int(t.Rate), 1))
	}
	w := newWorker(r)
	size, end := 0, time.Now().Add(serveFor)
	shown := map[string]int{}
	j := &job{}
	err = s.bus.Read(ctx, bus.ReadConfig{Stream: bus.StreamEnriched, Filters: t.Filters, FromSeq: t.From, ToSeq: t.To, ToTime: t.ToTime}, func(p bus.Packed) error {
		if len(out.Jobs) > 0 && (size > serveAnswer || time.Now().After(end)) {
			out.Next = p.Seq
			return errAnswerFull
		}
		j.packed = p
		if w.do(ctx, j); j.skipped {
			return ctx.Err()
		}
		if !t.Alerts {
			for i := range j.matches {
				m := &j.matches[i]
				if m.alert != nil {
					id := fmt.Sprint(m.before, m.rule.ID)
					if shown[id]++; shown[id] > serveExamples {
						m.alert = nil
					}
				}
			}
		}
		pj, err := j.pack()
		if err != nil {
			return err
		}
		out.Jobs = append(out.Jobs, pj)
		size += pj.size()
		return nil
	})
	if err != nil && !errors.Is(err, errAnswerFull) {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return s.fit(&out)
}

// size is about what it takes, in bytes.
func (p *partJob) size() int {
	n := 300
	for i := range p.Matches {
		m := &p.Matches[i]
		n += 100 + len(m.Throttle) + len(m.Key) + len(m.Alert)
	}
	for _, l := range p.Lost {
		n += len(l)
	}
	for i := range p.Signals {
		n += 200 + len(p.Signals[i].Data)
	}
	return n
}

// fit leaves out the later half until the answer is one that the server takes.
func (s *Server) fit(out *part) ([]byte, error) {
	for {
		data, err := squeeze(out)
		if err != nil {
			return nil, err
		}
		limit := s.bus.MaxPayload()
		if limit <= 0 || len(data) < limit-1024 {
			return data, nil
		}
		if len(out.Jobs) < 2 {
			return nil, fmt.Errorf("what was found in message %d is %d bytes compressed, the server takes %d: replay without --on cluster", out.Jobs[0].Seq, len(data), limit)
		}
		half := len(out.Jobs) / 2
		out.Next = out.Jobs[half].Seq
		out.Jobs = out.Jobs[:half]
	}
}
