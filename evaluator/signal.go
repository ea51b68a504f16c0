package evaluator

import (
	"fmt"

	"github.com/gyre-sec/gyre/bus"
	"github.com/gyre-sec/gyre/evaluator/ruleset"
)

// step notes a match of a step of a correlation rule, if anything is correlated.
func (w *work) step(s *ruleset.Step) {
	if w.matches != nil {
		w.matches.Add(s, w.matcher.view)
	}
}

// publishSignals encodes the signals of the batch.
func (w *work) publishSignals() {
	if w.matches == nil {
		return
	}
	for _, x := range w.matches.List {
		data, err := x.Signal.Marshal()
		if err != nil {
			w.err = fmt.Errorf("encode signal: %w", err)
			return
		}
		w.out = append(w.out, output{x.Signal.Alert.RuleID, "", bus.Message{Subject: x.Signal.Subject(), ID: x.ID, Data: data}})
	}
}
