package notify

import "time"

// State of an output, as `gyre outputs status` shows it.
type State struct {
	// Down since the first failure after the last success; Error is the last one.
	Down        time.Time `json:"down_since,omitzero"`
	Error       string    `json:"error,omitempty"`
	LastSuccess time.Time `json:"last_success,omitzero"`
	Queued      int       `json:"queued"`
	Sent        uint64    `json:"sent"`
	Failed      uint64    `json:"failed"`
	Dead        uint64    `json:"dead"`
}

// State returns the present state.
func (s *Sender) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

// succeeded records an attempt that the service took.
func (s *Sender) succeeded() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.state.Down.IsZero() {
		s.log.Info("output works again", "down_since", s.state.Down)
	}
	s.state.Down, s.state.Error, s.state.LastSuccess = time.Time{}, "", time.Now()
	s.pause.Reset()
	s.notBefore = time.Time{}
	s.metrics.up.Set(1)
}

// failed records an attempt that failed; a service that refuses one alert is not down.
func (s *Sender) failed(reason string, err error) {
	s.metrics.errors.WithLabelValues(reason).Inc()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.Failed++
	s.state.Error = err.Error()
	if reason == "permanent" {
		return
	}
	if s.state.Down.IsZero() {
		s.state.Down = time.Now()
		s.log.Warn("output does not take alerts", "err", err)
	}
	s.metrics.up.Set(0)
}
