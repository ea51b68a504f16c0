package sink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
