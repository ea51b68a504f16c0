package sink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gyre-sec/gyre/schemas/alertv1"
	"github.com/gyre-sec/gyre/schemas/subject"
	"github.com/gyre-sec/gyre/sink/notify"
)

// Order is what an operator asks of an output over [subject.Control]. One of its parts is set.
type Order struct {
	// Test sends a test alert now.
	Test bool `json:"test,omitempty"`
	// Replay sends alerts again.
	Replay *Replay `json:"replay,omitempty"`
}

// Replay says which alerts are sent again: those stored since a time, or the output's dead letters of that time.
type Replay struct {
	Since time.Time `json:"since"`
	Dead  bool      `json:"dead,omitempty"`
}

// Status is what a sink says about one output over [subject.ControlState].
type Status struct {
	Name string `json:"name"`
	Type string `json:"type"`
	notify.State
}

// Add returns the state of an output that several sinks share: the counts of both, and what is worse of the rest.
func (s Status) Add(o Status) Status {
	s.Queued, s.Sent, s.Failed, s.Dead = s.Queued+o.Queued, s.Sent+o.Sent, s.Failed+o.Failed, s.Dead+o.Dead
	if s.Error == "" {
		s.Error = o.Error
	}
	if s.Down.IsZero() || !o.Down.IsZero() && o.Down.Before(s.Down) {
		s.Down = o.Down
	}
	if o.LastSuccess.After(s.LastSuccess) {
		s.LastSuccess = o.LastSuccess
	}
	return s
}

// OutputOf returns the output that a durable belongs to, "" if none, and whether it is a replay's.
func OutputOf(durable string) (name string, replay bool) {
	name, ok := strings.CutPrefix(durable, DurablePrefix)
	if !ok || name == clickHouseName {
		return "", false
	}
	if i := strings.LastIndex(name, replayPart); i >= 0 {
		return name[:i], true
	}
	return name, false
}

// answer carries out orders for an output until ctx ends.
func (s *Sink) answer(ctx context.Context, d *delivery) error {
	return again(ctx, s.log, "orders", func() error {
		return s.b.Answer(ctx, subject.Control(d.cfg.Name), "sink", func(ctx context.Context, data []byte) ([]byte, error) {
			var o Order
			if err := json.Unmarshal(data, &o); err != nil {
				return nil, fmt.Errorf("decode order: %w", err)
			}
			switch {
			case o.Test:
				return nil, d.test(ctx)
			case o.Replay != nil:
				id, err := d.startReplay(ctx, *o.Replay)
				return []byte(id), err
			}
			return nil, errors.New("an order that this sink does not know")
		})
	})
}

func (s *Sink) answerState(ctx context.Context) error {
	return again(ctx, s.log, "state", func() error {
		return s.b.Answer(ctx, subject.ControlState(), "", func(context.Context, []byte) ([]byte, error) {
			list := make([]Status, len(s.outputs))
			for i, d := range s.outputs {
				list[i] = Status{d.cfg.Name, d.cfg.Type, d.sender.State()}
			}
			return json.Marshal(list)
		})
	})
}

// test sends a test alert past routes, queue and rate limit, once.
func (d *delivery) test(ctx context.Context) error {
	a := notify.Example()
	a.Time = time.Now().UnixNano()
	a.ID = alertv1.KeyID(a.RuleID, d.cfg.Name, fmt.Sprint(a.Time))
	ctx, cancel := context.WithTimeout(ctx, d.cfg.Timeout)
	defer cancel()
	return d.n.Notify(ctx, []notify.Message{d.dress(a)})
}
